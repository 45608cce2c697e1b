// Drives a LiveKit with livekit-server-sdk and prints what it saw as JSON. See README.md.
import { createRequire } from 'node:module'
import { createServer } from 'node:http'
import { join } from 'node:path'

const [url, key, secret, rtmp, next] = process.argv.slice(2)
// The packages are outside the checkout: NODE_PACKAGES is the folder that has node_modules.
const require = createRequire(join(process.env.NODE_PACKAGES, 'package.json'))
const sdk = require('livekit-server-sdk')
const PATIENCE = 30_000

const seen = { webhooks: [], forged: 0, errors: {} }
const receiver = new sdk.WebhookReceiver(key, secret)
const server = createServer(async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  try {
    const event = await receiver.receive(body, request.headers.authorization)
    await receiver.receive(body + ' ', request.headers.authorization).catch(() => { seen.forged += 1 })
    seen.webhooks.push(event.event)
  } catch (error) {
    seen.webhooks.push(`refused: ${error.message}`)
  }
  response.end()
})
await new Promise((done) => server.listen(Number(process.env.WEBHOOK_PORT), '127.0.0.1', done))

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))
async function until(what, isSo) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await sleep(20)) {
    const value = await isSo()
    if (value) return value
  }
  throw new Error(`never: ${what}`)
}
async function refused(name, call) {
  try {
    await call()
    seen.errors[name] = 'none'
  } catch (error) {
    seen.errors[name] = { status: error.status, code: error.code, message: error.message }
  }
}

const rooms = new sdk.RoomServiceClient(url, key, secret)
const egress = new sdk.EgressClient(url, key, secret)
const options = { audioOnly: true }
const output = (...urls) => ({ stream: new sdk.StreamOutput({ protocol: sdk.StreamProtocol.RTMP, urls }) })

const made = await rooms.createRoom({ name: 'planning', emptyTimeout: 60 })
seen.room = { name: made.name, sid: made.sid, emptyTimeout: made.emptyTimeout }
seen.rooms = (await rooms.listRooms()).map((room) => room.name).sort()
seen.people = (await rooms.listParticipants('standup')).map((person) => [person.identity, person.tracks.length])
seen.person = (await rooms.getParticipant('standup', 'ada')).identity

const started = await egress.startRoomCompositeEgress('standup', output(rtmp), options)
const id = started.egressId
seen.started = { status: sdk.EgressStatus[started.status], id: id.slice(0, 3), url: started.streamResults[0].url }
const status = async () => sdk.EgressStatus[(await egress.listEgress({ egressId: id }))[0].status]
await until('active', async () => (await status()) === 'EGRESS_ACTIVE')
const running = await until('published', async () => {
  const info = (await egress.listEgress({ roomName: 'standup', active: true }))[0]
  return info.streamResults[0].startedAt > 0n && info
})
seen.running = { source: sdk.EgressSourceType?.[running.sourceType] ?? running.sourceType, case: running.request.case }
const moved = await egress.updateStream(id, [next], [rtmp])
seen.moved = moved.streamResults.map((stream) => [stream.url, sdk.StreamInfo_Status?.[stream.status] ?? stream.status])
await until('published again', async () => (await egress.listEgress({ egressId: id }))[0].streamResults[1].startedAt > 0n)
await egress.stopEgress(id)
await until('complete', async () => (await status()) === 'EGRESS_COMPLETE')
const ended = (await egress.listEgress({ egressId: id }))[0]
seen.ended = { details: ended.details, took: ended.endedAt > ended.startedAt }

await refused('room', () => egress.startRoomCompositeEgress('nobody', output(rtmp), options))
await refused('stop', () => egress.stopEgress(id))
await refused('url', () => egress.startRoomCompositeEgress('standup', output('http://h/live/key'), options))
await refused('secret', () => new sdk.EgressClient(url, key, 'another-secret-of-thirty-two-chars').listEgress())
await refused('participant', () => rooms.getParticipant('standup', 'nobody'))
await rooms.deleteRoom('planning')
await until('room_finished', () => seen.webhooks.includes('room_finished'))
console.log(JSON.stringify(seen))
process.exit(0)
