// The output of a service, followed. Escape sequences in it are shown as text.
import * as api from './api.js';
import {h, update} from './dom.js';
import {clock, marked} from './text.js';

const maxShown = 2000; // lines in the page
const maxKept = 5000; // lines in memory
const maxLine = 4096; // characters of a line
const retryTime = 1000;

// logs is the view of the service's output; without a name that of the main one.
export function logs(app, name) {
  const service = app.service(name) ?? app.services().find((one) => one.main) ?? app.services()[0];
  const log = new Log(service?.name);
  const choose = h('select', {onchange: (event) => {
    location.hash = `#logs/${encodeURIComponent(event.target.value)}`;
  }}, app.services().map((one) => h('option', {value: one.name, selected: one === service}, one.name)));
  return {
    element: h('div', {class: 'logs'},
      h('div', {class: 'bar'},
        h('label', {}, 'Service ', choose),
        h('label', {}, 'Filter ', h('input', {type: 'search', placeholder: 'text', oninput: (event) => log.setFilter(event.target.value)})),
        h('label', {}, 'Stream ', h('select', {onchange: (event) => log.setStream(event.target.value)},
          [['', 'both'], ['stdout', 'stdout'], ['stderr', 'stderr']].map(([value, text]) => h('option', {value}, text)))),
        log.pauseButton, log.followButton, log.note),
      log.box),
    update: () => {},
    close: () => log.close(),
  };
}

class Log {
  constructor(service) {
    this.service = service;
    this.kept = [];
    this.waiting = []; // while it is paused
    this.fresh = []; // for the next frame
    this.filter = '';
    this.stream = '';
    this.skipped = 0; // lines that came too fast
    this.follows = true;
    this.paused = false;
    this.stop = new AbortController();
    this.box = h('div', {class: 'log', role: 'log', 'aria-live': 'off', 'aria-label': `Output of ${service}`, tabindex: '0'});
    this.note = h('span', {class: 'quiet', role: 'status'});
    this.pauseButton = h('button', {type: 'button', 'aria-pressed': 'false', onclick: () => this.setPaused(!this.paused)}, 'Pause');
    this.followButton = h('button', {type: 'button', 'aria-pressed': 'true', onclick: () => this.setFollows(!this.follows)}, 'Follow');
    // Who scrolls up wants to read.
    this.box.addEventListener('scroll', () => {
      const end = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 8;
      if (end !== this.follows && !this.drawing) this.setFollows(end, true);
    });
    if (service) this.run(); // ends when the view is closed
  }

  // run reads the output until the view is closed, over lost connections.
  async run() {
    let last;
    while (!this.stop.signal.aborted) {
      try {
        const query = last ? 'follow' : `follow&n=${maxShown / 4}`;
        for await (const {id, value} of api.events(`/v1/services/${encodeURIComponent(this.service)}/logs`,
          {query: new URLSearchParams(query), signal: await api.whileShown(this.stop.signal), last})) {
          last = id;
          this.add(value);
        }
        this.say('the stream has ended, trying again');
      } catch (error) {
        if (this.stop.signal.aborted || error.status === 401) return;
        if (error.name === 'AbortError') continue; // hidden
        this.say(`${error.message}${error.offline ? ', trying again' : ''}`);
        if (error.status === 404 || error.status === 403) return;
      }
      await new Promise((resolve) => setTimeout(resolve, retryTime));
    }
  }

  add(line) {
    const list = this.paused ? this.waiting : this.fresh;
    list.push(line);
    if (list.length > maxKept) {
      list.shift();
      this.skipped++;
    }
    if (this.paused) this.say(`paused, ${this.waiting.length} new lines`);
    else this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    this.drawing = true;
    const fresh = this.fresh;
    this.fresh = [];
    this.kept.push(...fresh);
    if (this.kept.length > maxKept) this.kept.splice(0, this.kept.length - maxKept);
    this.box.append(...fresh.filter((line) => this.wanted(line)).slice(-maxShown).map(row));
    while (this.box.childElementCount > maxShown) this.box.firstChild.remove();
    this.scroll();
    this.say(this.skipped > 0 ? `${this.skipped} lines came too fast and are left out` : '');
  }

  redraw() {
    this.drawing = true;
    this.box.replaceChildren(...this.kept.filter((line) => this.wanted(line)).slice(-maxShown).map(row));
    this.scroll();
  }

  scroll() {
    if (this.follows) this.box.scrollTop = this.box.scrollHeight;
    requestAnimationFrame(() => {
      this.drawing = false;
    });
  }

  wanted(line) {
    return (!this.stream || line.stream === this.stream) && (!this.filter || textOf(line).toLowerCase().includes(this.filter));
  }

  setFilter(text) {
    this.filter = text.toLowerCase();
    this.redraw();
  }

  setStream(stream) {
    this.stream = stream;
    this.redraw();
  }

  setPaused(paused) {
    this.paused = paused;
    this.pauseButton.setAttribute('aria-pressed', paused);
    if (paused) {
      this.say('paused');
      return;
    }
    this.fresh.push(...this.waiting);
    this.waiting = [];
    this.draw();
  }

  setFollows(follows, scrolled = false) {
    this.follows = follows;
    this.followButton.setAttribute('aria-pressed', follows);
    if (!scrolled) this.scroll();
  }

  say(text) {
    update(this.note, text);
  }

  close() {
    this.stop.abort();
    cancelAnimationFrame(this.frame);
  }
}

// textOf is the text of a line; bytes that are not UTF-8 are shown as U+FFFD.
function textOf(line) {
  if (line.bytes === undefined) return line.text ?? '';
  line.text = new TextDecoder().decode(Uint8Array.from(atob(line.bytes), (c) => c.charCodeAt(0)));
  delete line.bytes;
  return line.text;
}

function row(line) {
  const text = textOf(line);
  const out = h('div', {class: line.stream === 'stderr' ? 'line err' : 'line'},
    h('span', {class: 'time'}, clock(line.time)), h('span', {class: 'from'}, line.stream === 'stderr' ? 'err' : 'out'));
  const body = h('span', {class: 'text'});
  body.append(marked(text.slice(0, maxLine)));
  if (text.length > maxLine) body.append(h('em', {}, ` (${text.length - maxLine} more characters)`));
  out.append(body);
  return out;
}
