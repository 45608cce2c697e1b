import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, shows, stage, until } from './stage.mjs';

const held = browser();
const numbers = (n) => Array.from({ length: n }, (_, i) => `line ${i + 1}`);
const afters = (peer) => peer.connections.map((c) => c.after);

test('after a cut the page resumes by offset and epoch; nothing is lost and nothing comes twice', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  for (let i = 1; i <= 6; i += 1) {
    session.final(`line ${i}`);
    await shows(page, numbers(i));
    if (i % 2 === 0) { session.cut(i === 4 ? 1001 : undefined); await until(() => peer.connections.length === 1 + i / 2, 'the reconnect'); }
  }
  session.final('line 7');
  await shows(page, numbers(7));
  assert.deepEqual(afters(peer).slice(0, 3), [0, 2, 4]);
  assert.equal(peer.connections[1].epoch, '9f2c01ab');
  assert.equal(peer.connections[0].epoch, null);
});

test('finals said while the page was away are there after the reconnect', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('line 1');
  await open(session);
  peer.away = true;
  session.cut();
  await page.locator('#link[data-link="waiting"]').waitFor();
  session.final('line 2');
  session.final('line 3');
  peer.away = false;
  await shows(page, numbers(3));
});

test('an offset that comes twice is shown once', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.repeats = true;
  await open(session);
  numbers(5).forEach((text) => session.final(text));
  await shows(page, numbers(5));
  assert.equal(peer.connections.length, 1);
});

test('a missing offset makes the page reconnect from the last one it has', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  session.lost.add(2);
  numbers(3).forEach((text) => session.final(text));
  await shows(page, numbers(3));
  assert.deepEqual(afters(peer), [0, 1]);
});

test('a heartbeat whose head is ahead of the page uncovers a lost last line', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  session.lost.add(2);
  session.final('line 1');
  session.final('line 2');
  session.send({ type: 'heartbeat', head: 2 });
  await shows(page, numbers(2));
  assert.deepEqual(afters(peer), [0, 1]);
});

test('when the server cannot continue, the page reloads through the export and says so', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('of the log that was lost');
  await open(session);
  await shows(page, ['of the log that was lost']);
  session.newEpoch('00c0ffee');
  const words = ['line', '1', 'line', '2'].map((w, i) => ({ w, startMs: i, endMs: i + 1, c: 1 }));
  const { seg } = session.final('line 1 line 2', { words });
  const [alice, bob] = ['Alice', 'Bob'].map((name) => ({ id: name, name, method: 'diarization', confidence: 0.8 }));
  session.append({ type: 'relabel', seg, parts: [{ fromWord: 0, toWord: 2, speaker: alice }, { fromWord: 2, toWord: 4, speaker: bob }] });
  session.append({ type: 'translation', seg: session.final('line 3').seg, language: 'de', text: 'Zeile 3' });
  session.cut();
  await page.locator('#notice', { hasText: 'loaded again from the archive' }).waitFor();
  session.final('line 4');
  await shows(page, numbers(4));
  assert.deepEqual(await page.locator('.who').allTextContents(), ['Alice', 'Bob']);
  assert.equal(await page.locator('p.tr').textContent(), 'Zeile 3');
  const last = peer.connections.at(-1);
  assert.deepEqual([last.after, last.epoch], [4, '00c0ffee']);
});

test('a viewer who comes after the live window was cut gets the beginning from the export', async (t) => {
  const { peer, page } = await stage(t, held);
  const session = peer.session('standup');
  numbers(5).forEach((text) => session.final(text));
  session.oldest = 4;
  await page.goto(`${peer.url}/?session=${session.id}`);
  await page.locator('#notice', { hasText: 'come from the archive' }).waitFor();
  session.final('line 6');
  await shows(page, numbers(6));
});

test('a server that never recovers does not make the page reload for ever', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('line 1');
  session.unrecoverable = true;
  await open(session);
  session.final('line 2');
  await page.locator('.chunk p', { hasText: 'line 2' }).waitFor();
  assert.equal(peer.requests.filter((r) => r.url.includes('/transcript')).length, 2);
});

test('the end of a session is the end: complete, with its size, and no reconnect', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  session.final('line 1', { startMs: 0 });
  session.append({ type: 'handover' });
  session.final('line 2', { startMs: 3000 });
  session.append({ type: 'end', reason: 'RoomEnded' });
  await page.locator('#link[data-link="ended"]').waitFor();
  assert.equal(await page.locator('#ending-text').textContent(), 'Room ended · 2 lines · 0:04');
  assert.equal(await page.locator('#state').textContent(), 'Finished');
  assert.equal(peer.connections.length, 1);
});

test('the countdown is shown, and "Retry now" does not wait for it', async (t) => {
  const longest = (page) => page.addInitScript(() => { Math.random = () => 0.9999; });
  const { peer, page, open } = await stage(t, held, { before: longest });
  const session = peer.session('standup');
  await open(session);
  peer.away = true;
  session.cut();
  await page.locator('#link-text', { hasText: /^Reconnecting in [4-9] s$/ }).waitFor();
  peer.away = false;
  await page.getByRole('button', { name: 'Retry now' }).click();
  await page.locator('#link[data-link="live"]').waitFor();
});

test('back-off is full jitter under a ceiling that doubles from half a second to thirty', async (t) => {
  const { peer, page } = await stage(t, held);
  await page.goto(peer.url);
  const ceilings = await page.evaluate(async () => {
    const { backoffMs } = await import('/feed.js');
    return [0, 1, 2, 3, 4, 5, 6, 7, 50].map((n) => [backoffMs(n, () => 0), backoffMs(n, () => 1)]);
  });
  assert.deepEqual(ceilings, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000].map((ms) => [0, ms]));
});

for (const [code, said] of [[4403, 'may not see'], [4404, 'no such session'], [4410, 'is gone']]) {
  test(`close code ${code} is final and says why`, async (t) => {
    const { peer, page } = await stage(t, held);
    const session = peer.session('standup');
    session.closeWith = code;
    await page.goto(`${peer.url}/#/s/${session.id}`);
    await page.locator('#quiet-title', { hasText: said }).waitFor();
    assert.equal(await page.locator('#link-text').textContent(), 'Not available');
    assert.equal(peer.connections.length, 1);
  });
}

test('an unknown session is named as such', async (t) => {
  const { peer, page } = await stage(t, held);
  await page.goto(`${peer.url}/#/s/nobody`);
  await page.locator('#quiet-title', { hasText: 'There is no such session.' }).waitFor();
  assert.equal(peer.connections.length, 0);
});
