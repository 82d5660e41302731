// Elements without HTML: every text that is shown becomes a text node.
import {visible} from './text.js';

const handlers = ['onclick', 'onchange', 'oninput', 'onsubmit', 'onkeydown', 'ontoggle'];

// h makes an element. Properties: on... are handlers, style is an object, value and checked are
// properties, true is an empty attribute, and null or false is none. Children are nodes, texts
// and lists of these.
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element[name] = value;
    else if (name === 'style') for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === 'value' && tag !== 'option') element.value = value;
    else if (name === 'checked') element.checked = value;
    else element.setAttribute(name, value === true ? '' : visible(String(value)));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false || child === '') continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(String(child))));
  }
}

// morph changes an element into another one, and keeps the nodes, and so focus, selection and
// what was typed. Elements with data-key are matched by it. One with data-own
// is left alone, and so is the state of <details>.
export function morph(have, want) {
  if ('own' in have.dataset) return;
  for (const {name} of [...have.attributes]) {
    if (!want.hasAttribute(name) && name !== 'open' && name !== 'style') have.removeAttribute(name);
  }
  for (const {name, value} of want.attributes) {
    if (name !== 'style' && name !== 'open' && have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  if (have.style.cssText !== want.style.cssText) have.style.cssText = want.style.cssText;
  for (const name of handlers) if (have[name] !== want[name]) have[name] = want[name];
  const keyed = new Map();
  for (const child of have.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = have.firstChild;
  for (const child of [...want.childNodes]) {
    const key = child.dataset?.key;
    const match = key ? keyed.get(key) : at;
    if (!match || match.nodeName !== child.nodeName || match.dataset?.key !== key) {
      have.insertBefore(child, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else have.insertBefore(match, at);
    if (match.nodeType !== Node.ELEMENT_NODE) {
      if (match.data !== child.data) match.data = child.data;
    } else {
      morph(match, child);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// update gives an element the children, keeping what is the same.
export function update(element, ...children) {
  const want = element.cloneNode(false);
  for (const name of handlers) want[name] = element[name];
  add(want, children);
  morph(element, want);
}

// button runs an action once at a time, and shows errors.
export function button(label, action, props = {}) {
  return h('button', {type: 'button', ...props, onclick: (event) => busy(event.currentTarget, action)}, label);
}

// busy runs an action while an element is marked; errors are shown.
export async function busy(element, action) {
  if (element.getAttribute('aria-busy') === 'true') return;
  element.setAttribute('aria-busy', 'true');
  try {
    await action();
  } catch (error) {
    showError(error);
  } finally {
    element.removeAttribute('aria-busy');
  }
}

// notice shows a message until it is dismissed; one that is no error goes after a while.
export function notice(message, {hint, error = false, more = []} = {}) {
  const box = document.getElementById('notices');
  const item = h('div', {class: error ? 'notice bad' : 'notice', role: error ? 'alert' : 'status'},
    h('div', {}, h('p', {}, message), more.map((line) => h('p', {}, line)), hint && h('p', {class: 'hint'}, `Hint: ${hint}`)),
    h('button', {type: 'button', 'aria-label': 'dismiss', onclick: () => item.remove()}, '×'));
  for (const old of [...box.children]) if (old.textContent === item.textContent) old.remove();
  box.append(item);
  while (box.children.length > 4) box.firstChild.remove();
  if (!error) setTimeout(() => item.remove(), 8000);
}

// showError shows an error with the hint that the API has for it.
export function showError(error) {
  if (error.name === 'AbortError') return;
  const more = (error.fields ?? []).map((field) => `${field.field}: ${field.why}`);
  notice(error.message, {hint: error.hint, error: true, more});
}

// ask shows a dialog. It returns the value of the button, or null. Enter does nothing dangerous.
export function ask(title, body, choices) {
  return new Promise((resolve) => {
    const dialog = h('dialog', {'aria-labelledby': 'dialog-title'},
      h('h2', {id: 'dialog-title'}, title),
      h('div', {class: 'body'}, body),
      h('div', {class: 'row end'},
        choices.map(([label, value, style]) => h('button', {type: 'button', class: style ?? '', onclick: () => dialog.close(value)},
          label)),
        h('button', {type: 'button', autofocus: choices.some(([, , style]) => style === 'danger'), onclick: () => dialog.close('')},
          choices.length > 0 ? 'Cancel' : 'Close')));
    const opener = document.activeElement;
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (opener?.isConnected) opener.focus();
      resolve(dialog.returnValue || null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
