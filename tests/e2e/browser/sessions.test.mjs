import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { browser, shows, stage, until } from './stage.mjs';

const held = browser();

test('without sessions the page invites to start one', async (t) => {
  const { peer, page } = await stage(t, held);
  await page.goto(peer.url);
  await page.getByText('No sessions yet').waitFor();
});

test('the list shows rooms with their states, a failure with its cause, and keeps up', async (t) => {
  const { peer, page } = await stage(t, held);
  peer.session('retro', { state: 'Succeeded', completedAt: new Date().toISOString() });
  peer.session('broken', { state: 'Failed', reason: 'CredentialsRejected', message: 'Gladia refused GLADIA_API_KEY' });
  const live = peer.session('standup');
  await page.goto(peer.url);
  await page.getByRole('link', { name: /standup/ }).waitFor();
  assert.deepEqual(await page.locator('.sessions .chip').allTextContents(), ['Live', 'Failed', 'Finished']);
  await page.getByText('Gladia refused GLADIA_API_KEY').waitFor();
  live.doc.state = 'Recovering';
  await page.locator('.sessions .chip', { hasText: 'Recovering' }).waitFor();
});

test('starting a Push session leads to its address; the key is hidden until it is asked for', async (t) => {
  const { peer, page, context } = await stage(t, held);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.goto(peer.url);
  await page.getByRole('button', { name: 'New session' }).click();
  await page.getByLabel('Room name').fill('my talk');
  await page.getByLabel('Spoken languages').fill('en, RU');
  await page.getByLabel('Translate to').fill('de');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.locator('#ingest-server', { hasText: 'rtmp://' }).waitFor();
  const post = peer.requests.find((r) => r.method === 'POST');
  assert.deepEqual(post.body, { roomName: 'my talk', capture: { mode: 'Push' }, speech: { languages: ['en', 'ru'], translateTo: ['de'] } });
  assert.match(post.headers['idempotency-key'], /^[0-9a-f]{32}$/);
  const { streamKey, url } = peer.sessions[0].doc.ingest;
  assert.ok(!(await page.locator('body').innerText()).includes(streamKey));
  await page.locator('[data-copy="ffmpeg"]').click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), `ffmpeg -re -i INPUT -vn -c:a aac -f flv '${url}'`);
  await page.getByRole('button', { name: 'Reveal' }).click();
  assert.equal(await page.locator('#ingest-key').textContent(), streamKey);
  await page.getByText('Waiting for sound').waitFor();
});

test('a refused start says which field and how to mend it', async (t) => {
  const { peer, page } = await stage(t, held);
  await page.goto(peer.url);
  await page.getByRole('button', { name: 'New session' }).click();
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByText('Give the room a name.').waitFor();
  peer.refuse = { status: 422, body: { title: 'Invalid', detail: 'One field is wrong.', errors: [{ pointer: '/speech/languages/0', detail: 'use ISO 639-1, such as en' }] } };
  await page.getByLabel('Room name').fill('x');
  await page.getByRole('button', { name: 'Start' }).click();
  await page.getByText('/speech/languages/0: use ISO 639-1, such as en').waitFor();
});

test('stopping asks once more, then stops', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  await open(session);
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  assert.equal(session.doc.state, 'Live');
  await page.getByRole('button', { name: 'Really stop?' }).click();
  await until(() => session.doc.state === 'Stopping', 'the stop');
  await page.locator('#state', { hasText: 'Stopping' }).waitFor();
});

test('a key that may only watch is told so', async (t) => {
  const { peer, page, open } = await stage(t, held, { peer: { readOnly: true } });
  await open(peer.session('standup'));
  await page.getByRole('button', { name: 'Stop', exact: true }).click();
  await page.getByRole('button', { name: 'Really stop?' }).click();
  await page.getByText('This key may watch, but not stop.').waitFor();
});

test('the transcript can be downloaded in four formats', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.final('take me home');
  await open(session);
  for (const format of ['txt', 'srt', 'vtt', 'json']) {
    await page.locator('#exports summary').click();
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator(`[data-format="${format}"]`).click()]);
    assert.equal(download.suggestedFilename(), `standup.${format}`);
    assert.match(await readFile(await download.path(), 'utf8'), /take me home/);
  }
});

for (const [reason, said] of [['CredentialsRejected', 'refused the key'], ['RateLimited', 'quota is used up'], ['NoAudio', 'No sound arrives'], ['SpeechUnreachable', 'does not answer']]) {
  test(`status ${reason} becomes a banner, and goes when all is well again`, async (t) => {
    const { peer, page, open } = await stage(t, held);
    const session = peer.session('standup');
    await open(session);
    session.append({ type: 'status', state: 'Recovering', reason, message: 'what the server says about it' });
    await page.locator('#banner', { hasText: said }).waitFor();
    await page.locator('#banner', { hasText: 'what the server says about it' }).waitFor();
    session.append({ type: 'status', state: 'Live', reason: 'Transcribing', message: '' });
    await page.locator('#banner').waitFor({ state: 'hidden' });
  });
}

test('a banner is seen by those who follow the newest line of a long transcript', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  for (let i = 0; i < 80; i += 1) session.final(`line ${i}`);
  await open(session);
  session.append({ type: 'status', state: 'Recovering', reason: 'RateLimited', message: 'again in 8 s' });
  await until(() => page.locator('#banner').evaluate((b) => scrollY > 500 && b.getBoundingClientRect().top >= 0 && b.getBoundingClientRect().bottom < innerHeight), 'the banner on screen');
});

test('a trouble that was over before the viewer came is not shown', async (t) => {
  const { peer, page, open } = await stage(t, held);
  const session = peer.session('standup');
  session.append({ type: 'status', state: 'Recovering', reason: 'RateLimited', message: 'old' });
  session.append({ type: 'status', state: 'Live', reason: 'Transcribing', message: '' });
  session.final('all is well');
  await open(session);
  await shows(page, ['all is well']);
  assert.equal(await page.locator('#banner').isVisible(), false);
});
