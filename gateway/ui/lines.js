// Lines on screen: chunks of rows, filled only near the viewport, so that hours of talk stay light.
import { $, make, notice } from './dom.js';
import { clock, plural, seconds, words } from './text.js';

const CHUNK_ROWS = 100;
const MAX_CHUNKS = 500;
const NEW_TURN_MS = 4000;

/** The transcript on screen. */
export class Lines {
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
