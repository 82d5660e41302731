// Jobs: a form to run one, the list, and state and output of one.
import * as api from './api.js';
import {busy, button, h, showError, update} from './dom.js';
import {table} from './jvm.js';
import {ending} from './state.js';
import {ago, ahead, argv, clock, marked, shown, since, size, span} from './text.js';

const kinds = {SUCCEEDED: 'ok', RUNNING: 'ok', STARTING: 'warn', STOPPING: 'warn', QUEUED: 'warn', ACCEPTED: 'warn', KILLED: 'idle',
  SKIPPED: 'idle'};
const final = new Set(['SUCCEEDED', 'FAILED', 'KILLED', 'TIMED_OUT', 'REJECTED', 'LOST', 'SKIPPED']);
const maxOutput = 256 * 1024; // bytes of a stream in the page: the last ones

// jobs is the view; with an ID it has that job beside the list.
export function jobs(app, id) {
  const list = h('section', {'aria-labelledby': 'jobs'}, h('h2', {id: 'jobs'}, 'Jobs'), h('p', {class: 'quiet'}, 'Loading ...'));
  const stop = new AbortController();
  const detail = h('section', {class: 'detail', 'aria-label': 'Job'});
  const load = async () => {
    try {
      const {signal} = stop;
      const [all, executor, schedules] = await Promise.all([api.get('/v1/jobs', {query: {limit: 50}, signal}),
        api.get('/v1/executor', {signal}), api.get('/v1/schedules', {signal})]);
      update(list, h('h2', {id: 'jobs'}, 'Jobs'), executorLine(app, executor, load), rows(all.jobs, id),
        scheduleTable(schedules.schedules));
    } catch (error) {
      if (error.name === 'AbortError' || error.offline) return;
      update(list, h('h2', {id: 'jobs'}, 'Jobs'), h('p', {class: 'box'}, error.message, error.hint && `: ${error.hint}`));
    }
  };
  if (id) follow(app, id, detail, stop.signal).catch((error) => !stop.signal.aborted && showError(error)); // ends with the view
  return {
    element: h('div', {class: 'columns'}, h('div', {class: 'stack'}, app.can('job') && form(app), id && detail, list)),
    update: load,
    close: () => stop.abort(),
  };
}

function form(app) {
  const submit = async (element) => {
    const value = (name) => element.elements[name].value.trim();
    const spec = {command: argv(value('command'))};
    for (const name of ['context', 'user', 'timeout', 'key']) if (value(name)) spec[name] = value(name);
    const job = await api.post('/v1/jobs', {body: spec});
    location.hash = `#jobs/${job.id}`;
  };
  return h('section', {'aria-labelledby': 'run'}, h('h2', {id: 'run'}, 'Run a job'),
    h('form', {class: 'bar', onsubmit: (event) => {
      event.preventDefault();
      const element = event.currentTarget;
      busy(element, () => submit(element));
    }},
    h('label', {class: 'grow'}, 'Command ', h('input', {name: 'command', required: true, spellcheck: 'false', autocapitalize: 'off',
      placeholder: "sh -c 'df -h; free -m'"})),
    h('label', {}, 'Context ', h('select', {name: 'context'}, h('option', {value: ''}, 'none'),
      app.services().map((service) => h('option', {value: service.name}, service.name)))),
    h('label', {}, 'User ', h('input', {name: 'user', size: '8', spellcheck: 'false', autocapitalize: 'off'})),
    h('label', {}, 'Timeout ', h('input', {name: 'timeout', size: '5', placeholder: '1h', spellcheck: 'false'})),
    h('label', {}, 'Key ', h('input', {name: 'key', size: '8', spellcheck: 'false', autocapitalize: 'off'})),
    h('button', {type: 'submit', class: 'primary'}, 'Run')));
}

function executorLine(app, executor, reload) {
  const trouble = ['paused', 'draining', 'unavailable'].filter((name) => executor[name]).map((name) =>
    h('p', {class: 'box warn'}, `${name}: ${executor[name]}`));
  const verb = executor.paused || executor.draining ? 'resume' : 'pause';
  return [h('div', {class: 'row'}, h('span', {class: 'quiet grow'},
    `${executor.running} of ${executor.slots} slots in use, ${executor.waiting} waiting, ${executor.kept} kept (${size(executor.bytes)})`),
  app.can('admin') && button(verb === 'pause' ? 'Pause the executor' : 'Resume the executor', async () => {
    await api.post(`/v1/executor/${verb}`);
    await reload();
  })), trouble, executor.damage?.map((line) => h('p', {class: 'box bad'}, line))];
}

function rows(list, id) {
  if (list.length === 0) return h('p', {class: 'quiet'}, 'None yet.');
  return h('ul', {class: 'list'}, list.map((job) => h('li', {'data-key': job.id},
    h('a', {href: `#jobs/${job.id}`, 'aria-current': job.id === id && 'true'}, job.spec.key ?? job.id), ' ',
    h('span', {class: `state ${kinds[job.state] ?? 'bad'}`}, job.state), ' ', h('code', {class: 'cut'}, shown(job.spec.command)), ' ',
    h('span', {class: 'quiet'}, job.ended ? ago(job.ended) : job.waiting ? `waits for ${job.waiting}`
      : `for ${since(job.started ?? job.accepted)}`))));
}

