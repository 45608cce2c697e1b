// The page: sessions, live captions, one key prompt. Over the usual length on purpose: the gateway embeds exactly one
// script and there is no build step. Order: numbers and words, server, transcript (pure), feed (one WebSocket, resumed),
// lines on screen, session view, sessions view, start. Nothing here needs inline script or style (CSP default-src 'self').

const PROTOCOL = 'roomscribe.v1.json';
const CHUNK_ROWS = 100;
const MAX_CHUNKS = 500;
const MAX_OPEN_PARTIALS = 64;
const NEW_TURN_MS = 4000;
const REFRESH_MS = 10_000;
const KEY_SLOT = 'roomscribe.key';
const FINISHED = new Set(['Succeeded', 'Failed']);
const $ = (id) => document.getElementById(id);

// ---- numbers and words

/** Milliseconds to wait before attempt `n` (from 0): full jitter under a ceiling that doubles from 0.5 s to 30 s. */
export const backoffMs = (n, random = Math.random) => Math.round(random() * Math.min(30_000, 500 * 2 ** Math.min(n, 10)));

/** Media time as `m:ss` or `h:mm:ss`. */
export function clock(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

/** `WaitingForAudio` → `Waiting for audio`. */
export const words = (camel) => {
  const spaced = String(camel ?? '').replace(/([a-z0-9])([A-Z])/g, '$1 $2');
  return spaced.charAt(0) + spaced.slice(1).toLowerCase();
};
const seconds = (ms) => (ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)) + ' s';
const plural = (n, one) => `${n.toLocaleString()} ${one}${n === 1 ? '' : 's'}`;
const tone = (state) => (state === 'Live' ? 'live' : state === 'Failed' ? 'bad' : state === 'Succeeded' ? 'done' : 'wait');
const stateWords = (state) => (state === 'Succeeded' ? 'Finished' : words(state) || 'Unknown');

function ago(at) {
  const minutes = Math.round((Date.now() - Date.parse(at)) / 60_000);
  if (!Number.isFinite(minutes)) return '';
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(at).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

/** Causes that a person can mend: what to put above the server's own message. */
const TROUBLE = {
  CredentialsRejected: ['bad', 'The speech service refused the key.', 'Check GLADIA_API_KEY on the server; nothing is transcribed until then.'],
  SpeechKeyRefused: ['bad', 'The speech service refused the key.', 'Check GLADIA_API_KEY on the server; nothing is transcribed until then.'],
  RateLimited: ['wait', 'The speech quota is used up for now.', 'Trying again by itself; sound is still received.'],
  QuotaExceeded: ['wait', 'The speech quota is used up.', 'Raise the limit at the speech service.'],
  ConcurrencyLimited: ['wait', 'Waiting for a free speech stream.', 'It starts by itself when another session ends.'],
  SpeechUnreachable: ['wait', 'The speech service does not answer.', 'Trying again by itself; sound is kept meanwhile.'],
  SpeechFallingBehind: ['wait', 'The recogniser cannot keep up.', 'Captions arrive late, but nothing is dropped.'],
  NoAudio: ['wait', 'No sound arrives.', 'Check that the publisher is running and not muted.'],
  SilenceOnly: ['wait', 'Only silence arrives.', 'Check the microphone or the publisher’s audio source.'],
  PublisherSilent: ['wait', 'No sound arrives.', 'Check that the publisher is running and not muted.'],
  UnsupportedAudio: ['bad', 'The sound is not AAC.', 'Set the publisher’s audio codec to AAC.'],
  SpeechOptionsRejected: ['bad', 'The speech service refused the options.', 'Check languages and translation of this session.'],
  SpeechError: ['wait', 'The speech service reports an error.', 'Trying again by itself; sound is kept meanwhile.'],
  NotAac: ['bad', 'The sound is not AAC.', 'Set the publisher’s audio codec to AAC.'],
  LogFailed: ['bad', 'The transcript cannot be written.', 'See the log of the server; what was already shown is kept.'],
  StorageFailed: ['bad', 'The transcript cannot be written.', 'See the log of the server; what was already shown is kept.'],
  Fenced: ['bad', 'Another process writes this session.', 'Stop the other one.'],
  DiskFull: ['bad', 'The server’s disk is full.', 'Free space in DATA_DIR; what was already shown is kept.'],
  PublisherLost: ['wait', 'The publisher went away.', 'Captions go on when it is back.'],
  WorkerRestarted: ['wait', 'Recovering.', 'The transcriber was restarted; captions go on by themselves.'],
};

/** What the banner says about a state, or null when all is well. */
export function trouble(status) {
  const { state, reason, message } = status;
  const known = TROUBLE[reason];
  if (!known && state !== 'Failed' && state !== 'Recovering') return null;
  const [kind, title, advice] = known ?? (state === 'Failed' ? ['bad', 'This session failed.', ''] : ['wait', 'Recovering.', 'Captions go on by themselves.']);
  return { kind: state === 'Failed' ? 'bad' : kind, title, text: message || advice, reason: reason ?? '' };
}

// ---- server

class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || (status ? `The server answered ${status}.` : 'The server does not answer.'));
    this.status = status;
    this.errors = problem?.errors ?? [];
  }
}

