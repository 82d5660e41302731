// A JVM: its options with their layers, the memory budget as a picture, and its tools.
import * as api from './api.js';
import {ask, busy, h, notice, showError, update} from './dom.js';
import {clock, marked, size} from './text.js';

const tools = [
  ['threads', 'Thread dump', 'what every thread does now'],
  ['histo', 'Histogram', 'objects by class; the JVM stands still for it'],
  ['flags', 'Flags', 'the flags in force'],
  ['nmt', 'Native memory', 'needs -XX:NativeMemoryTracking=summary'],
];
const maxShown = 512 * 1024; // characters of an answer in the page

// jvm is the view of a service's JVM; without a name that of the main one.
export function jvm(app, name) {
  const candidates = () => app.services().filter((service) => service.kind !== 'process');
  const service = app.service(name) ?? candidates().find((one) => one.main) ?? candidates()[0];
  const path = service && `/v1/services/${encodeURIComponent(service.name)}/jvm`;
  const explained = h('div', {class: 'stack'}, h('p', {class: 'quiet'}, 'Loading ...'));
  const output = h('section', {'aria-labelledby': 'answer', hidden: true});
  const stop = new AbortController();
  let start = -1;
  const load = async () => {
    const now = app.service(service?.name)?.start;
    if (!service || start === now) return;
    start = now;
    try {
      const [report, limits] = await Promise.all([
        api.get('/v1/jvm', {query: {service: service.name}, signal: stop.signal}), api.get('/v1/limits', {signal: stop.signal})]);
      update(explained, explain(report, limits));
    } catch (error) {
      if (error.name === 'AbortError') return;
      start = -1;
      update(explained, h('p', {class: 'box warn'}, error.message, error.hint && ` (${error.hint})`));
    }
  };
  const choose = h('select', {onchange: (event) => {
    location.hash = `#jvm/${encodeURIComponent(event.target.value)}`;
  }}, candidates().map((one) => h('option', {value: one.name, selected: one === service}, one.name)));
  return {
    element: h('div', {class: 'stack'},
      service ? h('div', {class: 'bar'}, h('label', {}, 'Service ', choose), app.can('admin')
        ? [tools.map((tool) => toolButton(service.name, path, tool, output)), dumpButton(app, service.name, path, output)]
        : h('span', {class: 'quiet'}, 'The tools need the grant admin.'))
        : h('p', {class: 'box'}, 'No service has a JVM: its kind is java or tomcat.'),
      output, service && explained),
    update: load,
    close: () => stop.abort(),
  };
}

function toolButton(service, path, [tool, label, what], output) {
  return h('button', {type: 'button', title: what, onclick: (event) => busy(event.currentTarget, async () => {
    show(output, `${label} of ${service}`, await api.text(`${path}/${tool}`), `${service}-${tool}.txt`);
  })}, label);
}

// show shows the answer of a tool, which can be kept as a file.
function show(output, title, text, file, ...more) {
  const at = new Date();
  const pre = h('pre', {tabindex: '0', role: 'region', 'aria-label': title});
  pre.append(marked(text.slice(0, maxShown)));
  const hide = () => {
    output.hidden = true;
  };
  output.replaceChildren(
    h('div', {class: 'row'}, h('h2', {id: 'answer', tabindex: '-1'}, title), h('span', {class: 'quiet grow'}, clock(at)), more,
      h('button', {type: 'button', onclick: () => api.saveBlob(new Blob([text], {type: 'text/plain'}), file)}, 'Save as text'),
      h('button', {type: 'button', onclick: () => navigator.clipboard.writeText(text).then(() => notice('copied'), showError)}, 'Copy'),
      h('button', {type: 'button', onclick: hide}, 'Hide')),
    ...text.length > maxShown ? [h('p', {class: 'quiet'}, `The first ${size(maxShown)} of ${size(text.length)}; the file has all.`)] : [],
    pre);
  output.hidden = false;
  output.querySelector('h2').focus();
}

// dumpButton makes the JVM write its heap. The file is read through the console, where that is allowed.
function dumpButton(app, service, path, output) {
  return h('button', {type: 'button', title: 'a file for Eclipse MAT', onclick: (event) => {
    const pressed = event.currentTarget;
    busy(pressed, async () => {
      const choice = await ask(`Heap dump of ${service}`, [
        h('p', {}, 'The JVM stands still while it writes. The file is as large as what is in use of the heap, and has everything '
          + 'in it that the application knows: passwords too.')], [['All objects', 'all'], ['Live objects', 'live', 'primary']]);
      if (choice === null) return;
      const answer = (await (await api.call('POST', `${path}/heapdump`, {query: choice === 'all' ? {all: ''} : {}})).text()).trim();
      const found = /^(\/.+): (\d+) bytes/.exec(answer);
      const name = found?.[1].split('/').pop();
      const fetchIt = found && app.can('exec') && app.who.console && h('button', {type: 'button', class: 'primary',
        onclick: (e) => busy(e.currentTarget, () => fetchDump(service, found[1], Number(found[2]), name))}, 'Download the dump');
      show(output, `Heap dump of ${service}`, fetchIt ? answer
        : `${answer}\n\nCopy it from there: docker cp, kubectl cp, or stoker exec -- cat.`,
        `${service}-heapdump.txt`, fetchIt);
    });
  }}, 'Heap dump');
}

