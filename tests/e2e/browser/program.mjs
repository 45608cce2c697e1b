// The real program for page tests: `roomscribe serve`, `roomscribe speech`, and ffmpeg as the publisher. Ends by pid only
// what it started.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until as untilWithin } from './stage.mjs';

/** The built program, or undefined: then the tests that need it are skipped and say so. */
export const PROGRAM = process.env.ROOMSCRIBE_BIN;
/** Recorded speech of this repository. */
export const MEETING = fileURLToPath(new URL('../../fixtures/meeting/meeting.aac', import.meta.url));

/** A recogniser on a busy machine takes its time. */
export const until = (read, what) => untilWithin(read, what, 90_000);

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options });
  child.ended = new Promise((resolve) => child.on('close', resolve));
  return child;
}

async function answers(url, child) {
  return until(async () => {
    assert.equal(child.exitCode, null, 'the program ended at its start');
    return fetch(url).then((answer) => answer.status < 500, () => false);
  }, `an answer of ${url}`);
}

/** Ports and a data folder that stay the same over restarts of `serve`. */
export class Place {
  static async make(t) {
    const place = new Place();
    Object.assign(place, { children: new Set(), data: await mkdtemp(join(tmpdir(), 'roomscribe-page-')), http: await freePort(), rtmp: await freePort() });
    place.url = `http://127.0.0.1:${place.http}`;
    t.after(async () => {
      for (const child of place.children) await place.kill(child);
      await rm(place.data, { recursive: true, force: true });
    });
    return place;
  }

  run(command, args, options) {
    const child = start(command, args, options);
    this.children.add(child);
    return child;
  }

  /** `kill -9`, and its end. */
  async kill(child) {
    this.children.delete(child);
    child.kill('SIGKILL');
    await child.ended;
  }

  async serve(...more) {
    const env = { ...process.env, DATA_DIR: this.data };
    for (const name of Object.keys(env)) if (/^(ROOMSCRIBE_(API_KEY|JWT_SECRET|URL)|GLADIA_|PORT$|HTTP_LISTEN|RTMP_)/.test(name)) delete env[name];
    const args = ['serve', '--http-listen', `127.0.0.1:${this.http}`, '--rtmp-listen', `127.0.0.1:${this.rtmp}`, ...more];
    this.program = this.run(PROGRAM, args, { env, cwd: this.data });
    await answers(`${this.url}/readyz`, this.program);
  }

  /** A speech server that hears `script` instead of the sound; answers its URL. */
  async speech(script) {
    const port = await freePort();
    const server = this.run(PROGRAM, ['speech', '--listen', `127.0.0.1:${port}`, '--script', script], { cwd: this.data });
    await answers(`http://127.0.0.1:${port}/v2/live/nothing`, server);
    return `http://127.0.0.1:${port}`;
  }

  async session(roomName, speech = {}) {
    const body = JSON.stringify({ roomName, capture: { mode: 'Push' }, speech });
    const answer = await fetch(`${this.url}/v1/sessions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
    assert.equal(answer.status, 201, await answer.clone().text());
    return answer.json();
  }

  /** ffmpeg publishing from `seconds` into a file, in real time. */
  publish(session, input = MEETING, seconds = 0) {
    return this.run('ffmpeg', ['-nostdin', '-loglevel', 'fatal', '-re', '-ss', String(seconds), '-i', input, '-vn', '-c:a', 'aac', '-ar', '48000', '-f', 'flv', session.ingest.url]);
  }

  async transcript(session, format) {
    const answer = await fetch(`${this.url}/v1/sessions/${session.id}/transcript?format=${format}`);
    return format === 'json' ? answer.json() : answer.text();
  }
}