const key = {
  get: () => sessionStorage.getItem(KEY_SLOT),
  set: (value) => { value ? sessionStorage.setItem(KEY_SLOT, value) : sessionStorage.removeItem(KEY_SLOT); $('forget').hidden = !value; },
};

let asking = null;
/** Asks for a key, once for however many requests wait for it. */
function askKey(why) {
  asking ??= new Promise((resolve) => {
    const dialog = $('signin');
    $('signin-problem').textContent = why;
    $('signin-problem').hidden = !why;
    $('key').value = '';
    $('signin-form').onsubmit = () => { key.set($('key').value.trim()); $('key').value = ''; asking = null; resolve(); };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.showModal();
  });
  return asking;
}

/** One request to the API; 401 asks for a key and tries again; other refusals throw `Refused`. */
async function api(path, { method = 'GET', body, headers = {} } = {}) {
  for (;;) {
    const used = key.get();
    const all = { ...headers, ...(used && { authorization: `Bearer ${used}` }), ...(body && { 'content-type': 'application/json' }) };
    let response;
    try {
      response = await fetch(path, { method, headers: all, body: body && JSON.stringify(body), signal: AbortSignal.timeout(15_000) });
    } catch { throw new Refused(0); }
    if (response.ok) return response;
    if (response.status !== 401) throw new Refused(response.status, await response.json().catch(() => null));
    if (key.get() === used) await askKey(used ? 'That key was refused or has expired.' : '');
  }
}
const json = async (path, options) => (await api(path, options)).json();
const at = (id) => `/v1/sessions/${encodeURIComponent(id)}`;

// ---- transcript: what arrived, exactly once by offset

/** The model of one session. `take(event)` answers 'new', 'old', 'gap' (offsets are missing) or 'live' (no offset). */
export class Transcript {
  constructor() { this.reset(''); }

  reset(epoch) {
    Object.assign(this, { epoch, last: 0, finals: 0, rows: [], bySeg: new Map(), partials: new Map(), dropped: 0, ended: null, changed: new Set() });
  }

  take(event) {
    if (event.offset === undefined) {
      if (event.type === 'partial') this.partial(event);
      return 'live';
    }
    if (event.offset <= this.last) return 'old';
    if (event.offset > this.last + 1) return 'gap';
    this.last = event.offset;
    this.durable(event);
    return 'new';
  }

  partial(event) {
    const known = this.partials.get(event.seg);
    if (this.bySeg.has(event.seg) || (known && known.rev >= event.rev)) return;
    this.partials.set(event.seg, event);
    if (this.partials.size > MAX_OPEN_PARTIALS) this.partials.delete(this.partials.keys().next().value);
  }

  durable(event) {
    const row = this.bySeg.get(event.seg);
    if (event.type === 'final' && !row) this.final(event);
    else if (event.type === 'translation' && row) { row.translations.set(event.language, event.text); this.changed.add(row); }
    else if (event.type === 'relabel' && row) { row.parts = event.parts; this.changed.add(row); }
    else if (event.type === 'gap') this.rows.push({ kind: 'gap', ...event });
    else if (event.type === 'end') { this.ended = event; this.partials.clear(); }
  }

