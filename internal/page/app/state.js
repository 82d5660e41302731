// The state of the services, what went wrong, and the limits.
import * as api from './api.js';
import {ask, busy, button, h, notice, update} from './dom.js';
import {picture} from './jvm.js';
import {ago, ahead, clock, marked, shown, since, size, span} from './text.js';

const kinds = {RUNNING: 'ok', EXITED: 'idle', STOPPED: 'idle', STARTING: 'warn', STOPPING: 'warn', BACKOFF: 'bad', FATAL: 'bad'};

// kindOf is the colour of a service; its words are beside it.
function kindOf(service) {
  if (service.state === 'RUNNING' && (service.unhealthy || service.reported)) return 'bad';
  if (service.state === 'RUNNING' && (service.degraded || service.debugger)) return 'warn';
  if (service.state === 'EXITED' && service.exit && !service.exit.success) return 'bad';
  return kinds[service.state] ?? 'idle';
}

// state is the view.
export function state(app) {
  const services = h('section', {'aria-labelledby': 'services'});
  const side = h('div', {class: 'side'});
  const seen = {incidents: null, limits: null, incident: null, budget: null, start: -1};
  const stop = new AbortController();
  const load = async () => {
    const jvm = app.services().find((service) => service.main && service.kind !== 'process');
    if (jvm && jvm.start !== seen.start) {
      seen.start = jvm.start;
      seen.budget = await api.get('/v1/jvm', {signal: stop.signal}).then((report) => report.options.budget,
        () => null); // none before the first start
    }
    const latest = Math.max(0, ...app.services().map((service) => service.incident ?? 0));
    if (seen.incident === latest && seen.limits) return;
    try {
      [seen.incidents, seen.limits] = await Promise.all([
        api.get('/v1/incidents', {signal: stop.signal}).then((answer) => answer.incidents ?? []),
        api.get('/v1/limits', {signal: stop.signal})]);
      seen.incident = latest;
    } catch (error) {
      if (error.name !== 'AbortError' && !error.offline) throw error;
    }
  };
  const draw = () => {
    if (!app.status) return;
    update(services, h('h2', {id: 'services'}, 'Services'), refused(app.status),
      h('ul', {class: 'cards'}, app.services().map((service) => card(app, service))));
    update(side, incidents(app, seen.incidents), limits(seen.limits, seen.budget), labels(app.status), pluginLines(app.status));
  };
  return {
    element: h('div', {class: 'columns'}, services, side),
    update: () => {
      draw();
      load().then(draw, (error) => notice(error.message, {hint: error.hint, error: true}));
    },
    close: () => stop.abort(),
  };
}

function refused(status) {
  return [
    status.configuration_refused && h('p', {class: 'box bad'},
      `The changed configuration is not in force: ${status.configuration_refused}`),
    status.tcp_problem && h('p', {class: 'box warn'}, `Files of the access over TCP are not in force: ${status.tcp_problem}`),
    status.stopping_until && h('p', {class: 'box warn'}, `The container stops: ${ahead(status.stopping_until)} left.`)];
}

function card(app, service) {
  const {name} = service;
  return h('li', {class: 'card', 'data-key': name},
    h('div', {class: 'row'},
      h('h3', {}, name), h('span', {class: `state ${kindOf(service)}`}, service.state),
      service.main && h('span', {class: 'tag'}, 'main'), h('span', {class: 'quiet'}, service.oneshot ? 'oneshot' : service.kind),
      h('span', {class: 'quiet grow'}, figures(service)),
      h('span', {class: 'row'}, links(app, service), app.can('admin') && commands(app, service))),
    remarks(service));
}

function figures(service) {
  const parts = [];
  if (service.state === 'RUNNING' && service.up_since) parts.push(`up ${since(service.up_since)}`);
  else if (service.since) parts.push(`for ${since(service.since)}`);
  if (service.pid) parts.push(`pid ${service.pid}`);
  if (service.restarts) parts.push(`restarts ${service.restarts}`);
  return parts.join(', ');
}

// remarks are what an operator should know, the worst first.
function remarks(service) {
  const lines = [];
  const add = (kind, text) => lines.push(h('li', {class: kind}, text));
  if (service.unhealthy) add('bad', `unhealthy: ${service.unhealthy}`);
  if (service.issue) add('bad', service.issue);
  if (service.reported) add('bad', 'it does not count as healthy');
  if (service.degraded) add('warn', `degraded: ${service.degraded}`);
  if (service.debugger) add('warn', service.debugger);
  if (service.reason) add('bad', service.reason);
  if (service.waiting_for) add('warn', `waits for ${service.waiting_for}`);
  if (service.phase) add('warn', `phase: ${service.phase}`);
  if (service.deadline) add('warn', `time left: ${ahead(service.deadline)}`);
  if (service.left?.length) add('warn', `processes that live on: ${service.left.join(', ')}`);
  if (service.next_start) add('warn', `next start in ${ahead(service.next_start)}`);
  if (service.leaving) add('warn', 'it is not configured any more');
  if (service.exit) add('quiet', `last end: ${ending(service.exit)}, ${ago(service.exit.at)}`);
  if (service.output?.lost_bytes) add('warn', `output lost: ${size(service.output.lost_bytes)}`);
  const notes = service.notes ?? [];
  return [lines.length > 0 && h('ul', {class: 'remarks'}, lines),
    notes.length > 0 && h('details', {}, h('summary', {}, `Notes (${notes.length})`), h('ul', {}, notes.map((note) => h('li', {}, note))))];
}

const signals = {1: 'HUP', 2: 'INT', 3: 'QUIT', 6: 'ABRT', 7: 'BUS', 9: 'KILL', 11: 'SEGV', 15: 'TERM'};

