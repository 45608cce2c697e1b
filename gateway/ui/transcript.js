// What arrived, exactly once by offset; and how late it arrived. No DOM.
import { plural, seconds } from './text.js';

const MAX_OPEN_PARTIALS = 64;

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