  final(event) {
    const row = { kind: 'final', ...event, translations: new Map() };
    for (const [language, text] of Object.entries(event.translations ?? {})) row.translations.set(language, text);
    this.partials.delete(event.seg);
    this.bySeg.set(event.seg, row);
    this.rows.push(row);
    this.finals += 1;
  }

  /** Starts again from the JSON export: finals up to its head, a segment per turn (so a relabelled final comes in several). */
  load(document) {
    this.reset(document.epoch);
    const turns = [...document.segments].sort((a, b) => a.offset - b.offset);
    for (const turn of turns) {
      const row = this.bySeg.get(turn.seg);
      if (row) (row.parts ??= [{ speaker: row.speaker, text: row.text }]).push({ speaker: turn.speaker, text: turn.text });
      else this.final(turn);
    }
    this.last = document.head;
  }
}

/** Seconds from the end of speech to this screen, over the last finals that arrived live. */
export class Latency {
  constructor() { this.samples = []; this.lastAt = null; }

  take(final, mediaZeroAt, now) {
    const zero = Date.parse(mediaZeroAt);
    this.lastAt = now;
    if (!Number.isFinite(zero)) return;
    this.samples.push({ behind: now - (zero + final.endMs), path: now - Date.parse(final.at) });
    if (this.samples.length > 9) this.samples.shift();
  }

  /** `{text, why}`; honest about clocks that disagree. */
  read() {
    if (!this.samples.length) return null;
    const path = Math.min(...this.samples.map((s) => s.path).filter(Number.isFinite));
    const behind = this.samples.map((s) => s.behind).sort((a, b) => a - b)[this.samples.length >> 1];
    if (Math.abs(path) < Infinity && (path < -250 || path > 10_000)) {
      return { text: 'latency unknown', why: `This device’s clock and the server’s differ by about ${seconds(Math.abs(path))}, so the delay cannot be told.` };
    }
    if (behind < 0) return { text: 'faster than real time', why: 'The recording is published faster than it was spoken.' };
    return { text: `${seconds(behind)} behind`, why: `Median of the last ${plural(this.samples.length, 'final')}: from the end of the words to this screen, by this device’s clock.` };
  }
}

// ---- feed: one WebSocket, resumed by offset and epoch

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

// ---- lines on screen: chunks of rows, filled only near the viewport, so that hours of talk stay light

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

class Lines {
  constructor(transcript) {
    Object.assign(this, { transcript, hues: new Map(), chunks: [], now: new Map(), shown: 0, following: true, unseen: 0, y: 0 });
    this.observer = new IntersectionObserver((entries) => this.seen(entries), { rootMargin: '1400px 0px' });
    this.clear();
  }