// ending is how a process ended.
export function ending(exit) {
  if (exit.signal) return `signal ${signals[exit.signal] ?? exit.signal}${exit.core ? ', core dumped' : ''}`;
  return `exit code ${exit.code}`;
}

function links(app, service) {
  const name = encodeURIComponent(service.name);
  return [h('a', {class: 'button', href: `#logs/${name}`, 'aria-label': `Logs of ${service.name}`}, 'Logs'),
    service.kind !== 'process' && h('a', {class: 'button', href: `#jvm/${name}`, 'aria-label': `JVM of ${service.name}`}, 'JVM'),
    app.can('exec') && app.who.console && h('a', {class: 'button', href: `#shell/new/${name}`,
      'aria-label': `Shell beside ${service.name}`}, 'Shell')];
}

function commands(app, service) {
  const up = ['RUNNING', 'STARTING', 'BACKOFF', 'STOPPING'].includes(service.state);
  const make = (verb, label, style) => h('button', {type: 'button', 'data-key': verb, class: style ?? '',
    'aria-label': `${label} ${service.name}`,
    onclick: (event) => busy(event.currentTarget, () => command(app, service, verb, label))}, label);
  return [up ? make('restart', 'Restart') : make('start', 'Start'), up && make('stop', 'Stop', 'danger')];
}

async function command(app, service, verb, label) {
  if (verb !== 'start') {
    const others = app.services().filter((other) => other.requires?.includes(service.name)).map((other) => other.name);
    const body = [h('p', {}, `${label} ${service.name}? It is ${service.state}${service.main ? ', and the main service' : ''}.`),
      others.length > 0 && h('p', {}, `These require it, and stop with it: ${others.join(', ')}.`)];
    if (await ask(`${label} ${service.name}`, body, [[label, 'yes', 'danger']]) === null) return;
  }
  await api.post(`/v1/services/${encodeURIComponent(service.name)}/${verb}`);
  notice(`${service.name}: ${verb} requested`);
  await app.refresh();
}

function incidents(app, list) {
  return h('section', {'aria-labelledby': 'incidents'}, h('h2', {id: 'incidents'}, 'Incidents'),
    !list && h('p', {class: 'quiet'}, 'Loading ...'),
    list?.length === 0 && h('p', {class: 'quiet'}, 'None.'),
    h('ul', {class: 'list'}, list?.slice(0, 20).map((incident) => h('li', {'data-key': `i${incident.number}`},
      h('span', {class: 'quiet'}, clock(incident.at)), ' ', h('strong', {}, incident.service), ` ${incident.cause}: ${incident.reason} `,
      app.can('admin') && button('Evidence', () => evidence(incident.number),
        {'aria-label': `Evidence of incident ${incident.number}`})))));
}

// evidence shows all that is known of an incident.
async function evidence(number) {
  const incident = await api.get(`/v1/incidents/${number}`);
  const known = new Set(['number', 'service', 'kind', 'at', 'cause', 'reason']);
  const rows = Object.entries(incident).filter(([name]) => !known.has(name)).map(([name, value]) => [
    h('h3', {}, name.replaceAll('_', ' ')), block(value, name === 'options')]);
  await ask(`Incident ${number}: ${incident.service}`,
    [h('p', {}, `${clock(incident.at)}, ${incident.cause}: ${incident.reason}`), rows], []);
}

function block(value, command) {
  let text = typeof value === 'string' ? value : JSON.stringify(value, null, 1);
  if (command && Array.isArray(value)) text = shown(value);
  if (value?.base64 !== undefined) text = atob(value.base64);
  const pre = h('pre', {tabindex: '0'});
  pre.append(marked(text.length > 200_000 ? `[the first ${text.length - 200_000} characters are left out]\n${text.slice(-200_000)}`
    : text));
  return pre;
}

function limits(limit, budget) {
  if (!limit) return null;
  const row = (name, value, why) => h('div', {}, h('dt', {}, name), h('dd', {}, value, why && h('span', {class: 'quiet'}, ` ${why}`)));
  return h('section', {'aria-labelledby': 'limits'}, h('h2', {id: 'limits'}, 'Limits'),
    h('dl', {},
      row('memory', limit.memory_limit_bytes === null ? 'no limit' : size(limit.memory_limit_bytes), limit.sources?.memory_limit_bytes),
      row('memory in effect', size(limit.effective_memory_bytes), limit.sources?.effective_memory_bytes),
      row('CPU quota', limit.cpu_quota_cores === null ? 'no quota' : `${limit.cpu_quota_cores} CPUs`, limit.sources?.cpu_quota_cores),
      row('CPUs in effect', limit.effective_cpus, limit.sources?.effective_cpus)),
    budget?.length > 0 && [picture(budget), h('p', {}, h('a', {href: '#jvm'}, 'Memory budget of the JVM'))],
    limit.warnings?.map((warning) => h('p', {class: 'box warn'}, warning.message ?? warning.text ?? String(warning))));
}

function labels(status) {
  const all = Object.entries(status.labels ?? {});
  return all.length > 0 && h('section', {'aria-labelledby': 'labels'}, h('h2', {id: 'labels'}, 'Labels'),
    h('dl', {}, all.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value)))));
}

function pluginLines(status) {
  return status.plugins?.length > 0 && h('section', {'aria-labelledby': 'active'}, h('h2', {id: 'active'}, 'Plugins'),
    h('ul', {class: 'list'}, status.plugins.map((plugin) => h('li', {}, h('a', {href: '#plugins'}, plugin.name),
      ` ${plugin.state}${plugin.why ? `: ${plugin.why}` : ''}`))));
}

// took is a duration in nanoseconds.
export const took = (nanoseconds) => span(nanoseconds / 1e6);
