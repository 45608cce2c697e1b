// What every page test needs: one Chromium per test file, a peer and a page per test, and the proof that the page was
// quiet (no error on the console, no Content-Security-Policy violation, no request to anyone but the peer).
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { fromCache } from './cache.mjs';
import { Peer } from './peer.mjs';

const { chromium } = fromCache('playwright-core');
const ARGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const PATIENCE_MS = 30_000;

/** Starts Chromium with a fresh profile (Playwright makes the user data folder and removes it). */
export const launch = () => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS });

/** One Chromium for a test file. */
export function browser() {
  const held = {};
  before(async () => { held.browser = await launch(); });
  after(async () => { await held.browser?.close(); });
  return held;
}

/** Waits until `read()` answers something true and returns it. */
export async function until(read, what, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const answer = await read();
    if (answer) return answer;
    if (Date.now() > deadline) assert.fail(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Collects what a well-behaved page never does. */
function watch(page, origin) {
  const faults = [];
  // A refused request or a lost connection is part of many tests; Chromium itself reports those on the console.
  page.on('console', (message) => { if (message.type() === 'error' && !/Failed to load resource|WebSocket connection/.test(message.text())) faults.push(message.text()); });
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('request', (request) => { if (!request.url().startsWith(origin) && !request.url().startsWith('blob:')) faults.push(`request to ${request.url()}`); });
  return faults;
}

/** A peer and a page; both are closed, and the page's good behaviour is checked, when the test ends. */
export async function stage(t, held, { peer: options, page: pageOptions, before: prepare } = {}) {
  const peer = await Peer.start(options);
  const context = await held.browser.newContext(pageOptions);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const faults = watch(page, peer.url);
  await prepare?.(page);
  t.after(async () => {
    await context.close();
    await peer.close();
    assert.deepEqual(faults, []);
  });
  const open = async (session) => {
    await page.goto(`${peer.url}/#/s/${session.id}`);
    await page.locator('#link[data-link="live"], #link[data-link="ended"]').waitFor();
  };
  return { peer, page, context, open };
}

/** Texts of the finals on screen, in order. */
export const shown = (page) => page.locator('.chunk .seg p:not(.tr)').allTextContents();

/** Waits until exactly `texts` are on screen as finals. */
export async function shows(page, texts) {
  const same = async () => JSON.stringify(await shown(page)) === JSON.stringify(texts);
  await until(same, `lines ${JSON.stringify(texts).slice(0, 300)}`).catch(async () => assert.deepEqual(await shown(page), texts));
}