  clear() {
    this.observer.disconnect();
    $('lines').replaceChildren();
    $('now').replaceChildren();
    this.now.clear();
    this.chunks = [];
    this.shown = 0;
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  seen(entries) {
    for (const entry of entries) entry.target.chunk.near = entry.isIntersecting;
    this.schedule();
  }

  draw() {
    const { rows, changed } = this.transcript;
    for (; this.shown < rows.length; this.shown += 1) this.place(rows[this.shown]);
    this.chunks.forEach((chunk, i) => (chunk.near || i >= this.chunks.length - 2 ? this.fill(chunk) : this.empty(chunk)));
    for (const row of changed) if (row.element) { const fresh = this.build(row); row.element.replaceWith(fresh); row.element = fresh; }
    changed.clear();
    this.drawPartials();
    if (this.following) this.toEnd();
    $('jump').hidden = this.following || !rows.length;
    $('jump-text').textContent = this.unseen ? plural(this.unseen, 'new line') : 'Jump to live';
  }

  place(row) {
    let chunk = this.chunks.at(-1);
    if (!chunk || chunk.rows.length >= CHUNK_ROWS) chunk = this.newChunk();
    row.turn = this.startsTurn(row, this.previous);
    this.previous = row;
    chunk.rows.push(row);
    if (!this.following && row.kind === 'final') this.unseen += 1;
  }

  newChunk() {
    const list = make('ol', 'lines chunk');
    const chunk = { rows: [], list, near: false, height: 0 };
    list.chunk = chunk;
    $('lines').append(list);
    this.chunks.push(chunk);
    this.observer.observe(list);
    if (this.chunks.length > MAX_CHUNKS) { this.observer.unobserve(this.chunks[0].list); this.chunks.shift().list.remove(); notice('The oldest lines are no longer shown here; the downloads have everything.'); }
    return chunk;
  }

  startsTurn(row, before) {
    if (!before || before.kind !== 'final' || row.kind !== 'final') return true;
    return (before.parts?.at(-1).speaker ?? before.speaker)?.id !== row.speaker?.id || row.startMs - before.endMs > NEW_TURN_MS;
  }

  fill(chunk) {
    const { list, rows } = chunk;
    if (list.style.height) list.style.height = '';
    for (let i = list.childElementCount; i < rows.length; i += 1) {
      rows[i].element = this.adopt(rows[i]) ?? this.build(rows[i]);
      list.append(rows[i].element);
    }
  }

  empty(chunk) {
    if (chunk.list.childElementCount) chunk.height = chunk.list.offsetHeight;
    else if (chunk.list.style.height) return;
    for (const row of chunk.rows) { row.element = null; this.now.get(row.seg)?.remove(); this.now.delete(row.seg); }
    chunk.list.replaceChildren();
    chunk.list.style.height = `${chunk.height || chunk.rows.length * 64}px`;
  }

  build(row) {
    if (row.kind === 'gap') return this.gap(row);
    const item = make('li', row.turn ? 'seg turn' : 'seg');
    const time = make('time', '', clock(row.startMs));
    if (row.at) time.title = new Date(row.at).toLocaleString();
    const body = make('div');
    const parts = row.parts?.length && (row.words?.length || row.parts[0].text !== undefined) ? this.split(row) : [{ speaker: row.speaker, text: row.text }];
    parts.forEach((part, i) => this.say(item, body, part, row.turn || i > 0, row.language));
    for (const [language, text] of row.translations ?? []) body.append(this.translated(language, text));
    item.append(time, body);
    item.dataset.seg = row.seg;
    if (row.offset) item.dataset.offset = row.offset;
    return item;
  }

  split(row) {
    return row.parts.map((part) => ({ speaker: part.speaker, text: part.text ?? row.words.slice(part.fromWord, part.toWord).map((word) => word.w).join(' ') }));
  }

  say(item, body, { speaker, text }, named, language) {
    if (named && speaker?.name && speaker.method !== 'none') { item.classList.add('named'); body.append(this.who(speaker)); }
    const line = make('p', '', text);
    line.dir = 'auto';
    if (language) line.lang = language;
    body.append(line);
  }

  who(speaker) {
    if (!this.hues.has(speaker.id)) this.hues.set(speaker.id, Math.round((this.hues.size * 137.5 + 250) % 360));
    const who = make('div', 'who');
    who.append(make('bdi', '', speaker.name));
    who.dataset.initial = [...speaker.name][0].toUpperCase();
    who.style.setProperty('--hue', this.hues.get(speaker.id));
    who.title = `Speaker known by ${speaker.method}${speaker.confidence ? `, ${Math.round(speaker.confidence * 100)} % sure` : ''}`;
    return who;
  }

  translated(language, text) {
    const line = make('p', 'tr', text);
    line.dir = 'auto';
    line.lang = language;
    line.dataset.lang = language;
    return line;
  }

  gap(row) {
    const item = make('li', 'mark');
    item.append(make('span', '', `${seconds(row.endMs - row.startMs)} of sound lost at ${clock(row.startMs)}`));
    item.title = words(row.reason);
    item.dataset.offset = row.offset;
    return item;
  }

  /** The element that showed the partial becomes the final's, so that words settle instead of jumping. */
  adopt(row) {
    const item = this.now.get(row.seg);
    if (!item) return null;
    this.now.delete(row.seg);
    const final = this.build(row);
    const before = item.querySelector('p')?.textContent ?? '';
    final.classList.add('partial');
    if (!row.parts) settle(final.querySelector('p'), before, row.text);
    item.remove();
    requestAnimationFrame(() => requestAnimationFrame(() => final.classList.remove('partial')));
    return final;
  }

  drawPartials() {
    const { partials } = this.transcript;
    for (const [seg, item] of this.now) if (!partials.has(seg)) { item.remove(); this.now.delete(seg); }
    for (const partial of [...partials.values()].sort((a, b) => a.startMs - b.startMs)) this.drawPartial(partial);
  }

  drawPartial(partial) {
    let item = this.now.get(partial.seg);
    if (!item) {
      item = this.build({ kind: 'final', ...partial, text: '', turn: this.startsTurn({ kind: 'final', ...partial }, this.previous) });
      item.classList.add('partial');
      this.now.set(partial.seg, item);
      $('now').append(item);
    }
    const line = item.querySelector('p');
    if (line.textContent !== partial.text) settle(line, line.textContent, partial.text);
  }

  toEnd() {
    this.unseen = 0;
    scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
  }

  follow() {
    this.following = true;
    this.schedule();
  }

  scrolled() {
    const left = document.documentElement.scrollHeight - innerHeight - scrollY;
    const following = left < 90 || (this.following && scrollY >= this.y - 2);
    this.y = scrollY;
    if (following !== this.following) { this.following = following; this.schedule(); }
  }
}

/** Puts `text` into `line`; words after the common beginning fade in. */
function settle(line, before, text) {
  let same = 0;
  while (same < before.length && before[same] === text[same]) same += 1;
  if (same < before.length) same = text.lastIndexOf(' ', same) + 1;
  line.replaceChildren(text.slice(0, same), make('span', 'fresh', text.slice(same)));
}

function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

let toastTimer;
function toast(text) {
  clearTimeout(toastTimer);
  $('toast').textContent = text;
  $('toast').hidden = false;
  toastTimer = setTimeout(() => { $('toast').hidden = true; }, 4000);
}

// ---- one session

class SessionView {
  constructor(id) {
    Object.assign(this, { id, transcript: new Transcript(), latency: new Latency(), status: {}, doc: null, ticking: null });
    this.lines = new Lines(this.transcript);
    this.feed = new Feed(id, this.transcript, this.shows());
    this.onScroll = () => this.lines.scrolled();
  }

