import assert from 'node:assert/strict';
import { test } from 'node:test';
import { browser, shows, stage, until } from './stage.mjs';

const held = browser();
const KEY = 'rk_a-key-that-must-not-be-seen';

async function signIn(page, key) {
  await page.getByLabel('Key or token').fill(key);
  await page.getByRole('button', { name: 'Continue' }).click();
}

test('a key is asked for once, kept in this tab only, and never put into an address', async (t) => {
  const { peer, page, context } = await stage(t, held, { peer: { apiKey: KEY } });
  const session = peer.session('board');
  session.final('for your ears only');
  await page.goto(`${peer.url}/#/s/${session.id}`);
  await page.getByText('This server asks for a key').waitFor();
  assert.equal(peer.connections.length, 0);
  await signIn(page, KEY);
  await shows(page, ['for your ears only']);
  const kept = await page.evaluate(() => [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie, location.href]);
  assert.ok(kept[0].includes(KEY));
  assert.ok(!kept.slice(1).join().includes(KEY));
  const addresses = [...peer.requests, ...peer.connections].map((r) => r.url).join();
  assert.ok(!addresses.includes(KEY));
  const other = await context.newPage();
  await other.goto(`${peer.url}/#/s/${session.id}`);
  await other.getByText('This server asks for a key').waitFor();
});

test('a wrong key is told so and asked for again', async (t) => {
  const { peer, page } = await stage(t, held, { peer: { apiKey: KEY } });
  peer.session('board');
  await page.goto(peer.url);
  await signIn(page, 'wrong');
  await page.getByText('That key was refused or has expired.').waitFor();
  await signIn(page, KEY);
  await page.getByRole('link', { name: /board/ }).waitFor();
});

test('each connection uses a fresh ticket, also after the server says that the old one expired', async (t) => {
  const { peer, page } = await stage(t, held, { peer: { apiKey: KEY } });
  const session = peer.session('board');
  await page.goto(`${peer.url}/#/s/${session.id}`);
  await signIn(page, KEY);
  await until(() => session.sockets.size === 1, 'the first connection');
  session.cut(4401);
  await until(() => peer.connections.length === 2 && session.sockets.size === 1, 'the second connection');
  const [first, second] = peer.connections.map((c) => c.ticket);
  assert.ok(first && second && first !== second);
  assert.equal(await page.locator('#signin').isVisible(), false);
});

test('signing out forgets the key', async (t) => {
  const { peer, page } = await stage(t, held, { peer: { apiKey: KEY } });
  await page.goto(peer.url);
  await signIn(page, KEY);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('This server asks for a key').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});
