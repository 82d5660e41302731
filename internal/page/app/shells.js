// The shells: a tab for each session of this page, a form for a new one, and a list of all.
import * as api from './api.js';
import {ask, busy, button, h, update} from './dom.js';
import {outcome, ShellTab} from './shelltab.js';
import {ago, argv, clock, shown} from './text.js';

const savedKey = 'stoker.shells';
const listTime = 3000;

// The tabs outlive the view: a session goes on while another view is shown.
const page = {tabs: [], selected: null, element: null, app: null, restored: false};

// shells is the view; its argument is new/SERVICE, or an ID to attach to.
export function shells(app, argument) {
  page.app = app;
  if (app.who.console === false || !app.can('exec') || !app.terminal) return {element: closed(app), update: () => {}, close: () => {}};
  if (!page.element) build();
  restore();
  const wanted = /^new\/(.*)$/.exec(argument);
  if (wanted) {
    select('new');
    page.form.elements.context.value = wanted[1];
  } else if (argument) {
    attach(argument, 'hold');
  }
  let at = 0;
  const view = {
    element: page.element,
    keepsFocus: true,
    update: () => {
      if (page.selected === 'sessions' && Date.now() - at > listTime) {
        at = Date.now();
        list().catch(() => {}); // the header says that there is no connection
      }
    },
    close: () => page.tabs.forEach((tab) => tab.show(false)),
  };
  queueMicrotask(() => select(page.selected ?? (page.tabs.at(-1) ?? 'new')));
  return view;
}

// closed says why there is no shell.
function closed(app) {
  let why = 'A shell needs the grant exec.';
  if (!app.terminal) {
    why = ['The terminal was not built into this stoker: its parts come from npm. In a clone, run ', h('code', {}, 'make build'),
      ' where node and npm are installed. Until then: ', h('code', {}, 'stoker exec -it -- sh'), '.'];
  } else if (app.who.console === false) {
    why = ['The console is off. Set ', h('code', {}, 'console: {enabled: true}'), ' in the configuration.'];
  }
  return h('p', {class: 'box', tabindex: '-1'}, why);
}

function build() {
  page.tablist = h('div', {class: 'tabs', role: 'tablist', 'aria-label': 'Sessions', onkeydown: moveTab});
  page.form = form();
  page.sessions = h('div', {class: 'panel stack', role: 'tabpanel', id: 'panel-sessions', 'aria-labelledby': 'tab-sessions', tabindex: '0',
    hidden: true});
  page.panels = h('div', {class: 'panels'}, h('div', {class: 'panel', role: 'tabpanel', id: 'panel-new', 'aria-labelledby': 'tab-new',
    hidden: true}, page.form), page.sessions);
  page.element = h('div', {class: 'shells'}, page.tablist, page.panels);
  window.addEventListener('pagehide', save);
  document.addEventListener('visibilitychange', save);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', shells.setTheme);
}

function form() {
  const start = async (element) => {
    const value = (name) => element.elements[name].value.trim();
    const open = new URLSearchParams();
    for (const word of argv(value('command'))) open.append('command', word);
    for (const [name, text] of [['container', value('context')], ['user', value('user')]]) if (text) open.set(name, text);
    for (const [name, text] of [['tty', 'true'], ['stdin', 'true'], ['keep', '10m']]) open.set(name, text);
    await add(new ShellTab({open}, events()));
  };
  return h('form', {class: 'stack', onsubmit: (event) => {
    event.preventDefault();
    const element = event.currentTarget;
    busy(element, () => start(element));
  }},
  h('h2', {}, 'New shell'),
  h('div', {class: 'bar'},
    h('label', {class: 'grow'}, 'Command ', h('input', {name: 'command', value: '/bin/sh', required: true, spellcheck: 'false',
      autocapitalize: 'off', autocomplete: 'off'})),
    h('label', {}, 'Service ', h('select', {name: 'context'}, h('option', {value: ''}, 'none'))),
    h('label', {}, 'User ', h('input', {name: 'user', size: '8', placeholder: "service's", spellcheck: 'false', autocapitalize: 'off',
      autocomplete: 'off'})),
    h('button', {type: 'submit', class: 'primary'}, 'Open')),
  h('p', {class: 'quiet'}, 'With a service the shell has its user and environment. A session goes on for 10 minutes without its page: '
    + 'a reload, a lost connection or a new supervisor does not end it.'),
  h('dl', {class: 'keyhelp'}, [['Ctrl+Shift+↑', 'leaves the terminal, up to the tabs'], ['Ctrl+Shift+F', 'finds in the output'],
    ['Ctrl+Shift+V', 'pastes'], ['Ctrl+Insert', 'copies what is selected']].map(([key, what]) =>
    h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, what)))));
}

const events = () => ({
  changed: () => tabs(), me: () => page.app.who.name, close,
  leave: () => page.tablist.querySelector('[aria-selected=true]')?.focus(),
});

// add shows a tab and starts it; a tab that cannot start goes.
async function add(tab) {
  page.tabs.push(tab);
  page.panels.append(tab.panel);
  select(tab);
  try {
    await tab.start();
    if (page.selected === tab) tab.show(true);
  } catch (error) {
    remove(tab);
    throw error;
  }
}

function attach(id, mode, seen) {
  const open = page.tabs.find((tab) => tab.session?.id === id);
  if (open) {
    select(open);
    if (open.session.state !== 'open') open.session.connect(mode);
    return undefined;
  }
  return add(new ShellTab({id, mode, seen}, events()));
}

function close(tab) {
  remove(tab);
  save();
}

function remove(tab) {
  const at = page.tabs.indexOf(tab);
  if (at < 0) return;
  page.tabs.splice(at, 1);
  tab.dispose();
  if (page.selected === tab) select(page.tabs[Math.min(at, page.tabs.length - 1)] ?? 'new');
  tabs();
}