  start() {
    addEventListener('scroll', this.onScroll, { passive: true });
    $('room').textContent = '…';
    for (const id of ['state', 'stop', 'banner', 'ingest', 'latency', 'ending', 'retry']) $(id).hidden = true;
    notice('');
    $('announce').replaceChildren();
    this.ticking = setInterval(() => this.tick(), 250);
    this.waiting();
    this.feed.start();
    this.refresh();
  }

  stop() {
    clearTimeout(this.refreshing);
    clearInterval(this.ticking);
    removeEventListener('scroll', this.onScroll);
    this.feed.stop();
    this.lines.observer.disconnect();
  }

  shows() {
    return {
      link: (state, detail) => this.link(state, detail),
      probe: async () => this.document(await json(at(this.id))),
      hello: (hello) => this.greeted(hello),
      event: (event, live) => this.event(event, live),
      cleared: () => { this.lines.previous = null; this.lines.clear(); },
      reloaded: (hello, had) => notice(had ? 'The server could not continue where this page was, so the transcript was loaded again from the archive.' : `Lines before this server’s live window (it begins at ${hello.oldest}) come from the archive.`),
    };
  }

  document(doc) {
    if (view !== this) return;
    this.doc = doc;
    $('room').textContent = doc.roomName;
    document.title = `${doc.roomName} · Roomscribe`;
    this.setStatus(doc);
    this.ingest();
  }

  greeted(hello) {
    this.hello = hello;
    if (hello.state) this.setStatus({ ...this.status, state: hello.state });
    this.waiting();
  }

