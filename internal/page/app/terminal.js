// xterm.js, which is loaded when the first terminal is opened.
import {ask, h} from './dom.js';

let loading = null;

// load returns the classes of xterm.js and its addons.
export function load() {
  loading ??= loadOnce().catch(() => {
    loading = null;
    throw Object.assign(new Error('cannot load the terminal'), {hint: 'reload the page: another version of stoker may run now'});
  });
  return loading;
}

async function loadOnce() {
  const script = document.querySelector('script[nonce]');
  underPolicy(script.nonce);
  const base = new URL('npm/', import.meta.url);
  const css = h('link', {rel: 'stylesheet', href: new URL('xterm.css', base).href});
  css.nonce = script.nonce;
  const styled = new Promise((resolve, reject) => {
    css.onload = resolve;
    css.onerror = reject;
  });
  document.head.append(css);
  const [xterm, fit, search, graphemes] = await Promise.all([
    ...['xterm', 'addon-fit', 'addon-search', 'addon-unicode-graphemes'].map((name) => import(new URL(`${name}.mjs`, base).href)), styled]);
  return {Terminal: xterm.Terminal, FitAddon: fit.FitAddon, SearchAddon: search.SearchAddon, Graphemes: graphemes.UnicodeGraphemesAddon};
}

// underPolicy makes xterm.js keep to the policy of the page, which allows only what has the nonce: each
// <style> gets it when it is made, and an attribute style becomes properties.
function underPolicy(nonce) {
  const make = document.createElement.bind(document);
  document.createElement = (name, options) => {
    const element = make(name, options);
    if (String(name).toLowerCase() === 'style') element.nonce = nonce;
    return element;
  };
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function setAttribute(name, value) {
    if (name === 'style') this.style.cssText = value;
    else set.call(this, name, value);
  };
}

// The colours have a contrast of 4.5 to the ground, so that inverse text has it too, which xterm.js does not correct.
const light = {
  background: '#ffffff', foreground: '#1b1f24', cursor: '#1b1f24', cursorAccent: '#ffffff', selectionBackground: '#b6d4fe',
  selectionForeground: '#1b1f24', black: '#24292f', red: '#cf222e', green: '#116329', yellow: '#4d2d00', blue: '#0969da',
    magenta: '#8250df',
  cyan: '#1b7c83', white: '#6e7781', brightBlack: '#57606a', brightRed: '#a40e26', brightGreen: '#1a7f37', brightYellow: '#633c01',
  brightBlue: '#0550ae', brightMagenta: '#6639ba', brightCyan: '#125c62', brightWhite: '#4d5761',
};
const dark = {
  background: '#0d1117', foreground: '#e6edf3', cursor: '#e6edf3', cursorAccent: '#0d1117', selectionBackground: '#264f78',
  selectionForeground: '#ffffff', black: '#7d8590', red: '#ff7b72', green: '#3fb950', yellow: '#d29922', blue: '#58a6ff',
    magenta: '#bc8cff',
  cyan: '#39c5cf', white: '#b1bac4', brightBlack: '#8b949e', brightRed: '#ffa198', brightGreen: '#56d364', brightYellow: '#e3b341',
  brightBlue: '#79c0ff', brightMagenta: '#d2a8ff', brightCyan: '#56d4dd', brightWhite: '#f0f6fc',
};

// colours are those of the scheme that the page has now.
export function colours() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === 'light' || chosen === 'dark') return chosen === 'dark' ? dark : light;
  return matchMedia('(prefers-color-scheme: dark)').matches ? dark : light;
}

export const reader = () => localStorage.getItem('stoker.reader') === 'true';

// create makes a terminal. tty is false for a session of pipes, whose lines end with a newline.
export async function create(tty) {
  const {Terminal, FitAddon, SearchAddon, Graphemes} = await load();
  const term = new Terminal({
    allowProposedApi: true, convertEol: !tty, scrollback: 5000, minimumContrastRatio: 4.5, screenReaderMode: reader(),
    fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace', fontSize: 14, theme: colours(), windowOptions: {},
    linkHandler: {activate: (_, address) => follow(address), allowNonHttpProtocols: false},
  });
  const fit = new FitAddon();
  const search = new SearchAddon();
  for (const addon of [fit, search, new Graphemes()]) term.loadAddon(addon);
  return {term, fit, search};
}

// follow opens a link of the output if the operator wants it; its text may say something else.
async function follow(address) {
  const choice = await ask('Open this address?', [h('p', {}, 'The output has a link to'), h('p', {}, h('code', {}, address))], [['Open',
    'yes', 'primary']]);
  if (choice) window.open(address, '_blank', 'noopener,noreferrer');
}

// screen is the text of a terminal: its last lines, of what is scrolled away too.
export function screen(term, lines = 1000) {
  const {active} = term.buffer;
  const out = [];
  for (let i = Math.max(0, active.length - lines); i < active.length; i++) {
    const line = active.getLine(i);
    const text = line.translateToString(true);
    if (line.isWrapped && out.length > 0) out[out.length - 1] += text;
    else out.push(text);
  }
  return out.join('\n').trimEnd();
}
