// One link to a session, by the protocol stoker.v1: what was received and taken is counted in
// bytes, so that a link that is lost goes on at the right byte.
import * as api from './api.js';

const ackEvery = 16 * 1024; // bytes; the server sends at most 256 KiB beyond
const frame = 16 * 1024; // bytes of input in a message
const maxPending = 1024 * 1024; // bytes of input that the process has not taken
const pauses = [300, 700, 1500, 3000, 5000]; // milliseconds before another try; then the last one
const ownTries = 3; // how often a reload waits for the end of the link that it had before

// States of a Session: connecting, open, waiting (for another try), and those without a link:
// taken (the keyboard, by another), held (by another), ended, gone, refused, detached.
export class Session {
  // open has the query of a new session, or id an existing one, with the offsets where its output
  // goes on, if they are known. on has the functions state, data, gap, notice, opened and me,
  // which returns the own name.
  constructor({open, id, mode = 'hold', at = null, on}) {
    Object.assign(this, {query: open, id, mode, at, on, state: 'connecting', why: '', exit: null, holds: false, info: null});
    this.pending = {base: 0, bytes: new Uint8Array()};
    this.acked = {1: 0, 2: 0};
    this.tries = 0;
    window.addEventListener('online', this.again = () => this.state === 'waiting' && this.connect());
  }

  set(state, why = '') {
    Object.assign(this, {state, why});
    this.on.state(this);
  }

  connect(mode = this.mode) {
    clearTimeout(this.timer);
    this.mode = mode;
    this.holds = false;
    this.set('connecting');
    let path = '/v1/exec';
    let query = this.query;
    if (this.id) {
      path = `/v1/sessions/${encodeURIComponent(this.id)}/attach`;
      query = new URLSearchParams({mode});
      if (this.at) {
        query.set('stdout', this.at[1]);
        query.set('stderr', this.at[2]);
      }
    }
    const ws = api.socket(path, query);
    this.ws = ws;
    let opened = false;
    ws.onmessage = (event) => {
      if (this.ws !== ws) return;
      opened = true;
      this.heard = Date.now();
      if (typeof event.data === 'string') this.message(JSON.parse(event.data));
      else this.output(new Uint8Array(event.data));
    };
    ws.onclose = (event) => {
      if (this.ws !== ws) return;
      this.ws = null;
      this.closed(event, opened).catch((error) => this.set('refused', error.message));
    };
  }

  // renew replaces a link that was silent since a time at which there was no connection: a browser may not notice for
  // minutes that it is dead.
  renew(since) {
    if (this.state !== 'open' || this.heard > since) return;
    const {ws} = this;
    this.ws = null;
    ws.close();
    this.connect();
  }

  message(m) {
    switch (m.type) {
      case 'session':
        this.id = m.id;
        this.info = m;
        this.holds = m.mode !== 'view';
        this.mode = this.holds ? 'hold' : 'view';
        this.tries = 0;
        if (this.at && (m.stdout > this.at[1])) this.on.gap(m.stdout - this.at[1]);
        this.at = {1: m.stdout, 2: m.stderr};
        this.acked = {...this.at};
        this.on.opened(m);
        this.set('open');
        this.resend(m.stdin);
        break;
      case 'gap':
        this.at[m.stream] += m.bytes;
        this.on.gap(m.bytes);
        break;
      case 'stdin':
        this.taken(m.offset);
        break;
      case 'exit':
        this.exit = m;
        break;
      default:
        this.on.notice(m);
    }
  }

  output(message) {
    const stream = message[0];
    if (stream !== 1 && stream !== 2) return;
    const bytes = message.subarray(1);
    this.at[stream] += bytes.length;
    this.on.data(stream, bytes, this.at[stream]);
  }

  // ack tells the server what the terminal has shown.
  ack(stream, offset) {
    if (offset - this.acked[stream] < ackEvery) return;
    this.acked[stream] = offset;
    this.send({type: 'ack', stream, offset});
  }

  send(object) {
    if (this.ws?.readyState === WebSocket.OPEN) this.ws.send(JSON.stringify(object));
  }

  // input sends keys. Without a link they are dropped: nothing is executed that was typed blindly.
  input(data) {
    if (this.state !== 'open' || !this.holds) return false;
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    const {pending} = this;
    if (pending.bytes.length + bytes.length > maxPending) return false;
    pending.bytes = joined(pending.bytes, bytes);
    this.transmit(bytes);
    return true;
  }

  transmit(bytes) {
    for (let from = 0; from < bytes.length; from += frame) this.ws.send(joined(Uint8Array.of(0), bytes.subarray(from, from + frame)));
  }

  taken(offset) {
    const {pending} = this;
    const n = offset - pending.base;
    if (n > 0) pending.bytes = pending.bytes.slice(n);
    pending.base = offset;
  }

  // resend sends the input again that the process has not taken.
  resend(offset) {
    const {pending} = this;
    const n = offset - pending.base;
    if (!this.holds || n < 0 || n > pending.bytes.length) pending.bytes = new Uint8Array();
    this.taken(offset);
    if (pending.bytes.length > 0) this.transmit(pending.bytes);
  }

  async closed(event, opened) {
    this.holds = false;
    if (this.state === 'detached') return;
    switch (event.code) {
      case 1000:
        this.set(this.exit ? 'ended' : 'detached');
        return;
      case 4001:
        this.pending.bytes = new Uint8Array();
        this.set('taken', event.reason);
        return;
      case 4003:
        this.set('refused', event.reason || 'no longer authorised');
        return;
      case 4004:
        this.set('gone');
        return;
      case 1008:
      case 1009:
        this.set('refused', event.reason);
        return;
      default:
    }
    if (!opened && !await this.diagnose(event.code === 4000 ? event.reason : '')) return;
    const pause = pauses[Math.min(this.tries++, pauses.length - 1)];
    this.set('waiting');
    this.timer = setTimeout(() => this.connect(), pause);
  }

  // diagnose decides about a link that has not begun. A browser does not tell why an upgrade was refused, stoker gives a
  // reason of its own, and the session's state tells who has the keyboard. It returns whether another try makes sense.
  async diagnose(reason) {
    try {
      if (!this.id) {
        if (!reason) await api.get('/v1/whoami'); // the error of a sign-in that has ended, or of a lost connection
        this.set('refused', reason || 'no websocket could be opened (is there a proxy that refuses them?)');
        return false;
      }
      const info = await api.get(`/v1/sessions/${encodeURIComponent(this.id)}`);
      if (info.exit) {
        this.exit = {...info.exit, message: info.exit.why};
        this.set('ended');
        return false;
      }
      if (this.mode === 'hold' && info.holder) {
        const own = info.holder === this.on.me();
        // The own link of before may not have been noticed as lost.
        if (own && this.info) this.mode = 'take';
        else if (!own || this.tries >= ownTries) {
          this.set('held', info.holder);
          return false;
        }
        return true;
      }
      if (reason) this.set('refused', reason);
      return !reason;
    } catch (error) {
      if (error.offline && this.id) return true;
      if (error.status === 404 && error.code !== 'console-off') this.set('gone');
      else this.set('refused', `${error.message}${error.hint && !error.offline ? ` (${error.hint})` : ''}`);
      return false;
    }
  }

  // detach ends the link, and leaves the session alone.
  detach() {
    clearTimeout(this.timer);
    window.removeEventListener('online', this.again);
    this.set('detached');
    this.send({type: 'detach'});
    this.ws?.close(1000);
  }
}

function joined(a, b) {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
