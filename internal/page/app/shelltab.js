// One tab with a terminal: the session, its state in words, and the buttons.
import * as api from './api.js';
import {ask, button, h, notice, update} from './dom.js';
import {Session} from './session.js';
import {colours, create, reader, screen} from './terminal.js';
import {shown, visible} from './text.js';

const signals = ['INT', 'TERM', 'HUP', 'QUIT', 'TSTP', 'CONT', 'USR1', 'USR2', 'KILL'];
const keys = [['Esc', '\x1b'], ['Tab', '\t'], ['^C', '\x03'], ['^D', '\x04'], ['↑', '\x1b[A'], ['↓', '\x1b[B'], ['←', '\x1b[D'], ['→',
  '\x1b[C']];
const maxTitle = 28; // characters
const fontSize = 14; // pixels; a viewer's is as much smaller as the holder's terminal needs, down to the least
const leastFontSize = 8;

export class ShellTab {
  // spec is {open: query} for a new session or {id, mode, seen}; seen are the bytes of stdout
  // that a terminal of this page has answered. on has changed, leave and me.
  constructor(spec, on) {
    Object.assign(this, {spec, on, title: spec.title ?? 'shell', seen: spec.seen ?? 0, viewers: 0});
    this.box = h('div', {class: 'termbox', 'data-own': true});
    this.banner = h('div', {class: 'banner', role: 'status'});
    this.tools = h('div', {class: 'bar'});
    this.search = h('form', {class: 'bar find', hidden: true, role: 'search', onsubmit: (event) => {
      event.preventDefault();
      this.find(event.submitter?.value !== 'next');
    }},
    h('label', {}, 'Find ', h('input', {type: 'search', name: 'text', spellcheck: 'false', onkeydown: (event) => {
      if (event.key === 'Escape') this.showSearch(false);
    }})),
    h('button', {type: 'submit', value: 'back'}, 'Up'), h('button', {type: 'submit', value: 'next'}, 'Down'),
    h('button', {type: 'button', onclick: () => this.showSearch(false)}, 'Close'));
    this.panel = h('div', {class: 'shell', role: 'tabpanel', hidden: true}, this.tools, this.search, this.banner, this.box,
      h('div', {class: 'keys', role: 'group', 'aria-label': 'Keys'}, keys.map(([label, data]) => h('button', {type: 'button',
        onclick: () => this.press(data)}, label))));
    this.observer = new ResizeObserver(() => this.fitSoon());
    this.observer.observe(this.box);
  }

  // press sends a key. A program may have asked for the other form of the arrows (DECCKM).
  press(data) {
    this.session?.input(this.term?.modes.applicationCursorKeysMode ? data.replace('[', 'O') : data);
    this.term?.focus();
  }

  // start loads the terminal and opens the session.
  async start() {
    const {open, id, mode, tty = true} = this.spec;
    ({term: this.term, fit: this.fitter, search: this.searcher} = await create(tty));
    const {term} = this;
    term.open(this.box);
    term.attachCustomKeyEventHandler((event) => this.chord(event));
    // Answers of the terminal come as data too: those to output of before were given before.
    term.onData((data) => !this.replays() && this.type(data));
    term.onBinary((data) => !this.replays() && this.type(Uint8Array.from(data, (c) => c.charCodeAt(0))));
    term.onTitleChange((title) => this.rename(title));
    this.fit();
    if (open) {
      open.set('rows', term.rows);
      open.set('columns', term.cols);
    }
    this.session = new Session({open, id, mode, on: {
      me: this.on.me, state: () => this.draw(), opened: (m) => this.opened(m), notice: (m) => this.notice(m),
      gap: (bytes) => term.write(`\r\n\x1b[7m[${bytes} bytes are not kept]\x1b[0m\r\n`),
      data: (stream, bytes, offset) => term.write(bytes, () => {
        if (stream === 1) this.answered = offset;
        this.session.ack(stream, offset);
      }),
    }});
    this.session.connect();
  }

  // type sends keys. A link that is gone takes none, and the banner says so.
  type(data) {
    if (this.session.state === 'open' && this.session.holds && !this.session.input(data)) {
      notice('too much input: the process does not take it', {error: true});
    }
  }