const tabID = (tab) => (typeof tab === 'string' ? tab : `s${tab.number ??= counter++}`);
let counter = 1;

function select(tab) {
  page.selected = tab;
  for (const other of page.tabs) if (other !== tab) other.show(false);
  page.panels.querySelector('#panel-new').hidden = tab !== 'new';
  page.sessions.hidden = tab !== 'sessions';
  tabs();
  if (tab === 'sessions') busy(page.sessions, list);
  if (tab === 'new') contexts();
  if (typeof tab !== 'string') tab.show(page.element.isConnected);
}

// contexts fills the services into the form.
function contexts() {
  const choose = page.form.elements.context;
  const have = choose.value;
  choose.replaceChildren(h('option', {value: ''}, 'none'), ...page.app.services().map((service) => h('option', {value: service.name},
    service.name)));
  choose.value = have;
  const main = page.app.services().find((service) => service.main);
  if (!page.chosen && main && have === '') choose.value = main.name;
  page.chosen = true;
}

function tabs() {
  const one = (tab, label, kind) => {
    const id = tabID(tab);
    if (tab.panel) Object.assign(tab.panel, {id: `panel-${id}`}).setAttribute('aria-labelledby', `tab-${id}`);
    return h('button', {type: 'button', role: 'tab', id: `tab-${id}`, 'data-key': id, class: kind ?? '', 'aria-controls': `panel-${id}`,
      'aria-selected': String(page.selected === tab), tabindex: page.selected === tab ? '0' : '-1', onclick: () => select(tab)}, label);
  };
  update(page.tablist, page.tabs.map((tab) => one(tab, tab.title, tab.session?.state === 'open' ? 'live' : 'cold')),
    one('new', '+ New'), one('sessions', 'All sessions'));
}

function moveTab(event) {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  const all = [...page.tablist.querySelectorAll('[role=tab]')];
  const at = all.indexOf(document.activeElement);
  if (at < 0) return;
  if (event.key === 'ArrowDown') {
    event.preventDefault();
    if (typeof page.selected === 'string') page.panels.querySelector(`#panel-${page.selected} :is(input, button, [tabindex])`)?.focus();
    else page.selected.term?.focus();
  } else if (step) {
    event.preventDefault();
    const next = all[(at + step + all.length) % all.length];
    for (const tab of all) tab.tabIndex = tab === next ? 0 : -1;
    next.focus();
  }
}

// list shows the sessions of everybody.
async function list() {
  const {sessions} = await api.get('/v1/sessions');
  update(page.sessions, h('h2', {}, 'All sessions'), sessions.length === 0 && h('p', {class: 'quiet'}, 'None.'),
    h('ul', {class: 'cards'}, sessions.map((one) => h('li', {class: 'card', 'data-key': one.id},
      h('div', {class: 'row'}, h('code', {class: 'cut'}, shown(one.command)), h('span', {class: `state ${one.exit ? 'idle' : 'ok'}`},
        one.exit ? 'ended' : 'running'),
        h('span', {class: 'quiet grow'}, whose(one)), h('span', {class: 'row'}, actions(one)))))));
}

function whose(one) {
  const parts = [`by ${one.by}${one.address ? ` from ${one.address}` : ''}`, `as ${one.user}`, clock(one.started)];
  if (one.exit) parts.push(`${outcome(one.exit)}, ${ago(one.ended ?? one.started)}`);
  else parts.push(one.holder ? `keyboard: ${one.holder}` : 'nobody has the keyboard', `${one.viewers} watching`);
  return parts.join(', ');
}

function actions(one) {
  const id = encodeURIComponent(one.id);
  const mine = one.by === page.app.who.name || page.app.can('admin');
  const label = (text) => ({'aria-label': `${text}: ${shown(one.command)} by ${one.by}`});
  return [
    !one.exit && button('Watch', () => attach(one.id, 'view', one.stdout_bytes), label('Watch')),
    !one.exit && (one.holder ? button('Take over', () => attach(one.id, 'take', one.stdout_bytes), label('Take over'))
      : button('Attach', () => attach(one.id, 'hold', one.stdout_bytes), label('Attach'))),
    mine && !one.exit && button('End', async () => {
      if (await ask('End the session?', h('p', {}, shown(one.command), ` of ${one.by}: all its processes are ended.`), [['End', 'yes',
        'danger']]) === null) return;
      await api.call('DELETE', `/v1/sessions/${id}`);
      await list();
    }, {...label('End'), class: 'danger'}),
    mine && one.recording && button('Recording', () => api.download(`/v1/sessions/${id}/recording`, `${one.id}.cast`), label('Recording'))];
}

// save keeps what a reload needs; restore goes on with it.
function save() {
  sessionStorage.setItem(savedKey, JSON.stringify(page.tabs.map((tab) => tab.saved()).filter(Boolean)));
}

function restore() {
  if (page.restored) return;
  page.restored = true;
  let saved = [];
  try {
    saved = JSON.parse(sessionStorage.getItem(savedKey) ?? '[]');
  } catch {
    sessionStorage.removeItem(savedKey);
  }
  for (const spec of saved) add(new ShellTab(spec, events())).catch(() => {}); // the tab says why
}

// forget ends all links, at the end of the sign-in.
shells.forget = () => {
  for (const tab of [...page.tabs]) tab.dispose();
  Object.assign(page, {tabs: [], selected: null, restored: false});
  sessionStorage.removeItem(savedKey);
};
shells.renew = (since) => page.tabs.forEach((tab) => tab.session?.renew(since));
shells.setTheme = () => page.tabs.forEach((tab) => tab.setTheme());
shells.setReader = () => page.tabs.forEach((tab) => tab.setReader());
