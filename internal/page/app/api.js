// The API: requests with the page's token, streams, tickets and websockets.

const tokenKey = 'stoker.token';
let token = sessionStorage.getItem(tokenKey) ?? '';
let signedOut = () => {};

// Refused is an answer that is no success.
export class Refused extends Error {
  constructor(status, error) {
    super(error.message || `the server answered ${status}`);
    Object.assign(this, {status, code: error.code, hint: error.hint, fields: error.fields});
  }
}

// onSignedOut sets what is called when the token is not accepted any more.
export function onSignedOut(f) {
  signedOut = f;
}

export const signedIn = () => token !== '';

export function forget() {
  token = '';
  sessionStorage.removeItem(tokenKey);
}

// call sends a request and returns its answer; body is an object or a Blob.
export async function call(method, path, {query, body, headers = {}, signal, as = token} = {}) {
  const search = query ? `?${query instanceof URLSearchParams ? query : new URLSearchParams(query)}` : '';
  const all = {...headers};
  if (as) all.Authorization = `Bearer ${as}`;
  const json = body !== undefined && !(body instanceof Blob);
  if (json) all['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(path + search, {method, headers: all, body: json ? JSON.stringify(body) : body, signal,
      cache: 'no-store', credentials: 'omit', redirect: 'error'});
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw Object.assign(new Error('no connection to stoker'), {hint: 'the page tries again by itself', offline: true});
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    error = {message: text.slice(0, 500)};
  }
  if (answer.status === 401 && as === token && token) {
    forget();
    signedOut();
  }
  throw new Refused(answer.status, error);
}

export const get = async (path, options) => (await call('GET', path, options)).json();
export const post = async (path, options) => (await call('POST', path, options)).json();
export const put = async (path, options) => (await call('PUT', path, options)).json();
export const text = async (path, options) => (await call('GET', path, options)).text();

// login takes a one-time ticket.
export async function login(ticket) {
  const answer = await post('/v1/login', {body: {ticket}, as: ''});
  token = answer.token;
  sessionStorage.setItem(tokenKey, token);
}

// exchange signs in with a token, which is not kept.
export async function exchange(secret) {
  const {ticket} = await post('/v1/tickets', {body: {}, as: secret});
  await login(ticket);
}

// logout ends the sign-in, here at once.
export function logout() {
  call('DELETE', '/v1/login').catch(() => {}); // it ends there after an hour without use, too
  forget();
  signedOut();
}

// events reads a stream of server-sent events, and yields id and value of each.
export async function* events(path, {query, signal, last} = {}) {
  const headers = last ? {'Last-Event-ID': last} : {};
  const answer = await call('GET', path, {query, signal, headers});
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let id = last;
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith('id: ')) id = line.slice(4);
      else if (line.startsWith('data: ')) yield {id, value: JSON.parse(line.slice(6))};
    }
  }
}

// whileShown waits until the page is visible, and returns a signal that ends a stream when it is hidden again, or with
// another signal: browsers have few connections for a host, and hidden tabs would take them all.
export async function whileShown(signal) {
  while (document.hidden) await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, {once: true}));
  const hidden = new AbortController();
  document.addEventListener('visibilitychange', () => hidden.abort(), {once: true, signal});
  return AbortSignal.any([signal, hidden.signal]);
}

// download lets the browser fetch a path, by a ticket for it.
export async function download(path, name) {
  const {ticket} = await post('/v1/tickets', {body: {path}});
  save(`${path}?ticket=${encodeURIComponent(ticket)}`, name);
}

// saveBlob keeps a blob as a file.
export function saveBlob(blob, name) {
  const url = URL.createObjectURL(blob);
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function save(url, name) {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}

function base64url(value) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(value))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

// socket opens a websocket of the protocol stoker.v1.
export function socket(path, query) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  url.search = query.toString();
  const protocols = ['stoker.v1'];
  if (token) protocols.push(`base64url.bearer.authorization.k8s.io.${base64url(token)}`);
  const ws = new WebSocket(url, protocols);
  ws.binaryType = 'arraybuffer';
  return ws;
}