  replays() {
    return (this.answered ?? 0) < this.seen;
  }

  // opened is called at the first message of each link.
  opened(m) {
    this.command = m.command;
    this.viewers = 0;
    this.answered ??= m.stdout;
    if (this.title === 'shell') this.rename(shown(m.command));
    this.term.options.disableStdin = !this.session.holds;
    this.term.options.convertEol = !m.tty;
    if (this.session.holds) {
      this.term.options.fontSize = fontSize;
      this.fit();
      this.sendSize(true);
    } else {
      this.follow(m.rows || 24, m.columns || 80);
    }
    this.on.changed();
  }

  notice(m) {
    if (m.type === 'size' && !this.session.holds) this.follow(m.rows, m.columns);
    if (m.type === 'clients') {
      this.holder = m.holder;
      this.viewers = m.viewers;
      this.draw();
    }
  }

  rename(title) {
    const text = visible(title).trim();
    this.title = text.length > maxTitle ? `${text.slice(0, maxTitle)}...` : text || 'shell';
    this.on.changed();
  }

  // chord handles the keys that are not for the terminal; false: xterm.js ignores the event.
  chord(event) {
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    if (event.key === 'ArrowUp') {
      if (event.type === 'keydown') this.on.leave();
    } else if (event.key.toLowerCase() === 'f') {
      event.preventDefault();
      if (event.type === 'keydown') this.showSearch(true);
    } else if (event.key.toLowerCase() === 'v') {
      return false; // the browser pastes
    } else {
      return true;
    }
    return false;
  }

  showSearch(on) {
    this.search.hidden = !on;
    if (on) this.search.elements.text.select();
    else this.term.focus();
  }

  find(back) {
    const text = this.search.elements.text.value;
    const found = text && (back ? this.searcher.findPrevious(text) : this.searcher.findNext(text));
    if (text && !found) notice(`not found: ${text}`);
  }

