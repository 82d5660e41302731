// The page: sign-in, the views and what is common to them.
import * as api from './api.js';
import {h, notice, showError, update} from './dom.js';
import {jobs} from './jobs.js';
import {jvm} from './jvm.js';
import {logs} from './logs.js';
import {plugins} from './plugins.js';
import {shells} from './shells.js';
import {signIn} from './signin.js';
import {state} from './state.js';
import {count} from './text.js';

const views = {state, logs, jvm, plugins, jobs, shell: shells};
const titles = {state: 'State', logs: 'Logs', jvm: 'JVM', plugins: 'Plugins', jobs: 'Jobs', shell: 'Shell'};
const pollTime = 2000;

// app is what the views know of each other: the identity, and the latest state of the services.
const app = {
  who: {name: '', grants: []},
  status: null,
  can: (grant) => app.who.grants.includes(grant),
  service: (name) => app.status?.services.find((service) => service.name === name),
  services: () => app.status?.services ?? [],
  refresh: () => poll(),
  terminal: document.documentElement.dataset.terminal === 'true',
};

const main = document.getElementById('content');
let current = null; // the view that is shown: {name, element, update, close}
let timer = 0;
let lostAt = 0; // when the connection was lost; 0: there is one

// takeTicket takes a ticket out of the address, so that it is in no history.
function takeTicket() {
  const found = /^#ticket=([\w-]+)$/.exec(location.hash);
  if (location.hash.startsWith('#ticket=')) history.replaceState(null, '', location.pathname);
  return found?.[1];
}

async function start() {
  const ticket = takeTicket();
  api.onSignedOut(() => askForTicket('The sign-in has ended.'));
  theme();
  try {
    if (ticket) await api.login(ticket);
    if (!api.signedIn()) return askForTicket();
  } catch (error) {
    return askForTicket(error.message, error.hint);
  }
  return open();
}

// open shows the page to a signed-in operator.
async function open() {
  try {
    app.who = await api.get('/v1/whoami');
  } catch (error) {
    if (!error.offline) return;
    outage(error.message);
    setTimeout(open, pollTime);
    return;
  }
  document.body.dataset.signedIn = '';
  navigation();
  menu();
  await poll();
  show();
}

function askForTicket(message, hint) {
  clearTimeout(timer);
  close();
  shells.forget();
  delete document.body.dataset.signedIn;
  for (const id of ['summary', 'menu', 'outage']) document.getElementById(id).replaceChildren();
  document.querySelector('nav').replaceChildren();
  main.replaceChildren(signIn({message, hint, done: open}));
  main.querySelector('input:not([type=radio])').focus();
}

// poll gets the state of the services, now and again later.
async function poll() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      app.status = await api.get('/v1/services');
      outage('');
      summary();
    } catch (error) {
      if (error.offline) outage(error.message);
      else if (error.status !== 401) showError(error);
    }
    current?.update();
  }
  if (api.signedIn()) timer = setTimeout(poll, pollTime);
}

// outage says that what is shown is old.
function outage(message) {
  if (message) lostAt ||= Date.now();
  else if (lostAt) {
    shells.renew(lostAt);
    lostAt = 0;
  }
  const text = message && `${message}: what is shown is old; trying again every ${pollTime / 1000}s`;
  update(document.getElementById('outage'), text);
}

function summary() {
  const {status} = app;
  const bad = status.services.filter((service) => ['FATAL', 'BACKOFF'].includes(service.state) || service.unhealthy || service.degraded);
  let [kind, text] = status.ready ? ['ok', 'ready'] : ['bad', 'not ready'];
  if (status.stopping_until) [kind, text] = ['warn', 'stopping'];
  if (bad.length > 0) text += `, ${count(bad.length, 'problem')}`;
  update(document.getElementById('summary'), h('span', {class: `state ${kind}`}, text));
  document.title = `${text} - stoker`;
}

function navigation() {
  update(document.querySelector('nav'), Object.entries(titles).map(([name, title]) =>
    h('a', {href: `#${name}`, 'data-key': name, 'aria-current': current?.name === name && 'page'}, title)));
}

function menu() {
  const {who} = app;
  update(document.getElementById('menu'), h('details', {class: 'menu', onkeydown: closeMenu},
    h('summary', {}, 'Menu'),
    h('div', {class: 'panel'},
      h('p', {}, h('strong', {}, who.name)),
      h('p', {class: 'quiet'}, `grants: ${who.grants.join(', ') || 'none'}`),
      h('p', {class: 'quiet'}, `stoker ${who.version ?? ''}`),
      h('label', {}, 'Colours ', h('select', {onchange: (event) => theme(event.target.value)},
        ['auto', 'light', 'dark'].map((name) => h('option', {value: name, selected: name === theme()}, name)))),
      h('label', {}, h('input', {type: 'checkbox', checked: localStorage.getItem('stoker.reader') === 'true', onchange: (event) => {
        localStorage.setItem('stoker.reader', event.target.checked);
        shells.setReader(event.target.checked);
      }}), ' Screen reader mode of the terminals'),
      h('button', {type: 'button', onclick: () => api.logout()}, 'Sign out'))));
}

function closeMenu(event) {
  if (event.key !== 'Escape') return;
  event.currentTarget.open = false;
  event.currentTarget.querySelector('summary').focus();
}

// theme returns the scheme that was chosen, and sets it if there is a new one.
function theme(chosen) {
  if (chosen) localStorage.setItem('stoker.theme', chosen);
  const name = localStorage.getItem('stoker.theme') ?? 'auto';
  document.documentElement.dataset.theme = name;
  shells.setTheme();
  return name;
}

function close() {
  current?.close();
  current = null;
}

function unescaped(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// show opens the view of the address: #VIEW/NAME.
function show() {
  if (!api.signedIn()) return;
  if (location.hash === '#content') {
    main.focus();
    history.replaceState(null, '', `#${current?.name ?? 'state'}`);
    return;
  }
  const [name, ...rest] = location.hash.slice(1).split('/').map(unescaped);
  const known = Object.hasOwn(views, name) ? name : 'state';
  const moved = current !== null;
  close();
  current = {name: known, ...views[known](app, rest.join('/'))};
  main.dataset.view = known;
  main.replaceChildren(h('h2', {class: 'visually-hidden'}, titles[known]), current.element);
  main.scrollTop = 0;
  navigation();
  if (moved && !current.keepsFocus) main.focus({preventScroll: true});
  current.update();
}

window.addEventListener('hashchange', () => {
  const ticket = takeTicket();
  if (ticket) api.login(ticket).then(open, showError);
  else show();
});
document.addEventListener('visibilitychange', () => !document.hidden && api.signedIn() && poll());
document.addEventListener('click', (event) => {
  const open = document.querySelector('details.menu[open]');
  if (open && !open.contains(event.target)) open.open = false;
});
window.addEventListener('unhandledrejection', (event) => notice(`fault of the page: ${event.reason}`, {error: true}));
start();
