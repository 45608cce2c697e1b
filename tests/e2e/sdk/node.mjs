// Transcribes a WAV file with Gladia's JavaScript SDK and prints what it saw as JSON. See README.md.
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const [base, path, scenario] = process.argv.slice(2)
// The packages are outside the checkout: NODE_PACKAGES is the folder that has node_modules.
const require = createRequire(join(process.env.NODE_PACKAGES, 'package.json'))
const { GladiaClient } = require('@gladiaio/sdk')
const PATIENCE = 120_000

const wav = readFileSync(path)
const rate = wav.readUInt32LE(24)
let audio = wav.subarray(wav.indexOf('data') + 8)
const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
const patient = (promise, what) =>
  Promise.race([promise, sleep(PATIENCE).then(() => { throw new Error(`never ${what}`) })])

const live = new GladiaClient({ apiKey: 'any', apiUrl: base }).liveV2()
const session = live.startSession({
  sample_rate: rate,
  endpointing: 0.3,
  maximum_duration_without_endpointing: 15,
  custom_metadata: { sdk: 'node' },
  // Acknowledgments are sent always, shown only when asked for.
  messages_config: { receive_partial_transcripts: true, receive_lifecycle_events: true, receive_acknowledgments: true },
})
const seen = { types: [], partials: 0, finals: [], connections: 0, errors: [] }
session.on('message', (message) => {
  seen.types.push(message.type)
  if (message.type !== 'transcript') return
  if (message.data.is_final) seen.finals.push(message.data.utterance.text)
  else seen.partials += 1
})
session.on('error', (error) => seen.errors.push(String(error)))
const ended = new Promise((done) => session.on('ended', ({ code }) => done(code)))
await patient(new Promise((done) => session.on('connected', () => {
  seen.connections += 1
  done()
})), 'connected')

if (scenario === 'overlong') {
  session.sendAudio(audio.subarray(0, 1024 * 1024 + 2))
  audio = audio.subarray(1024 * 1024 + 2)
}
const step = (rate / 20) * 2
for (let at = 0; at < audio.length; at += step) {
  session.sendAudio(audio.subarray(at, at + step))
  await sleep(20)
}
session.stopRecording()
seen.code = await patient(ended, 'ended')

const id = session.sessionId
let job = await live.get(id)
for (const until = Date.now() + PATIENCE; job.status !== 'done' && Date.now() < until; job = await live.get(id)) await sleep(100)
const file = Buffer.from(await live.getFile(id))
Object.assign(seen, {
  sdk: '@gladiaio/sdk ' + JSON.parse(readFileSync(join(process.env.NODE_PACKAGES, 'node_modules/@gladiaio/sdk/package.json'))).version,
  status: job.status,
  text: job.result.transcription.full_transcript,
  duration: job.result.metadata.audio_duration,
  file: { head: file.toString('latin1', 0, 4), bytes: file.length },
  listed: (await live.list()).items.some((item) => item.id === id),
  deleted: await live.delete(id),
  types: [...new Set(seen.types)].sort(),
})
console.log(JSON.stringify(seen))
process.exit(0)