  fitSoon() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.fit());
  }

  // fit gives the terminal the size of its box, if it is visible; a viewer has the holder's size.
  fit() {
    if (!this.term || this.box.offsetParent === null) return;
    if (this.session && !this.session.holds && this.session.mode === 'view') {
      this.follow(this.term.rows, this.term.cols);
      return;
    }
    const size = this.fitter.proposeDimensions();
    if (!size || !(size.cols > 1) || !(size.rows > 1)) return;
    this.term.resize(size.cols, size.rows);
    this.sendSize(false);
  }

  // follow shows the terminal of the holder, in smaller letters if it is larger than the box.
  follow(rows, columns) {
    if (!(rows > 1) || !(columns > 1)) return;
    this.term.options.fontSize = fontSize;
    const room = this.fitter.proposeDimensions();
    const share = room ? Math.min(1, room.cols / columns, room.rows / rows) : 1;
    this.term.options.fontSize = Math.max(leastFontSize, Math.floor(fontSize * share));
    this.term.resize(columns, rows);
    this.box.scrollTo(0, 0);
  }

  sendSize(always) {
    const {rows, cols: columns} = this.term;
    if (!this.session?.holds || (!always && this.sent === `${rows}x${columns}`)) return;
    this.sent = `${rows}x${columns}`;
    this.session.send({type: 'resize', rows, columns});
  }

  // draw shows the state.
  draw() {
    const {session} = this;
    const live = session.state === 'open';
    update(this.banner, this.words());
    this.banner.className = `banner ${live ? 'quiet' : session.state === 'connecting' ? 'quiet' : 'warn'}`;
    update(this.tools,
      h('button', {type: 'button', onclick: () => this.showSearch(this.search.hidden)}, 'Find'),
      button('Text', () => this.showText(), {title: 'the last screen as plain text'}),
      button('Copy', () => this.copy()), live && session.holds && button('Paste', () => this.paste()),
      live && session.holds && h('label', {}, h('span', {class: 'visually-hidden'}, 'Send a signal'),
        h('select', {onchange: (event) => {
          if (event.target.value) session.send({type: 'signal', signal: event.target.value});
          event.target.value = '';
          this.term.focus();
        }}, h('option', {value: ''}, 'Signal'), signals.map((name) => h('option', {value: name}, name)))),
      live && button('Detach', () => this.on.close(this), {title: 'the session goes on'}),
      session.id && session.state !== 'ended' && session.state !== 'gone' && button('End', () => this.end(), {class: 'danger'}));
    this.box.classList.toggle('watching', !session.holds && session.mode === 'view');
    this.on.changed();
  }

  words() {
    const {session} = this;
    const attach = (label, mode) => button(label, () => session.connect(mode));
    const taking = [attach('Watch', 'view'), attach(session.state === 'taken' ? 'Take back' : 'Take over', 'take')];
    switch (session.state) {
      case 'open': {
        const others = this.viewers > (session.holds ? 0 : 1) ? `, ${this.viewers} watching` : '';
        if (session.holds) return [`Connected, as ${session.info.user}${others}. Ctrl+Shift+↑ leaves the terminal.`];
        const holder = this.holder ?? session.info.holder;
        return [`Read-only${holder ? `: ${holder} has the keyboard` : ''}${others}. `, attach('Take over', 'take')];
      }
      case 'connecting': return ['Connecting ...'];
      case 'waiting': return ['The connection is lost, the session goes on. Trying again ... ', button('Now', () => session.connect())];
      case 'taken': return [`${session.why || 'Another client'} has taken the keyboard. `, taking];
      case 'held': return [`${session.why} has the keyboard. `, taking];
      case 'ended': return [`The session has ended: ${outcome(session.exit)}. `, button('Close', () => this.on.close(this))];
      case 'gone': return ['The session is not there any more. ', button('Close', () => this.on.close(this))];
      case 'detached': return ['Detached.'];
      default: return [`Refused: ${session.why} `, button('Try again', () => session.connect()), button('Close',
        () => this.on.close(this))];
    }
  }

  async showText() {
    const pre = h('pre', {tabindex: '0', role: 'region', 'aria-label': 'Text of the terminal'}, screen(this.term));
    const done = ask('Text of the terminal', pre, [['Copy', 'copy']]);
    pre.scrollTop = pre.scrollHeight;
    if (await done) await this.copy(pre.textContent);
  }

  async copy(text = this.term.getSelection()) {
    if (!text) {
      notice('nothing is selected');
      return;
    }
    await clipboard().writeText(text);
    notice('copied');
  }

  async paste() {
    this.term.paste(await clipboard().readText());
    this.term.focus();
  }

  async end() {
    if (await ask('End the session?', h('p', {}, 'All its processes are ended.'), [['End', 'yes', 'danger']]) === null) return;
    if (this.session.state === 'open' && this.session.holds) this.session.send({type: 'end'});
    else await api.call('DELETE', `/v1/sessions/${encodeURIComponent(this.session.id)}`);
  }

  // show is called when the tab is selected or hidden.
  show(on) {
    this.panel.hidden = !on;
    if (!on || !this.term) return;
    this.fit();
    this.term.refresh(0, this.term.rows - 1);
    this.term.focus();
  }

  setTheme() {
    if (this.term) this.term.options.theme = colours();
  }

  setReader() {
    if (this.term) this.term.options.screenReaderMode = reader();
  }

  // saved is what a reload needs to go on; null: nothing.
  saved() {
    const state = this.session?.state;
    if (!this.session?.id || ['ended', 'gone', 'detached', 'refused'].includes(state)) return null;
    return {id: this.session.id, mode: this.session.mode === 'view' ? 'view' : 'hold', seen: this.answered ?? 0, title: this.title};
  }

  dispose() {
    this.observer.disconnect();
    this.session?.detach();
    this.term?.dispose();
    this.panel.remove();
  }
}

// clipboard is that of the browser, which has none for pages without TLS.
function clipboard() {
  if (!navigator.clipboard) throw Object.assign(new Error('the browser gives no clipboard to this page'),
    {hint: 'use Ctrl+Shift+V, or Ctrl+Insert to copy'});
  return navigator.clipboard;
}

export function outcome(exit) {
  if (!exit) return 'unknown';
  const what = exit.signal ? `signal ${exit.signal}` : `exit code ${exit.code}`;
  return [what, exit.oom && 'killed for want of memory', exit.message ?? exit.why].filter(Boolean).join(', ');
}
