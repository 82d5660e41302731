// Texts for people. Nothing of what others have written is interpreted.

// Control characters but tab and newline, invisible ones, and those that change the direction of
// a text: a line of a log could show something else than it is.
// eslint-disable-next-line no-control-regex
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const names = {'\r': '\\r', '\b': '\\b', '\u0007': '\\a', '\u001b': '\\e', '\u0000': '\\0'};

function escaped(character) {
  const code = character.codePointAt(0);
  return names[character] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`);
}

// visible replaces hidden characters by escapes.
export function visible(text) {
  return text.replace(hidden, escaped);
}

// marked is visible as nodes, with the escapes marked.
export function marked(text) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(hidden)) {
    if (match.index > from) out.append(text.slice(from, match.index));
    const mark = document.createElement('span');
    mark.className = 'escape';
    mark.textContent = escaped(match[0]);
    out.append(mark);
    from = match.index + match[0].length;
  }
  out.append(text.slice(from));
  return out;
}

// size is a number of bytes for people.
export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = Math.abs(bytes);
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${bytes < 0 ? '-' : ''}${value.toFixed(digits).replace(/\.0$/, '')} ${units[unit]}`;
}

// span is a number of milliseconds for people.
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (milliseconds < 1000 && milliseconds > 0) return `${Math.round(milliseconds)} ms`;
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60 ? ` ${seconds % 60}s` : ''}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h${minutes % 60 ? ` ${minutes % 60}m` : ''}`;
  return `${Math.floor(hours / 24)} days`;
}

// ago is how long a time is past; since is the same without the word.
export const since = (time) => span(1000 * Math.round((Date.now() - new Date(time)) / 1000));
export const ago = (time) => `${since(time)} ago`;
export const ahead = (time) => span(new Date(time) - Date.now());

// clock is the time of day, with the date if it is another day.
export function clock(time) {
  const at = new Date(time);
  const two = (n) => String(n).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const of = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === new Date().toDateString() ? of : `${day} ${of}`;
}

// count is a number with its noun.
export const count = (n, noun) => `${n} ${noun}${n === 1 ? '' : 's'}`;

// argv splits a command as a shell does, with quotes and backslashes and nothing else.
export function argv(text) {
  const out = [];
  let word = null;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quote) {
      if (c === quote) quote = '';
      else if (c === '\\' && quote === '"' && '"\\$`'.includes(text[i + 1])) word += text[++i];
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (c === '\\' && i + 1 < text.length) {
      word = (word ?? '') + text[++i];
    } else if (/\s/.test(c)) {
      if (word !== null) out.push(word);
      word = null;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (quote) throw new Error(`the command has a ${quote} without its end`);
  if (word !== null) out.push(word);
  return out;
}

// shown is a command as argv reads it.
export const shown = (command) => (command ?? []).map((word) =>
  (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
