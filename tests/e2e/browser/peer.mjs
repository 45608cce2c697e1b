// A scripted gateway: serves gateway/ui and speaks the API and WebSocket protocol of the contract, with faults on demand.
// Independent of our own gateway, so that the page is tested against the protocol, and deterministic: it does what it is told.
import { createServer } from 'node:http';
import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { fromCache } from './cache.mjs';

const { WebSocketServer } = fromCache('ws');
const UI = new URL('../../../gateway/ui/', import.meta.url);
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };
const FILES = Object.fromEntries(readdirSync(UI).map((name) => [name === 'index.html' ? '/' : `/${name}`, [name, TYPES[extname(name)]]]));
// As strict as the gateway's own.
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/** A session: its document, its log, and the sockets that watch it. */
export class ScriptedSession {
  constructor(fields) {
    const id = randomUUID();
    this.doc = { id, name: fields.roomName, namespace: 'local', state: 'Live', reason: '', message: '', captureMode: 'Push', createdAt: new Date().toISOString(), startedAt: null, completedAt: null, usage: {}, ...fields };
    Object.assign(this, { id, epoch: '9f2c01ab', oldest: 1, log: [], sockets: new Set(), mediaZeroAt: new Date(Date.now() - 60_000), closeWith: null, unrecoverable: false, lost: new Set(), repeats: false });
  }

  get head() { return this.log.length; }

  /** Appends a durable event and sends it to every viewer, unless its offset is in `lost` (a fault). */
  append(event) {
    const record = { type: event.type, offset: this.head + 1, gen: 1, ...event };
    this.log.push(record);
    if (!this.lost.delete(record.offset)) this.send(record);
    if (this.repeats) this.send(record);
    if (record.type === 'end') for (const socket of this.sockets) socket.close(1000);
    return record;
  }

  final(text, fields = {}) {
    const startMs = fields.startMs ?? this.head * 2000;
    return this.append({ type: 'final', seg: `1-${this.head}`, startMs, endMs: startMs + 1500, speaker: null, language: 'en', text, confidence: 0.9, at: new Date().toISOString(), ...fields });
  }

  partial(seg, rev, text, fields = {}) {
    this.send({ type: 'partial', seg, rev, after: this.head, startMs: this.head * 2000, endMs: this.head * 2000 + 900, speaker: null, text, ...fields });
  }

  send(message) { for (const socket of this.sockets) socket.send(JSON.stringify(message)); }

  /** Cuts every viewer without a close frame, or with a close code. */
  cut(code) { for (const socket of this.sockets) code ? socket.close(code) : socket.terminate(); }

  /** The log was lost and made again. */
  newEpoch(epoch) { Object.assign(this, { epoch, log: [] }); }

  attach(socket, after, epoch) {
    if (this.closeWith) { socket.close(this.closeWith); return; }
    const recovered = !this.unrecoverable && (!epoch || epoch === this.epoch) && after >= this.oldest - 1 && after <= this.head;
    const hello = { type: 'hello', session: this.id, epoch: this.epoch, oldest: this.oldest, head: this.head, from: recovered ? after : this.oldest - 1, recovered, state: this.doc.state, mediaZeroAt: this.mediaZeroAt?.toISOString() ?? null, pingSeconds: 20, server: 'peer/1' };
    socket.send(JSON.stringify(hello));
    for (const record of this.log.slice(hello.from)) socket.send(JSON.stringify(record));
    if (this.log.at(-1)?.type === 'end') socket.close(1000);
    else this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
  }

  /** The newest relabel applied: a segment per turn, in order of start. */
  export() {
    const relabels = new Map(this.log.filter((r) => r.type === 'relabel').map((r) => [r.seg, r.parts]));
    const translations = (seg) => Object.fromEntries(this.log.filter((r) => r.type === 'translation' && r.seg === seg).map((r) => [r.language, r.text]));
    const turns = ({ type, gen, ...final }) => {
      const parts = relabels.get(final.seg);
      if (!parts) return [{ ...final, translations: translations(final.seg) }];
      return parts.map((part) => ({ ...final, speaker: part.speaker, words: final.words.slice(part.fromWord, part.toWord), text: final.words.slice(part.fromWord, part.toWord).map((word) => word.w).join(' ') }));
    };
    return { session: this.id, epoch: this.epoch, head: this.head, complete: false, segments: this.log.filter((r) => r.type === 'final').flatMap(turns).sort((a, b) => a.startMs - b.startMs) };
  }
}