  event(event, live) {
    if (event.type === 'status' && (live || event.state === this.status.state)) this.setStatus(event);
    if (event.type === 'final' && live) this.heard(event);
    if (event.type === 'end') this.ended(event);
    if (event.type === 'error' && event.code !== 'auth') toast(event.message || words(event.code));
    this.waiting();
    this.lines.schedule();
  }

  heard(final) {
    this.announce(final);
    const zero = this.hello.mediaZeroAt ?? this.doc?.mediaZeroAt;
    if (zero) this.latency.take(final, zero, Date.now());
    else this.refresh();
  }

  /** Who came before the first sound got no media zero in `hello`; and states may change without an event. */
  async refresh() {
    clearTimeout(this.refreshing);
    this.refreshing = setTimeout(() => this.refresh(), REFRESH_MS);
    if (this.linkState !== 'live' || document.hidden) return;
    try { this.document(await json(at(this.id))); } catch { /* the feed tells what is wrong with the server */ }
  }

  announce(final) {
    const line = make('p', '', `${final.speaker?.name ? `${final.speaker.name}: ` : ''}${final.text}`);
    $('announce').append(line);
    while ($('announce').childElementCount > 3) $('announce').firstChild.remove();
  }

  setStatus({ state, reason, message }) {
    this.status = { state, reason, message };
    $('state').hidden = !state;
    $('state').textContent = stateWords(state);
    $('state').dataset.tone = tone(state);
    $('stop').hidden = !state || FINISHED.has(state) || state === 'Stopping';
    const said = trouble(this.status);
    $('banner').hidden = !said;
    if (said) { $('banner').dataset.tone = said.kind; $('banner-title').textContent = said.title; $('banner-text').textContent = said.text; $('banner-reason').textContent = said.reason; }
    this.waiting();
  }

  link(state, detail) {
    this.linkState = state;
    this.until = state === 'waiting' ? detail : 0;
    $('link').dataset.link = state;
    $('retry').hidden = state !== 'waiting';
    if (state === 'refused') { this.refusal = detail; $('stop').hidden = true; $('state').hidden = true; }
    if (state === 'ended') $('latency').hidden = true;
    this.tick();
    this.waiting();
  }

  tick() {
    const wait = Math.max(0, Math.ceil((this.until - Date.now()) / 1000));
    const text = { connecting: 'Connecting', live: 'Connected', ended: 'Complete', refused: 'Not available', waiting: `Reconnecting in ${wait} s` }[this.linkState] ?? '';
    if ($('link-text').textContent !== text) $('link-text').textContent = text;
    const read = this.linkState === 'live' ? this.latency.read() : null;
    $('latency').hidden = !read;
    if (!read) return;
    const quiet = Date.now() - this.latency.lastAt;
    $('latency').textContent = quiet > 20_000 ? `quiet for ${clock(quiet)}` : read.text;
    $('latency').title = read.why;
  }

  /** The empty state: says what is being waited for. */
  waiting() {
    const [title, text, still] = this.linkState === 'refused' ? [this.refusal, 'Check the link, or pick a session from the list.', true] : this.expecting();
    $('quiet').hidden = this.linkState !== 'refused' && (this.transcript.rows.length > 0 || this.transcript.partials.size > 0);
    $('quiet').classList.toggle('still', Boolean(still));
    $('quiet-title').textContent = title;
    $('quiet-text').textContent = text;
    if (this.transcript.finals && $('ingest').open && !this.opened) { this.opened = true; $('ingest').open = false; }
  }

  expecting() {
    const { state } = this.status;
    if (this.transcript.ended || FINISHED.has(state)) return ['Nothing was said', 'This session ended without a transcript.', true];
    if (state === 'Live') return ['Listening', 'Words appear here as they are said.'];
    if (state === 'WaitingForAudio') return ['Waiting for sound', this.doc?.ingest ? 'Start your publisher with the address above.' : 'Captions begin with the first words.'];
    if (state === 'WaitingForRoom') return ['Waiting for the room', 'Captions begin when someone joins.'];
    if (state) return [stateWords(state), 'Captions begin by themselves.'];
    return ['Connecting', ''];
  }