function scheduleTable(list) {
  return list?.length > 0 && [h('h2', {}, 'Schedules'), table(['Name', 'Next run', 'Latest run', 'State'], list.map((one) => [one.name,
    one.next ? `in ${ahead(one.next)}` : 'none', one.last ? ago(one.last) : 'none',
    [one.job ? h('a', {href: `#jobs/${one.job}`}, one.state ?? one.job) : one.state ?? '', one.reason && ` ${one.reason}`,
      one.waiting && ` ${one.waiting}`]]))];
}

// follow shows a job until it has ended, or the view. It asks for the states again and again: browsers have six connections for a host, in
// all windows, and the outputs of a job have two.
async function follow(app, id, detail, signal) {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const head = h('div', {});
  const streams = ['stdout', 'stderr'].map((name) => new Output(path, name, signal));
  detail.append(head, app.can('job') ? h('div', {class: 'streams'}, streams.map((stream) => stream.element))
    : h('p', {class: 'quiet'}, 'Its output needs the grant job.'));
  let reading = 0;
  while (!signal.aborted) {
    try {
      const job = await api.get(path, {signal: await api.whileShown(signal)});
      update(head, header(app, job, path));
      const attempt = job.attempt ?? 0;
      if (app.can('job') && attempt > reading && (job.started || final.has(job.state))) {
        reading = attempt;
        for (const stream of streams) stream.read(attempt).catch(showError); // ends with the stream, or the view
      }
      if (final.has(job.state)) return;
    } catch (error) {
      if (!again(error, signal)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// again tells whether a stream goes on after an error: the connection was lost, or the page was hidden.
const again = (error, signal) => !signal.aborted && (error.offline || error instanceof TypeError || error.name === 'AbortError');

function header(app, job, path) {
  const facts = [`accepted ${clock(job.accepted)}`];
  if (job.submitted_by) facts.push(`by ${job.submitted_by}`);
  if (job.attempt > 1) facts.push(`attempt ${job.attempt}`);
  if (job.exit && (job.exit.code >= 0 || job.exit.signal) && !job.reason) facts.push(ending(job.exit));
  if (job.exit?.max_rss) facts.push(`max. ${size(job.exit.max_rss)}`);
  if (job.started && job.ended) facts.push(`took ${span(new Date(job.ended) - new Date(job.started))}`);
  const stop = app.can('job') && !final.has(job.state);
  return [
    h('div', {class: 'row'},
      h('h2', {}, job.spec.key ?? `Job ${job.id}`), h('span', {class: `state ${kinds[job.state] ?? 'bad'}`}, job.state),
      h('span', {class: 'grow'}), stop && button('Stop the job', () => api.post(`${path}/stop`), {class: 'danger'})),
    h('p', {}, h('code', {}, shown(job.spec.command))), h('p', {class: 'quiet'}, facts.join(', ')),
    job.reason && h('p', {class: job.state === 'SUCCEEDED' ? 'quiet' : 'problem'}, job.reason, job.by && ` (by ${job.by})`),
    job.waiting && h('p', {class: 'quiet'}, `waits for ${job.waiting}`), job.notes?.map((note) => h('p', {class: 'quiet'}, note)),
    job.artifacts?.length > 0 && h('ul', {class: 'list'}, job.artifacts.map((file) => h('li', {}, artifact(file, path))))];
}

function artifact(file, path) {
  if (file.error) return `${file.name}: ${file.error}`;
  const get = () => api.download(`${path}/artifacts/${encodeURIComponent(file.name)}`, file.name);
  return [button(`Download ${file.name}`, get), ` ${size(file.bytes)}`];
}

// Output is one stream of a job, as text; the page has the last part of it.
class Output {
  constructor(path, name, signal) {
    Object.assign(this, {path, name, signal});
    this.pre = h('pre', {tabindex: '0', role: 'region', 'aria-label': `${name} of the job`});
    this.note = h('p', {class: 'quiet'});
    this.element = h('div', {}, h('h3', {}, name), this.note, this.pre);
  }

  // read shows the output of an attempt, to its end.
  async read(attempt) {
    this.pre.replaceChildren();
    this.offset = 0;
    this.decoder = new TextDecoder();
    for (;;) {
      try {
        // Trailers do not reach a page: it asks for the rest, and an empty answer is the end.
        if (!await this.part(attempt)) return;
      } catch (error) {
        if (!again(error, this.signal)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
  }

  // part reads one answer, and returns whether it had anything.
  async part(attempt) {
    const answer = await api.call('GET', `${this.path}/logs`, {signal: await api.whileShown(this.signal),
      query: new URLSearchParams(`stream=${this.name}&follow&attempt=${attempt}&offset=${this.offset}`)});
    const begin = Number(answer.headers.get('X-Stoker-Offset') ?? this.offset);
    if (begin > this.offset) {
      this.add(`\n[${size(begin - this.offset)} are not kept]\n`);
      this.decoder = new TextDecoder();
    }
    this.offset = begin;
    const reader = answer.body.getReader();
    for (let some = false; ; some = true) {
      const {value, done} = await reader.read();
      if (done) return some;
      this.offset += value.length;
      this.add(this.decoder.decode(value, {stream: true}));
    }
  }

  add(text) {
    const end = this.pre.scrollHeight - this.pre.scrollTop - this.pre.clientHeight < 8;
    this.pre.append(marked(text));
    let length = this.pre.textContent.length;
    while (length > maxOutput && this.pre.childNodes.length > 1) {
      length -= this.pre.firstChild.textContent.length;
      this.pre.firstChild.remove();
      update(this.note, 'The beginning is left out here.');
    }
    if (end) this.pre.scrollTop = this.pre.scrollHeight;
  }
}