/** The scripted gateway. `requests` and `connections` are what the page asked for, in order. */
export class Peer {
  static async start(options = {}) {
    const peer = new Peer(options);
    await new Promise((resolve) => peer.server.listen(0, '127.0.0.1', resolve));
    peer.url = `http://127.0.0.1:${peer.server.address().port}`;
    return peer;
  }

  constructor({ apiKey = null, readOnly = false } = {}) {
    Object.assign(this, { apiKey, readOnly, sessions: [], requests: [], connections: [], tickets: new Set(), refuse: null, away: false });
    this.server = createServer((request, response) => this.http(request, response).catch((error) => { response.writeHead(500).end(String(error)); }));
    this.sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has('roomscribe.v1.json') ? 'roomscribe.v1.json' : false) });
    this.server.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
  }

  async close() {
    this.server.closeAllConnections();
    for (const socket of this.sockets.clients) socket.terminate();
    await new Promise((resolve) => this.server.close(resolve));
  }

  session(roomName, fields = {}) {
    const session = new ScriptedSession({ roomName, ...fields });
    this.sessions.unshift(session);
    return session;
  }

  find(id) { return this.sessions.find((session) => session.id === id); }

  upgrade(request, socket, head) {
    const url = new URL(request.url, this.url);
    const session = this.find(url.pathname.split('/')[3]);
    const [after, epoch, ticket] = ['after', 'epoch', 'ticket'].map((name) => url.searchParams.get(name));
    this.connections.push({ after: Number(after), epoch, ticket, url: request.url });
    if (this.away || !session || (this.apiKey && !this.tickets.delete(ticket))) { socket.destroy(); return; }
    this.sockets.handleUpgrade(request, socket, head, (ws) => session.attach(ws, Number(after), epoch));
  }

  async http(request, response) {
    const url = new URL(request.url, this.url);
    const headers = { 'content-security-policy': CSP, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' };
    const file = FILES[url.pathname];
    if (file) return response.writeHead(200, { ...headers, 'content-type': file[1] }).end(await readFile(new URL(file[0], UI)));
    if (url.pathname === '/favicon.ico') return response.writeHead(204).end();
    if (this.away) return request.socket.destroy();
    let text = '';
    for await (const chunk of request) text += chunk;
    this.requests.push({ method: request.method, url: request.url, headers: request.headers, body: text && JSON.parse(text) });
    const answer = this.answer(request, url, text && JSON.parse(text));
    const type = answer.type ?? (answer.status >= 400 ? 'application/problem+json' : 'application/json');
    return response.writeHead(answer.status ?? 200, { ...headers, 'content-type': type }).end(answer.text ?? JSON.stringify(answer.body));
  }

  answer(request, url, body) {
    const [, , , id, part] = url.pathname.split('/');
    if (this.apiKey && request.headers.authorization !== `Bearer ${this.apiKey}`) return { status: 401, body: { title: 'Unauthorized' } };
    if (this.refuse) return this.refuse;
    if (!id) return request.method === 'POST' ? this.create(body) : { body: { sessions: this.sessions.map((s) => ({ ...s.doc, head: s.head })) } };
    const session = this.find(id);
    if (!session) return { status: 404, body: { title: 'no such session' } };
    if (part === 'tickets') return this.ticket();
    if (part === 'transcript') return this.transcript(session, url.searchParams.get('format'));
    if (request.method === 'DELETE') return this.stop(session);
    return { body: { ...session.doc, epoch: session.epoch, head: session.head } };
  }

  create(body) {
    const session = this.session(body.roomName, { state: 'WaitingForAudio', reason: 'NoPublisher' });
    const server = `rtmp://127.0.0.1:1935/live/0a1b2c3d/${session.id}.1`;
    session.doc.ingest = { server, streamKey: 'Zm9vYmFyYmF6cXV4MTIz', url: `${server}/Zm9vYmFyYmF6cXV4MTIz` };
    return { status: 201, body: { ...session.doc, epoch: session.epoch, head: 0 } };
  }

  stop(session) {
    if (this.readOnly) return { status: 403, body: { title: 'Forbidden' } };
    session.doc.state = 'Stopping';
    return { body: session.doc };
  }

  ticket() {
    const ticket = randomBytes(12).toString('base64url');
    this.tickets.add(ticket);
    return { body: { ticket, expiresAt: new Date(Date.now() + 60_000).toISOString() } };
  }

  transcript(session, format) {
    if (format === 'json') return { body: session.export() };
    const text = session.log.filter((r) => r.type === 'final').map((r) => r.text).join('\n');
    return { type: 'text/plain; charset=utf-8', text: `${format}\n${text}` };
  }
}
