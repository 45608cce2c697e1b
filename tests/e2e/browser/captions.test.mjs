import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, shown, shows, stage, until } from './stage.mjs';

const held = browser();
const ALICE = { id: 'alice', name: 'Alice', method: 'active-speaker', confidence: 0.93 };
const BOB = { id: 'bob', name: 'Bob', method: 'track', confidence: 1 };

test('a partial grows in place and settles into its final, on one line', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  session.partial('1-0', 1, 'Good mor');
  await page.getByText('Good mor', { exact: true }).waitFor();
  session.partial('1-0', 2, 'Good morning ever');
  await page.locator('#now p', { hasText: 'Good morning ever' }).waitFor();
  assert.equal(await page.locator('.seg').count(), 1);
  session.final('Good morning, everyone.');
  await shows(page, ['Good morning, everyone.']);
  await until(async () => !(await page.locator('.seg.partial').count()), 'the final takes its full colour');
  assert.equal(await page.locator('.seg').count(), 1);
});

test('an older revision, or a partial that comes after its final, changes nothing', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  session.partial('1-0', 5, 'five');
  session.partial('1-0', 4, 'four');
  session.partial('1-9', 1, 'fence');
  await page.getByText('fence').waitFor();
  assert.equal(await page.getByText('four').count(), 0);
  session.final('Five.');
  session.partial('1-0', 6, 'six');
  session.partial('1-9', 2, 'fence two');
  await page.getByText('fence two').waitFor();
  assert.equal(await page.getByText('six').count(), 0);
});

test('a late viewer sees every final once and in order', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  const texts = Array.from({ length: 250 }, (_, i) => `line ${i + 1}`);
  texts.forEach((text) => session.final(text));
  await open(session);
  session.final('live now');
  await page.locator('.chunk p', { hasText: 'live now' }).waitFor();
  await until(async () => JSON.stringify((await shown(page)).slice(-50)) === JSON.stringify([...texts.slice(-49), 'live now']), 'the last fifty lines');
});

test('speakers have names, colours of their own, and one heading per turn', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('one', { speaker: ALICE });
  session.final('two', { speaker: ALICE });
  session.final('three', { speaker: BOB });
  session.final('four', { speaker: ALICE });
  await open(session);
  await shows(page, ['one', 'two', 'three', 'four']);
  assert.deepEqual(await page.locator('.who').allTextContents(), ['Alice', 'Bob', 'Alice']);
  const colours = await page.locator('.who').evaluateAll((all) => all.map((who) => getComputedStyle(who).color));
  assert.equal(colours[0], colours[2]);
  assert.notEqual(colours[0], colours[1]);
});

test('unnamed speakers get no heading', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('one');
  session.final('two', { speaker: { id: '', name: '', method: 'none', confidence: 0 } });
  await open(session);
  await shows(page, ['one', 'two']);
  assert.equal(await page.locator('.who').count(), 0);
});

test('a relabel gives the words of one line to two speakers', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  const words = ['yes', 'sure', 'no', 'never'].map((w, i) => ({ w, startMs: i * 100, endMs: i * 100 + 90, c: 1 }));
  session.final('yes sure no never', { speaker: ALICE, words });
  await open(session);
  await shows(page, ['yes sure no never']);
  session.append({ type: 'relabel', seg: '1-0', parts: [{ fromWord: 0, toWord: 2, speaker: ALICE }, { fromWord: 2, toWord: 4, speaker: BOB }] });
  await shows(page, ['yes sure', 'no never']);
  assert.deepEqual(await page.locator('.who').allTextContents(), ['Alice', 'Bob']);
});

test('a translation stands under its line, and lost sound is marked where it was lost', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  session.final('Доброе утро, коллеги.', { language: 'ru' });
  session.append({ type: 'translation', seg: '1-0', language: 'en', text: 'Good morning, colleagues.' });
  session.append({ type: 'gap', startMs: 65_000, endMs: 77_400, reason: 'PublisherLost' });
  session.final('Продолжаем.', { language: 'ru', startMs: 80_000 });
  await shows(page, ['Доброе утро, коллеги.', 'Продолжаем.']);
  const line = page.locator('.seg', { hasText: 'Доброе утро' });
  assert.equal(await line.locator('p.tr[lang="en"]').textContent(), 'Good morning, colleagues.');
  assert.equal(await page.locator('.mark').textContent(), '12 s of sound lost at 1:05');
});

test('Hebrew and Arabic run from right to left, Cyrillic and Latin from left to right', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('שיחה');
  const lines = { 'שלום לכולם, נתחיל.': 'rtl', 'صباح الخير جميعا': 'rtl', 'Начнём сначала.': 'ltr', 'Let us begin.': 'ltr' };
  Object.keys(lines).forEach((text) => session.final(text));
  await open(session);
  await shows(page, Object.keys(lines));
  const directions = await page.locator('.chunk .seg p').evaluateAll((all) => all.map((p) => (p.matches(':dir(rtl)') ? 'rtl' : 'ltr')));
  assert.deepEqual(directions, Object.values(lines));
});

test('what people say is text, never markup', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('<b>room</b>');
  const text = '<img src=x onerror=alert(1)><script>alert(2)</script> & "quotes"';
  session.final(text, { speaker: { ...ALICE, name: '<i>Eve</i>' } });
  await open(session);
  await shows(page, [text]);
  assert.equal(await page.locator('.seg img, .seg script, .who i, #room b').count(), 0);
});

test('screen readers hear live finals, and neither the replay nor partials', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('before you came');
  await open(session);
  session.partial('1-1', 1, 'while');
  session.final('while you listen', { speaker: ALICE });
  await page.locator('#announce', { hasText: 'Alice: while you listen' }).waitFor({ state: 'attached' });
  assert.equal(await page.locator('#announce').getAttribute('aria-live'), 'polite');
  assert.deepEqual(await page.locator('#announce p').allTextContents(), ['Alice: while you listen']);
});

test('latency is told for live finals only, and not told when clocks disagree', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  const now = Date.now();
  session.mediaZeroAt = new Date(now - 60_000);
  session.final('replayed', { startMs: 0, endMs: 1000 });
  await open(session);
  assert.equal(await page.locator('#latency').isVisible(), false);
  session.final('live', { startMs: 57_000, endMs: 58_500, at: new Date().toISOString() });
  await page.locator('#latency', { hasText: /^\d+(\.\d)? s behind$/ }).waitFor();
  session.final('from a clock that is ahead', { startMs: 58_500, endMs: 59_000, at: new Date(Date.now() + 90_000).toISOString() });
  await page.locator('#latency', { hasText: 'latency unknown' }).waitFor();
});

test('who came before the first sound learns the media clock from the session document', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup', { state: 'WaitingForAudio' });
  session.mediaZeroAt = null;
  await open(session);
  session.mediaZeroAt = new Date();
  session.doc.mediaZeroAt = session.mediaZeroAt.toISOString();
  session.final('the first words', { startMs: 0, endMs: 1 });
  await page.locator('.chunk p', { hasText: 'the first words' }).waitFor();
  await until(() => peer.requests.filter((r) => r.url === `/v1/sessions/${session.id}`).length > 2, 'the document to be read again');
  session.final('the next words', { startMs: 1, endMs: 2 });
  await page.locator('#latency', { hasText: 'behind' }).waitFor();
});