  ended(event) {
    const last = this.transcript.rows.at(-1);
    $('ending').hidden = false;
    $('ending-text').textContent = `${words(event.reason)} · ${plural(this.transcript.finals, 'line')}${last ? ` · ${clock(last.endMs)}` : ''}`;
    if (!FINISHED.has(this.status.state)) this.setStatus({ state: event.reason.includes('Failed') ? 'Failed' : 'Succeeded', reason: event.reason });
    $('ingest').hidden = true;
  }

  ingest() {
    const { ingest } = this.doc;
    const show = ingest && !FINISHED.has(this.doc.state);
    if (show && $('ingest').hidden) $('ingest').open = this.transcript.finals === 0 && this.doc.state !== 'Live';
    $('ingest').hidden = !show;
    if (show) this.ingestText(false);
  }

  address() {
    const { server, streamKey, url } = this.doc.ingest;
    return { server, key: streamKey, url, ffmpeg: `ffmpeg -re -i INPUT -vn -c:a aac -f flv '${url}'` };
  }

  ingestText(open) {
    const dots = '•'.repeat(12);
    const { key: secret, ...rest } = this.address();
    $('reveal').setAttribute('aria-pressed', open);
    $('reveal').textContent = open ? 'Hide' : 'Reveal';
    $('ingest-key').textContent = open ? secret : dots;
    for (const name of ['server', 'url', 'ffmpeg']) $(`ingest-${name}`).textContent = open ? rest[name] : rest[name].replaceAll(secret, dots);
  }

  async download(format) {
    try {
      const blob = await (await api(`${at(this.id)}/transcript?format=${format}`)).blob();
      const anchor = make('a');
      anchor.href = URL.createObjectURL(blob);
      anchor.download = `${(this.doc?.name || this.id).replace(/[^\p{L}\p{N}._-]+/gu, '-')}.${format}`;
      anchor.click();
      setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
    } catch (error) { toast(error.message); }
  }

