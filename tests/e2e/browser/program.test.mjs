// The page against the real program: real RTMP in, a real recogniser, two browsers that watch.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROGRAM, Place, until } from './program.mjs';
import { browser, shown } from './stage.mjs';

const held = browser();
const skip = PROGRAM ? false : 'ROOMSCRIBE_BIN names no program';

/** A page in a browser context of its own; its partials are noted as they appear. */
async function watcher(t, place, session) {
  const context = await held.browser.newContext({ acceptDownloads: true });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(90_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('dialog', (dialog) => { faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  t.after(() => assert.deepEqual(faults, []));
  await page.addInitScript(() => {
    const noted = new Map();
    window.partialsSeen = noted;
    new MutationObserver(() => {
      for (const item of document.querySelectorAll('#now [data-seg]')) noted.set(item.dataset.seg, item.querySelector('p')?.textContent);
    }).observe(document, { subtree: true, childList: true, characterData: true });
  });
  await page.goto(`${place.url}/#/s/${session.id}`);
  await page.locator('#link[data-link="live"]').waitFor();
  return page;
}

const offsets = (page) => page.locator('.chunk [data-offset]').evaluateAll((items) => items.map((item) => Number(item.dataset.offset)));
const count = async (page) => (await shown(page)).length;
const same = async (a, b) => JSON.stringify(await shown(a)) === JSON.stringify(await shown(b));

async function download(page, format) {
  await page.locator('#exports > summary').click();
  const [got] = await Promise.all([page.waitForEvent('download'), page.locator(`[data-format="${format}"]`).click()]);
  assert.match(got.suggestedFilename(), new RegExp(`\\.${format}$`));
  return readFile(await got.path(), 'utf8');
}

/** Cues of SRT or WebVTT: a time line, then text; ends after its start, starts in order. */
function cues(text) {
  const seconds = (at) => at.split(/[:,.]/).reverse().reduce((sum, part, i) => sum + Number(part) * [0.001, 1, 60, 3600][i], 0);
  return text.trim().split(/\n\n+/).flatMap((block) => {
    const [, from, to, said] = /^([\d:]+[,.]\d{3}) --> ([\d:]+[,.]\d{3})[^\n]*\n([^]+)$/m.exec(block) ?? [];
    return from ? [{ from: seconds(from), to: seconds(to), said }] : [];
  });
}

/** The words said, in no order: captions break lines, split long sentences, and may interleave two that overlap. */
const wordsOf = (text) => (text.replace(/<[^>]*>/g, ' ').toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? []).sort();

test('two browsers follow a meeting; serve is killed and restarted in the middle; nothing is lost or doubled', { skip }, async (t) => {
  const place = await Place.make(t);
  await place.serve('--speech', 'local');
  const session = await place.session('standup');
  const [one, two] = [await watcher(t, place, session), await watcher(t, place, session)];
  let publisher = place.publish(session);
  await until(async () => await count(one) >= 2 && await count(two) >= 2, 'two finals in both browsers');

  const settled = await one.evaluate(() => [...document.querySelectorAll('.chunk [data-seg]')].map((item) => item.dataset.seg).filter((seg) => window.partialsSeen.has(seg)));
  assert.ok(settled.length > 0, 'no partial turned into its final');
  await until(async () => /^\d+(\.\d)? s behind$/.test(await one.locator('#latency').textContent()), 'the latency is told');
  const behind = Number.parseFloat(await one.locator('#latency').textContent());
  assert.ok(behind > 0 && behind < 20, `${behind} s behind is not plausible`);

  const before = await shown(one);
  await place.kill(place.program);
  await place.kill(publisher);
  for (const page of [one, two]) await page.locator('#link[data-link="waiting"], #link[data-link="connecting"]').waitFor();
  await place.serve('--speech', 'local');
  publisher = place.publish(session, undefined, 20);
  for (const page of [one, two]) await page.locator('#link[data-link="live"]').waitFor();
  await until(async () => await count(one) >= before.length + 2, 'the meeting goes on');
  await place.kill(publisher);

  await fetch(`${place.url}/v1/sessions/${session.id}`, { method: 'DELETE' });
  for (const page of [one, two]) await page.locator('#link[data-link="ended"]').waitFor();
  assert.ok(await same(one, two), 'the two browsers show different lines');
  assert.deepEqual((await shown(one)).slice(0, before.length), before, 'a line that was shown has changed');
  const log = await place.transcript(session, 'json');
  assert.deepEqual(await shown(one), [...log.segments].sort((a, b) => a.offset - b.offset).map((segment) => segment.text));
  const at = await offsets(one);
  assert.deepEqual(at, [...new Set(at)].sort((a, b) => a - b), 'an offset is shown twice or out of order');

  const spoken = wordsOf(log.segments.map((segment) => segment.text).join(' '));
  assert.deepEqual(JSON.parse(await download(one, 'json')), log);
  for (const format of ['srt', 'vtt']) {
    const parsed = cues(await download(one, format));
    assert.ok(parsed.length >= log.segments.length, format);
    assert.ok(parsed.every((cue, i) => cue.to > cue.from && (i === 0 || cue.from >= parsed[i - 1].from)), `${format}: times`);
    assert.deepEqual(wordsOf(parsed.map((cue) => cue.said).join(' ')), spoken, format);
  }
  const text = (await download(one, 'txt')).replace(/\s+/g, ' ');
  for (const line of before) assert.ok(text.includes(line), `the plain text lacks ${line}`);
});

const SCRIPT = [
  { start: 0.6, end: 2.0, text: 'Доброе утро, коллеги.', language: 'ru' },
  { start: 2.8, end: 4.2, text: 'בוקר טוב לכולם.', language: 'he' },
  { start: 5.0, end: 6.4, text: 'صباح الخير جميعا.', language: 'ar' },
  { start: 7.2, end: 8.6, text: '<img src=x onerror=alert(1)> <b>bold</b> & "quoted"', language: 'en' },
];

test('Cyrillic, Hebrew, Arabic and markup go through the whole program and stay what they are', { skip }, async (t) => {
  const place = await Place.make(t);
  const script = join(place.data, 'script.json');
  await writeFile(script, JSON.stringify({ utterances: SCRIPT }));
  const speech = await place.speech(script);
  await place.serve('--gladia-api-url', speech, '--gladia-api-key', 'any');
  const session = await place.session('собрание', { languages: ['ru', 'he', 'ar', 'en'], codeSwitching: true });
  const page = await watcher(t, place, session);
  place.publish(session);
  await until(async () => await count(page) >= SCRIPT.length, 'every line of the script');
  assert.deepEqual((await shown(page)).slice(0, SCRIPT.length), SCRIPT.map((utterance) => utterance.text));
  const directions = await page.locator('.chunk .seg p').evaluateAll((lines) => lines.map((line) => getComputedStyle(line).direction));
  assert.deepEqual(directions.slice(0, SCRIPT.length), ['ltr', 'rtl', 'rtl', 'ltr']);
  assert.equal(await page.locator('#transcript img, #transcript b').count(), 0);
  assert.equal(await page.locator('#room').textContent(), 'собрание');
});
