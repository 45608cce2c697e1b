// One WebSocket, resumed by offset and epoch.
import { at, json, key } from './server.js';

const PROTOCOL = 'roomscribe.v1.json';

/** Milliseconds to wait before attempt `n` (from 0): full jitter under a ceiling that doubles from 0.5 s to 30 s. */
export const backoffMs = (n, random = Math.random) => Math.round(random() * Math.min(30_000, 500 * 2 ** Math.min(n, 10)));

/** Keeps `transcript` following the session; tells `show` about its state and every event. */
export class Feed {
  constructor(id, transcript, show) {
    Object.assign(this, { id, transcript, show, tries: 0, reloads: 0, hello: null, socket: null, closed: false, timers: {} });
  }

  start() { this.connect(); }

  stop() {
    this.closed = true;
    this.drop();
  }

  /** At once instead of after the countdown. */
  retryNow() {
    if (this.closed || this.socket || this.busy) return;
    clearTimeout(this.timers.retry);
    this.connect();
  }

  async connect() {
    if (this.closed || this.busy) return;
    this.busy = true;
    this.hello = null;
    this.show.link('connecting');
    try { this.open(await this.address()); } catch (error) { this.failed(error); } finally { this.busy = false; }
  }

  async address() {
    const query = new URLSearchParams({ after: this.transcript.last, partials: 1 });
    if (this.transcript.epoch) query.set('epoch', this.transcript.epoch);
    await this.show.probe();
    if (key.get()) query.set('ticket', (await json(`${at(this.id)}/tickets`, { method: 'POST' })).ticket);
    return `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}${at(this.id)}/stream?${query}`;
  }

  open(url) {
    if (this.closed) return;
    const socket = new WebSocket(url, [PROTOCOL]);
    const mine = (act) => (event) => { if (this.socket === socket) act(event); };
    this.socket = socket;
    socket.onmessage = mine((event) => this.receive(event.data));
    socket.onclose = mine((event) => { this.drop(); this.afterClose(event.code, event.reason); });
    this.patience(10_000);
  }

  /** Nothing heard for so long means a dead connection: browsers do not see WebSocket pings. */
  patience(ms) {
    clearTimeout(this.timers.silent);
    this.timers.silent = setTimeout(() => this.again('silent'), ms);
  }

  drop() {
    Object.values(this.timers).forEach(clearTimeout);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  receive(text) {
    let event;
    try { event = JSON.parse(text); } catch { return; }
    this.patience(2500 * (this.hello?.pingSeconds ?? event.pingSeconds ?? 20));
    if (event.type === 'hello') return this.greeted(event);
    if (event.type === 'heartbeat') return this.tailCheck(event.head);
    const taken = this.transcript.take(event);
    if (taken === 'gap') return this.again('offsets missing');
    if (taken === 'new') this.tries = 0;
    if (taken !== 'old') this.show.event(event, event.offset > (this.hello?.head ?? Infinity));
  }

  greeted(hello) {
    const { transcript } = this;
    const other = transcript.epoch && hello.epoch !== transcript.epoch;
    if ((hello.recovered === false || other) && this.reloads < 2) return this.reload(hello);
    if (hello.recovered === false) { transcript.reset(hello.epoch); transcript.last = hello.from; this.show.cleared(); }
    transcript.epoch = hello.epoch;
    this.hello = hello;
    this.reloads = 0;
    this.show.link('live');
    this.show.hello(hello);
  }

  /** The server cannot continue where we were: take the whole transcript from the export, then follow from its head. */
  async reload(hello) {
    this.reloads += 1;
    this.drop();
    this.show.link('connecting');
    try {
      const document = await json(`${at(this.id)}/transcript?format=json`);
      this.show.reloaded(hello, this.transcript.last);
      this.transcript.load({ epoch: hello.epoch, ...document });
      this.show.cleared();
      this.connect();
    } catch (error) { this.failed(error); }
  }

  tailCheck(head) {
    if (head <= this.transcript.last || this.timers.tail) return;
    this.timers.tail = setTimeout(() => { this.timers.tail = 0; if (this.transcript.last < head) this.again('tail missing'); }, 3000);
  }

  again() {
    this.drop();
    this.later(0);
  }

  later(leastMs) {
    if (this.closed) return;
    const wait = leastMs + backoffMs(this.tries++);
    this.show.link('waiting', Date.now() + wait);
    this.timers.retry = setTimeout(() => this.connect(), wait);
  }

  afterClose(code) {
    const { ended } = this.transcript;
    if (ended) return this.show.link('ended');
    const terminal = { 4400: 'The server did not understand the request.', 4403: 'This key may not see this session.', 4404: 'There is no such session.', 4410: 'This session’s transcript is gone.' }[code];
    if (terminal) return this.show.link('refused', terminal);
    if (code === 4409 && this.reloads < 2) return this.reload({ epoch: '', oldest: 0 });
    this.later(code === 4429 ? 5000 : 0);
  }

  failed(error) {
    if ([403, 404, 409, 410].includes(error.status)) {
      const said = { 403: 'This key may not see this session.', 404: 'There is no such session.', 410: 'This session’s transcript is gone.' }[error.status];
      return this.show.link('refused', said ?? error.message);
    }
    this.later(error.status === 429 ? 5000 : 0);
  }
}