  async end() {
    const button = $('stop');
    if (!button.classList.toggle('sure')) {
      button.disabled = true;
      try { this.document(await json(at(this.id), { method: 'DELETE' })); } catch (error) { toast(error.status === 403 ? 'This key may watch, but not stop.' : error.message); }
      button.disabled = false;
    }
    button.textContent = button.classList.contains('sure') ? 'Really stop?' : 'Stop';
  }
}

async function copy(text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else {
    const area = make('textarea', 'unseen', text);
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  toast('Copied');
}

// ---- all sessions

class HomeView {
  start() {
    document.title = 'Roomscribe';
    this.poll();
  }

  stop() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  async poll() {
    try {
      if (!document.hidden) this.show(await json('/v1/sessions'));
      $('home-problem').hidden = true;
    } catch (error) {
      $('home-problem').textContent = error.status === 403 ? 'This key opens single sessions only: use the link that you were given.' : `${error.message} Trying again.`;
      $('home-problem').hidden = false;
    }
    if (!this.closed) this.timer = setTimeout(() => this.poll(), 4000);
  }

  show(answer) {
    const sessions = Array.isArray(answer) ? answer : answer.sessions ?? answer.items ?? [];
    const text = JSON.stringify(sessions);
    if (this.closed || text === this.text) return;
    this.text = text;
    const focused = document.activeElement?.closest?.('#sessions a')?.getAttribute('href');
    $('sessions').replaceChildren(...sessions.map((session) => this.item(session)));
    $('home-empty').hidden = sessions.length > 0;
    if (focused) $('sessions').querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  item(session) {
    const link = make('a');
    link.href = `#/s/${encodeURIComponent(session.id)}`;
    const name = make('strong', '', session.roomName);
    name.dir = 'auto';
    const chip = make('span', 'chip', stateWords(session.state));
    chip.dataset.tone = tone(session.state);
    const about = make('span', 'about', this.about(session));
    if (session.state === 'Failed') about.append(' · ', make('span', 'why', session.message || words(session.reason)));
    link.append(name, about, chip);
    const item = make('li');
    item.append(link);
    return item;
  }

  about({ createdAt, startedAt, completedAt, captureMode }) {
    const lasted = startedAt && completedAt ? clock(Date.parse(completedAt) - Date.parse(startedAt)) : '';
    return [ago(createdAt), lasted, captureMode === 'Push' ? 'RTMP push' : captureMode && words(captureMode)].filter(Boolean).join(' · ');
  }
}

const listOf = (text) => text.split(/[\s,]+/).filter(Boolean).map((item) => item.toLowerCase());
let formKey = null;

async function startSession(form) {
  const said = (text) => { const p = form.querySelector('.problem'); p.textContent = text; p.hidden = !text; };
  const { roomName, languages, translateTo } = form.elements;
  if (!roomName.value.trim()) { said('Give the room a name.'); roomName.focus(); return; }
  said('');
  const body = { roomName: roomName.value.trim(), capture: { mode: 'Push' }, speech: { languages: listOf(languages.value), translateTo: listOf(translateTo.value) } };
  formKey ??= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  try {
    const session = await json('/v1/sessions', { method: 'POST', body, headers: { 'idempotency-key': formKey } });
    formKey = null;
    form.reset();
    openForm(false);
    location.hash = `#/s/${session.id}`;
  } catch (error) {
    formKey = error.status === 0 ? formKey : null;
    said([error.message, ...error.errors.map((e) => `${e.pointer}: ${e.detail}`).filter((line) => !line.endsWith(error.message))].join(' '));
  }
}

function openForm(open) {
  $('start').hidden = !open;
  $('new').setAttribute('aria-expanded', open);
  if (open) $('start').elements.roomName.focus();
}

// ---- start

let view = null;

function route() {
  const asked = new URLSearchParams(location.search).get('session');
  if (asked) history.replaceState(null, '', `/#/s/${encodeURIComponent(asked)}`);
  const id = /^#\/s\/([^/?]+)/.exec(location.hash)?.[1];
  view?.stop();
  document.body.dataset.view = id ? 'session' : 'home';
  if (!id) theatre(false);
  view = id ? new SessionView(decodeURIComponent(id)) : new HomeView();
  view.start();
}

function theatre(on) {
  document.body.classList.toggle('theatre', on);
  $('theatre').setAttribute('aria-pressed', on);
  view?.lines?.follow();
}

function keys(event) {
  if (event.target.closest('input, textarea, dialog') || event.ctrlKey || event.metaKey || event.altKey || !view?.lines) return;
  if (event.key === 't') theatre(!document.body.classList.contains('theatre'));
  else if (event.key === 'Escape') { theatre(false); $('exports').open = false; }
  else if (event.key === 'End') view.lines.follow();
}

function wire() {
  $('forget').hidden = !key.get();
  $('forget').onclick = () => { key.set(''); location.reload(); };
  $('new').onclick = () => openForm($('start').hidden);
  $('start-cancel').onclick = () => openForm(false);
  $('start').onsubmit = (event) => { event.preventDefault(); startSession(event.target); };
  $('retry').onclick = () => view.feed?.retryNow();
  $('theatre').onclick = () => theatre(!document.body.classList.contains('theatre'));
  $('jump').onclick = () => view.lines?.follow();
  $('stop').onclick = () => view.end?.();
  $('stop').onblur = () => { $('stop').classList.remove('sure'); $('stop').textContent = 'Stop'; };
  $('reveal').onclick = () => view.ingestText($('reveal').getAttribute('aria-pressed') !== 'true');
  for (const button of document.querySelectorAll('[data-copy]')) button.onclick = () => copy(view.address()[button.dataset.copy]);
  for (const button of document.querySelectorAll('[data-format]')) button.onclick = () => { $('exports').open = false; view.download(button.dataset.format); };
  addEventListener('click', (event) => { if (!event.target.closest('#exports')) $('exports').open = false; });
  addEventListener('keydown', keys);
  addEventListener('hashchange', route);
  addEventListener('online', () => view?.feed?.retryNow());
  addEventListener('resize', () => { if (view?.lines?.following) view.lines.toEnd(); });
}

wire();
route();
