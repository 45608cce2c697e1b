// Numbers and words as people read them.

/** States after which nothing follows. */
export const FINISHED = new Set(['Succeeded', 'Failed']);

/** Media time as `m:ss` or `h:mm:ss`. */
export function clock(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

/** `WaitingForAudio` → `Waiting for audio`. */
export const words = (camel) => {
  const spaced = String(camel ?? '').replace(/([a-z0-9])([A-Z])/g, '$1 $2');
  return spaced.charAt(0) + spaced.slice(1).toLowerCase();
};
export const seconds = (ms) => (ms < 10_000 ? (ms / 1000).toFixed(1) : Math.round(ms / 1000)) + ' s';
export const plural = (n, one) => `${n.toLocaleString()} ${one}${n === 1 ? '' : 's'}`;
export const tone = (state) => (state === 'Live' ? 'live' : state === 'Failed' ? 'bad' : state === 'Succeeded' ? 'done' : 'wait');
export const stateWords = (state) => (state === 'Succeeded' ? 'Finished' : words(state) || 'Unknown');

export function ago(at) {
  const minutes = Math.round((Date.now() - Date.parse(at)) / 60_000);
  if (!Number.isFinite(minutes)) return '';
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ago`;
  return new Date(at).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
}

/** Causes that a person can mend: what to put above the server's own message. */
const TROUBLE = {
  CredentialsRejected: ['bad', 'The speech service refused the key.', 'Check GLADIA_API_KEY on the server; nothing is transcribed until then.'],
  SpeechKeyRefused: ['bad', 'The speech service refused the key.', 'Check GLADIA_API_KEY on the server; nothing is transcribed until then.'],
  CredentialsRefused: ['bad', 'LiveKit refused the key.', 'Check LIVEKIT_API_KEY and LIVEKIT_API_SECRET on the server.'],
  LiveKitUnreachable: ['wait', 'LiveKit does not answer.', 'Trying again by itself.'],
  LiveKitFailing: ['wait', 'LiveKit answers with an error.', 'Trying again by itself.'],
  AddressLoopback: ['bad', 'LiveKit cannot reach the server.', 'Set RTMP_HOST on the server to an address that LiveKit reaches.'],
  Unreachable: ['bad', 'LiveKit cannot reach the server.', 'Check firewall and port forwarding of the RTMP port.'],
  CapacityExhausted: ['wait', 'LiveKit has no free egress worker.', 'Trying again by itself.'],
  EgressRefused: ['bad', 'LiveKit refuses the egress.', 'The message says why.'],
  RateLimited: ['wait', 'The speech quota is used up for now.', 'Trying again by itself; sound is still received.'],
  QuotaExceeded: ['wait', 'The speech quota is used up.', 'Raise the limit at the speech service.'],
  ConcurrencyLimited: ['wait', 'Waiting for a free speech stream.', 'It starts by itself when another session ends.'],
  SpeechUnreachable: ['wait', 'The speech service does not answer.', 'Trying again by itself; sound is kept meanwhile.'],
  SpeechFallingBehind: ['wait', 'The recogniser cannot keep up.', 'Captions arrive late, but nothing is dropped.'],
  NoAudio: ['wait', 'No sound arrives.', 'Check that the publisher is running and not muted.'],
  SilenceOnly: ['wait', 'Only silence arrives.', 'Check the microphone or the publisher’s audio source.'],
  PublisherSilent: ['wait', 'No sound arrives.', 'Check that the publisher is running and not muted.'],
  UnsupportedAudio: ['bad', 'The sound is not AAC.', 'Set the publisher’s audio codec to AAC.'],
  SpeechOptionsRejected: ['bad', 'The speech service refused the options.', 'Check languages and translation of this session.'],
  SpeechError: ['wait', 'The speech service reports an error.', 'Trying again by itself; sound is kept meanwhile.'],
  NotAac: ['bad', 'The sound is not AAC.', 'Set the publisher’s audio codec to AAC.'],
  LogFailed: ['bad', 'The transcript cannot be written.', 'See the log of the server; what was already shown is kept.'],
  StorageFailed: ['bad', 'The transcript cannot be written.', 'See the log of the server; what was already shown is kept.'],
  Fenced: ['bad', 'Another process writes this session.', 'Stop the other one.'],
  DiskFull: ['bad', 'The server’s disk is full.', 'Free space in DATA_DIR; what was already shown is kept.'],
  PublisherLost: ['wait', 'The publisher went away.', 'Captions go on when it is back.'],
  WorkerRestarted: ['wait', 'Recovering.', 'The transcriber was restarted; captions go on by themselves.'],
};

/** What the banner says about a state, or null when all is well. */
export function trouble(status) {
  const { state, reason, message } = status;
  const known = TROUBLE[reason];
  if (!known && state !== 'Failed' && state !== 'Recovering') return null;
  const [kind, title, advice] = known ?? (state === 'Failed' ? ['bad', 'This session failed.', ''] : ['wait', 'Recovering.', 'Captions go on by themselves.']);
  return { kind: state === 'Failed' ? 'bad' : kind, title, text: message || advice, reason: reason ?? '' };
}
