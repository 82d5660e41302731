// Plugins with their switches, parameters and actions, and hooks.
import * as api from './api.js';
import {ask, busy, h, notice, showError, update} from './dom.js';
import {table} from './jvm.js';
import {took} from './state.js';
import {ago, argv, marked} from './text.js';

const kinds = {active: 'ok', failed: 'bad'};
const retryTime = 10_000;

// plugins is the view.
export function plugins(app) {
  const list = h('section', {'aria-labelledby': 'plugins'}, h('p', {class: 'quiet'}, 'Loading ...'));
  const hooks = h('section', {'aria-labelledby': 'hooks'});
  const stop = new AbortController();
  let at = 0;
  const load = async (now) => {
    if (!now && Date.now() - at < retryTime) return;
    at = Date.now();
    const [all, ran] = await Promise.all([api.get('/v1/plugins', {signal: stop.signal}), api.get('/v1/hooks', {signal: stop.signal})]);
    update(list, h('h2', {id: 'plugins'}, 'Plugins'), all.plugins.length === 0 && h('p', {class: 'quiet'},
      'None in the folder of plugins.'),
      h('ul', {class: 'cards'}, all.plugins.map((plugin) => card(app, plugin, () => load(true)))));
    update(hooks, h('h2', {id: 'hooks'}, 'Hooks'), ran.hooks.length === 0 ? h('p', {class: 'quiet'}, 'None.')
      : table(['Event', 'Hook', 'Latest result', 'Does', 'Source'], ran.hooks.map(hookRow)));
  };
  return {
    element: h('div', {class: 'stack'}, list, hooks),
    update: () => load(false).catch(showError),
    close: () => stop.abort(),
  };
}

function hookRow(hook) {
  const {last} = hook;
  return [hook.event, hook.plugin ? `${hook.plugin}/${hook.name}` : hook.name,
    last ? [h('span', {class: `state ${last.ok ? 'ok' : 'bad'}`}, last.ok ? 'ok' : 'failed'),
      ` ${last.why ? `${last.why}, ` : ''}${ago(last.at)}, took ${took(last.took_ns)}${last.service ? `, for ${last.service}` : ''}`]
        : 'not run',
    hook.does, hook.source];
}

function card(app, plugin, reload) {
  const on = plugin.state === 'active' || (plugin.state === 'failed' && !plugin.off);
  const admin = app.can('admin');
  return h('li', {class: 'card', 'data-key': plugin.name},
    h('div', {class: 'row'},
      h('h3', {}, plugin.name), h('span', {class: `state ${kinds[plugin.state] ?? 'idle'}`}, plugin.state),
      plugin.required && h('span', {class: 'tag'}, 'required'), h('span', {class: 'quiet grow'}, plugin.version),
      h('button', {type: 'button', role: 'switch', class: 'switch', 'aria-checked': String(on), 'aria-label': plugin.name, disabled: !admin,
        onclick: (event) => busy(event.currentTarget, () => change(app, plugin, {enabled: !on}, on ? 'Disable' : 'Enable', reload))},
      on ? 'on' : 'off')),
    plugin.description && h('p', {}, plugin.description),
    plugin.why && h('p', {class: plugin.state === 'failed' ? 'problem' : 'quiet'}, plugin.why),
    plugin.notes?.map((note) => h('p', {class: 'quiet'}, note)),
    plugin.params?.length > 0 && h('details', {}, h('summary', {}, `Parameters (${plugin.params.length})`), form(app, plugin, reload)),
    plugin.jvm_options?.length > 0 && h('details', {}, h('summary', {}, `JVM options (${plugin.jvm_options.length})`),
      h('ul', {}, plugin.jvm_options.map((one) => h('li', {}, h('code', {}, one.option), ` ${one.layer}, ${one.source}`)))),
    plugin.hooks?.length > 0 && h('p', {class: 'quiet'}, `hooks: ${plugin.hooks.map((hook) => `${hook.event}/${hook.name}`).join(', ')}`),
    admin && Object.entries(plugin.actions ?? {}).map(([name, action]) => actionRow(plugin, name, action)));
}