async function fetchDump(service, file, bytes, name) {
  const query = new URLSearchParams([['command', 'cat'], ['command', file], ['container', service]]);
  const blob = await (await api.call('POST', '/v1/exec', {query})).blob();
  if (blob.size !== bytes) throw new Error(`the dump has ${bytes} bytes, ${blob.size} came`);
  api.saveBlob(blob, name);
}

function explain(report, limits) {
  const {jvm: machine, options, sources} = report;
  return [tooLow(report.limit_below_budget), pending(report.restart_to_apply), [...options.errors, ...options.warnings].map((one) => h('p', {class: 'box warn'}, one.message)),
    budget(options.budget, limits),
    h('section', {'aria-labelledby': 'options'}, h('h2', {id: 'options'}, 'Options'),
      h('p', {class: 'quiet'}, `JVM ${machine.Vendor} ${machine.Version} in ${machine.Home} (${report.found_by})`),
      table(['Option', 'Layer', 'Source', 'Why'], options.options.map((option) => [
        h('code', {}, option.option), h('span', {class: `tag ${option.layer}`}, option.layer), option.source,
        [option.why, option.replaced.length > 0 && h('ul', {class: 'quiet'}, option.replaced.map((other) =>
          h('li', {}, 'instead of ', h('code', {}, other.option), ` (${other.layer}, ${other.source})`)))]]))),
    options.env?.length > 0 && h('section', {'aria-labelledby': 'env'}, h('h2', {id: 'env'}, 'Environment'),
      table(['Variable', 'Source', 'Why'], options.env.map((one) => [h('code', {}, `${one.name}=${one.value}`), one.source, one.why]))),
    sources?.length > 0 && h('section', {'aria-labelledby': 'sources'}, h('h2', {id: 'sources'}, 'Sources'),
      table(['Source', 'Layer', 'State'], sources.map((one) => [one.source, one.layer, one.why ? `${one.state}: ${one.why}`
        : one.state])))];
}

function tooLow(cut) {
  return cut && h('p', {class: 'box bad'}, `The memory limit is ${size(cut.limit_bytes)} now, and the JVM may use ${size(cut.budget_bytes)}: ${cut.done}`);
}

function pending(change) {
  return change && h('div', {class: 'box warn'}, h('p', {}, h('strong', {}, 'A restart would apply changes:')),
    change.limits && h('p', {}, change.limits),
    change.problem && h('p', {}, `It would fail: ${change.problem}`), change.held_by && h('p', {}, `It waits for ${change.held_by}.`),
    h('ul', {}, change.changes?.map((line) => h('li', {}, line))));
}

// budget shows what the memory of the container is for.
function budget(regions, limits) {
  if (!regions?.length) return null;
  const {total, limit} = sums(regions);
  const left = regions.at(-1).bytes;
  const of = limits?.memory_limit_bytes === null ? '' : `; the container's limit is ${size(limits.memory_limit_bytes)}`;
  return h('section', {'aria-labelledby': 'budget'}, h('h2', {id: 'budget'}, 'Memory budget'),
    h('p', {class: left < 0 ? 'box bad' : 'quiet'}, `${size(limit)} in all${of}${left < 0 ? `; it is exceeded by ${size(-left)}` : ''}`),
    picture(regions),
    table(['Region', 'Size', 'Share', 'Why'], regions.map((region, i) => [
      [h('span', {class: `key p${i % 10}`, 'aria-hidden': 'true'}), ` ${region.region}`], size(region.bytes),
      region.bytes > 0 ? `${(100 * region.bytes / total).toFixed(1)} %` : '', region.why])));
}

// sums returns what is drawn and what there is: the last region is what is left over, which may be less than nothing.
function sums(regions) {
  const add = (sum, region) => sum + region.bytes;
  return {total: regions.filter((region) => region.bytes > 0).reduce(add, 0), limit: regions.reduce(add, 0)};
}

// picture draws the regions of a budget.
export function picture(regions) {
  const {total, limit} = sums(regions);
  const drawn = regions.filter((region) => region.bytes > 0);
  return h('div', {class: 'budget', role: 'img', 'aria-label': `Memory budget of ${size(limit)}: ${
    drawn.map((region) => `${region.region} ${size(region.bytes)}`).join(', ')}`},
  drawn.map((region) => h('span', {class: `part p${regions.indexOf(region) % 10}`, title: `${region.region}: ${size(region.bytes)}`,
    style: {'flex-grow': String(region.bytes / total)}})));
}

// table makes a table that scrolls sideways where it must.
export function table(heads, rows) {
  return h('div', {class: 'scroll', tabindex: '0', role: 'group', 'aria-label': `table: ${heads.join(', ')}`},
    h('table', {}, h('thead', {}, h('tr', {}, heads.map((head) => h('th', {scope: 'col'}, head)))),
      h('tbody', {}, rows.map((row) => h('tr', {}, row.map((cell, i) => h('td', {'data-label': heads[i]}, cell)))))));
}
