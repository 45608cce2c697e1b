// One session: its document, its feed, its lines, and what the bar and the banner say about them.
import { $, make, notice, toast } from './dom.js';
import { Feed } from './feed.js';
import { Lines } from './lines.js';
import { api, at, json } from './server.js';
import { FINISHED, clock, plural, stateWords, tone, trouble, words } from './text.js';
import { Latency, Transcript } from './transcript.js';

const REFRESH_MS = 10_000;

/** The page of one session. */
export class SessionView {
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
    this.stopped = true;
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
    if (this.stopped) return;
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