// change switches a plugin or sets parameters; services may need a restart for it.
async function change(app, plugin, want, verb, reload) {
  const choice = await ask(`${verb} ${plugin.name}`, [h('p', {}, 'Services whose JVM options change by this need a restart.')],
    [['Restart them later', 'later'], [`${verb}, restart now`, 'now', 'primary']]);
  if (choice === null) return;
  const done = await api.put(`/v1/plugins/${encodeURIComponent(plugin.name)}`, {body: {...want, no_restart: choice === 'later'}});
  const more = [...done.notes ?? []];
  if (done.restarted?.length) more.push(`restarted: ${done.restarted.join(', ')}`);
  if (done.deferred?.length) more.push(`to be restarted: ${done.deferred.join(', ')}`);
  if (done.unsaved) more.push(`only until the container ends: ${done.unsaved}`);
  notice(`${plugin.name} is ${done.plugin.state}${done.plugin.why ? `: ${done.plugin.why}` : ''}`, {more});
  await reload();
  await app.refresh();
}

function form(app, plugin, reload) {
  const id = (param) => `param-${plugin.name}-${param.name}`;
  const save = async (element) => {
    const params = {};
    for (const param of plugin.params) {
      const input = element.querySelector(`[id="${id(param)}"]`);
      const value = input.type === 'checkbox' ? String(input.checked) : input.value;
      if (value !== (param.secret ? '' : param.value)) params[param.name] = value;
    }
    if (Object.keys(params).length === 0) {
      notice('nothing was changed');
      return;
    }
    await change(app, plugin, {params}, 'Set', reload);
  };
  const reset = (param) => () => change(app, plugin, {params: {[param.name]: null}}, `Reset ${param.name} of`, reload);
  return h('form', {class: 'params', onsubmit: (event) => {
    event.preventDefault();
    const element = event.currentTarget;
    busy(element, () => save(element));
  }},
  plugin.params.map((param) => h('div', {class: 'param', 'data-key': `${param.name}=${param.value}`},
    h('label', {for: id(param)}, param.name, param.required && ' (required)'),
    param.type === 'bool'
      ? h('input', {id: id(param), type: 'checkbox', checked: param.value === 'true', disabled: !app.can('admin')})
      : h('input', {id: id(param), type: param.secret ? 'password' : 'text', autocomplete: 'off', spellcheck: 'false',
        disabled: !app.can('admin'),
        value: param.secret ? '' : param.value, placeholder: param.secret ? '*** (unchanged)' : '',
          'aria-describedby': `${id(param)}-what`}),
    h('span', {id: `${id(param)}-what`, class: 'quiet'}, `${param.type}, ${param.origin}. ${param.description ?? ''}`),
    app.can('admin') && param.origin === 'operator' && h('button', {type: 'button', 'aria-label': `Reset ${param.name}`,
      onclick: (event) => busy(event.currentTarget, reset(param))}, 'Reset'))),
  app.can('admin') && h('button', {type: 'submit'}, 'Save'));
}

function actionRow(plugin, name, action) {
  const input = h('input', {type: 'text', 'aria-label': `Arguments of ${name}`, placeholder: 'arguments', spellcheck: 'false'});
  const output = h('pre', {'data-own': true, tabindex: '0', role: 'region', 'aria-label': `Output of ${name}`, hidden: true});
  const run = async (row) => {
    const args = argv(row.querySelector('input').value);
    const done = await api.post(`/v1/plugins/${encodeURIComponent(plugin.name)}/actions/${encodeURIComponent(name)}`, {body: {args}});
    const shown = row.querySelector('pre');
    const end = [`exit code ${done.code}`, done.why].filter(Boolean).join(', ');
    shown.replaceChildren(marked(`${done.truncated ? '[only the end]\n' : ''}${done.output}[${end}]`));
    shown.removeAttribute('hidden');
  };
  return h('div', {class: 'action', 'data-key': `action-${name}`},
    h('div', {class: 'row'},
      h('button', {type: 'button', onclick: (event) => {
        const row = event.currentTarget.closest('.action');
        busy(event.currentTarget, () => run(row));
      }}, `Run ${name}`), input, h('span', {class: 'quiet'}, action.Description)), output);
}
