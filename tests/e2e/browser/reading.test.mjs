import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, stage, until } from './stage.mjs';

const held = browser();

async function hours(t, options) {
  const set = await stage(t, held, options);
  const session = set.peer.session('all-hands');
  for (let i = 1; i <= 10_000; i += 1) session.final(`sentence number ${i} of a very long day, spoken without hurry`, { startMs: i * 3000 });
  await set.open(session);
  await set.page.getByText('sentence number 10000 of').waitFor();
  return { ...set, session };
}

test('ten thousand finals: the page keeps few lines in the document and all of them in reach', async (t) => {
  const { page } = await hours(t);
  await until(async () => (await page.locator('.seg').count()) <= 600, 'a bounded document');
  await page.evaluate(() => scrollTo(0, 0));
  await page.getByText('sentence number 1 of').waitFor();
  await until(async () => (await page.locator('.seg').count()) <= 600, 'a bounded document at the top');
  const offsets = await page.locator('.seg').evaluateAll((all) => all.map((line) => Number(line.dataset.offset)));
  assert.deepEqual(offsets.slice(0, 100), Array.from({ length: 100 }, (_, i) => i + 1));
});

test('reading back is not disturbed; the button counts what came and leads to live', async (t) => {
  const { page, session } = await hours(t);
  await page.mouse.move(400, 400);
  await page.mouse.wheel(0, -4000);
  const jump = page.locator('#jump');
  await jump.waitFor();
  await until(async () => { const y = await page.evaluate(() => scrollY); return page.evaluate((was) => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(scrollY === was)))), y); }, 'the wheel to come to rest');
  const visible = () => page.evaluate(() => [...document.querySelectorAll('.seg')].find((line) => line.getBoundingClientRect().top > 100).dataset.offset);
  const reading = await visible();
  for (let i = 1; i <= 3; i += 1) session.final(`news ${i}`, { startMs: 31_000_000 + i * 3000 });
  await jump.filter({ hasText: '3 new lines' }).waitFor();
  assert.equal(await visible(), reading);
  await jump.click();
  await until(() => page.locator('.chunk p', { hasText: 'news 3' }).evaluate((line) => line.getBoundingClientRect().bottom < innerHeight), 'the newest line on screen');
  await jump.waitFor({ state: 'hidden' });
});

test('while following, a growing partial stays on screen', async (t) => {
  const { page, session } = await hours(t, { page: { viewport: { width: 420, height: 500 } } });
  for (let i = 1; i <= 12; i += 1) session.partial('9-9', i, 'and so on and so forth '.repeat(i * 4));
  session.partial('9-9', 99, `${'and so on and so forth '.repeat(48)}at last`);
  await page.getByText('at last').waitFor();
  await until(() => page.locator('#now p').evaluate((line) => line.getBoundingClientRect().bottom <= innerHeight), 'the end of the partial on screen');
});

test('theatre mode by key and by button: large captions; Escape leaves', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('so that the last row can read it');
  await open(session);
  const size = () => page.locator('.seg p').first().evaluate((line) => parseFloat(getComputedStyle(line).fontSize));
  const normal = await size();
  await page.keyboard.press('t');
  assert.ok((await size()) > normal * 1.5);
  assert.equal(await page.locator('#theatre').getAttribute('aria-pressed'), 'true');
  await page.keyboard.press('Escape');
  assert.equal(await size(), normal);
  await page.locator('#theatre').focus();
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('body.theatre').count(), 1);
});

test('at phone width nothing sticks out, in either view', async (t) => {
  const { peer, page, open } = await stage(t, held, { page: { viewport: { width: 340, height: 640 }, isMobile: true, hasTouch: true } });
  const session = peer.session('a-room-with-a-rather-long-name-that-somebody-thought-of', { state: 'WaitingForAudio' });
  session.doc.ingest = { server: 'rtmp://rtmp.example.com:1935/live/0a1b2c3d/0199', streamKey: 'secret', url: 'rtmp://rtmp.example.com:1935/live/0a1b2c3d/0199/secret' };
  session.final('Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft', { speaker: { id: 'a', name: 'A very long name indeed, of somebody from far away', method: 'track', confidence: 1 } });
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.goto(peer.url);
  await page.locator('.sessions a').waitFor();
  await page.getByRole('button', { name: 'New session' }).click();
  assert.equal(await overflow(), 0);
  await open(session);
  assert.equal(await overflow(), 0);
  await page.evaluate(() => { Math.random = () => 0.9999; });
  peer.away = true;
  session.cut();
  await page.locator('#retry').waitFor();
  assert.equal(await overflow(), 0);
  const boxes = await page.locator('.tools > :visible').evaluateAll((all) => all.map((one) => one.getBoundingClientRect()).map(({ left, right, top }) => ({ left, right, top })));
  for (const [i, box] of boxes.slice(1).entries()) assert.ok(box.left >= boxes[i].right - 1 || box.top > boxes[i].top + 20, 'tools do not overlap');
});

test('light and dark follow the system', async (t) => {
  const { peer, page } = await stage(t, held);
  await page.goto(peer.url);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await paper();
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.notEqual(await paper(), light);
});
