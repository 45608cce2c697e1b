// Makes the pictures of docs/: from a scripted meeting, and page-program.png from the real program when ROOMSCRIBE_BIN names
// it (real RTMP, the on-device recogniser, the recorded meeting of tests/fixtures). Run by screenshots.sh.
import { join } from 'node:path';
import { launch, until } from './stage.mjs';
import { Peer } from './peer.mjs';
import { PROGRAM, Place, until as untilPatient } from './program.mjs';

const out = process.argv[2];
const PEOPLE = Object.fromEntries(['Alice Meyer', 'Дмитрий', 'Noa', 'Tomás'].map((name) => [name.split(' ')[0], { id: name, name, method: 'active-speaker', confidence: 0.94 }]));
const { Alice, Дмитрий: Dmitri, Noa, Tomás: Tomas } = PEOPLE;

const MEETING = [
  [Alice, 'en', 'Good morning, everyone. Let’s get started, we have twenty minutes and three things to decide.'],
  [Alice, 'en', 'First, the release. Are we still good for Thursday?'],
  [Tomas, 'en', 'Yes. The last blocker was the reconnect storm, and that was merged last night. I ran it against nine thousand viewers and nobody lost a line.'],
  [Dmitri, 'ru', 'У меня один вопрос: что увидит зритель, если сервер перезапустится посреди фразы?', 'I have one question: what does a viewer see if the server restarts in the middle of a sentence?'],
  [Tomas, 'en', 'The captions pause for a second or two, then continue from the same word. Nothing is shown twice.'],
  'gap',
  [Noa, 'he', 'מצוין. אז אפשר להראות את זה ללקוחות כבר השבוע?', 'Excellent. So can we show it to customers this week?'],
  [Alice, 'en', 'I’d love that. Wednesday at four, twelve people, half of them on their phones.'],
];

const minutesAgo = (n) => new Date(Date.now() - n * 60_000).toISOString();

function speak(session) {
  let at = 732_000;
  for (const line of MEETING) {
    if (line === 'gap') { session.append({ type: 'gap', startMs: at, endMs: at + 3200, reason: 'PublisherLost' }); at += 3200; continue; }
    const [speaker, language, text, english] = line;
    const lasts = text.length * 62;
    const { seg } = session.final(text, { speaker, language, startMs: at, endMs: at + lasts });
    if (english) session.append({ type: 'translation', seg, language: 'en', text: english });
    at += lasts + 400;
  }
  return at;
}

/** The last words come live, so that the latency is a measured one. */
async function speakLive(page, session, at) {
  session.final('Then Dmitri brings the numbers, and I’ll write the invitation.', { speaker: Alice, startMs: at, endMs: at + 2600, at: new Date().toISOString() });
  await page.locator('#latency', { hasText: 'behind' }).waitFor();
  session.partial('1-live', 7, 'I can have them by Tuesday evening, if the benchmark', { speaker: Tomas, startMs: at + 2800, endMs: at + 5000 });
  await page.locator('#now p').waitFor();
}

function others(peer) {
  peer.session('design review', { state: 'Succeeded', captureMode: 'RoomComposite', createdAt: minutesAgo(60 * 26), startedAt: minutesAgo(60 * 26), completedAt: minutesAgo(60 * 26 - 47) });
  peer.session('планёрка', { state: 'Succeeded', captureMode: 'RoomComposite', createdAt: minutesAgo(190), startedAt: minutesAgo(190), completedAt: minutesAgo(152) });
  peer.session('all-hands', { state: 'Failed', reason: 'CredentialsRejected', message: 'The speech service refused the key: check GLADIA_API_KEY', captureMode: 'Auto', createdAt: minutesAgo(95) });
  peer.session('customer call', { state: 'Recovering', reason: 'WorkerRestarted', captureMode: 'TrackEgress', createdAt: minutesAgo(31), startedAt: minutesAgo(30) });
  peer.session('podcast, take 3', { state: 'WaitingForAudio', captureMode: 'Push', createdAt: minutesAgo(2) });
}

async function shoot(browser, peer, options, name, act) {
  const context = await browser.newContext({ colorScheme: 'light', deviceScaleFactor: 1, viewport: { width: 1180, height: 860 }, ...options });
  const page = await context.newPage();
  await act(page);
  await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity).map((a) => a.finished)));
  await page.screenshot({ path: join(out, `${name}.png`) });
  await context.close();
}

/** Live captions of the recorded meeting. */
async function shootProgram(browser) {
  const ends = [];
  const place = await Place.make({ after: (end) => ends.push(end) });
  try {
    await place.serve('--speech', 'local');
    const session = await place.session('Weekly sync');
    await shoot(browser, peer, { viewport: { width: 1180, height: 760 } }, 'page-program', async (page) => {
      await page.goto(`${place.url}/#/s/${session.id}`);
      place.publish(session);
      await untilPatient(async () => await page.locator('.chunk .seg').count() >= 4, 'four lines');
    });
  } finally {
    for (const end of ends) await end();
  }
}

const peer = await Peer.start();
others(peer);
const browser = await launch();
try {
  const live = (suffix) => async (page) => {
    const session = peer.session('Release planning', { createdAt: minutesAgo(13), startedAt: minutesAgo(13) });
    const at = speak(session);
    session.mediaZeroAt = new Date(Date.now() - at - 3900);
    await page.goto(`${peer.url}/#/s/${session.id}`);
    await until(() => session.sockets.size === 1, 'the page');
    await speakLive(page, session, at);
    if (suffix === 'theatre') await page.keyboard.press('t');
    if (suffix !== 'last') peer.sessions.shift();
  };
  await shoot(browser, peer, {}, 'page-live', live());
  await shoot(browser, peer, { colorScheme: 'dark' }, 'page-dark', live());
  await shoot(browser, peer, { viewport: { width: 1180, height: 664 } }, 'page-theatre', live('theatre'));
  await shoot(browser, peer, { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }, 'page-phone', live('last'));
  await shoot(browser, peer, { viewport: { width: 1180, height: 760 } }, 'page-sessions', async (page) => {
    await page.goto(peer.url);
    await page.locator('.sessions a').first().waitFor();
  });
  if (PROGRAM) await shootProgram(browser);
} finally {
  await browser.close();
  await peer.close();
}
