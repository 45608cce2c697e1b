// All sessions, and the form that starts one.
import { $, make } from './dom.js';
import { json } from './server.js';
import { ago, clock, stateWords, tone, words } from './text.js';

/** The list of sessions. */
export class HomeView {
  start() {
    document.title = 'Roomscribe';
    this.poll();
  }

  stop() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  async poll() {
    try {
      if (!document.hidden) this.show(await json('/v1/sessions'));
      $('home-problem').hidden = true;
    } catch (error) {
      $('home-problem').textContent = error.status === 403 ? 'This key opens single sessions only: use the link that you were given.' : `${error.message} Trying again.`;
      $('home-problem').hidden = false;
    }
    if (!this.closed) this.timer = setTimeout(() => this.poll(), 4000);
  }

  show(answer) {
    const sessions = Array.isArray(answer) ? answer : answer.sessions ?? answer.items ?? [];
    const text = JSON.stringify(sessions);
    if (this.closed || text === this.text) return;
    this.text = text;
    const focused = document.activeElement?.closest?.('#sessions a')?.getAttribute('href');
    $('sessions').replaceChildren(...sessions.map((session) => this.item(session)));
    $('home-empty').hidden = sessions.length > 0;
    if (focused) $('sessions').querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  item(session) {
    const link = make('a');
    link.href = `#/s/${encodeURIComponent(session.id)}`;
    const name = make('strong', '', session.roomName);
    name.dir = 'auto';
    const chip = make('span', 'chip', stateWords(session.state));
    chip.dataset.tone = tone(session.state);
    const about = make('span', 'about', this.about(session));
    if (session.state === 'Failed') about.append(' · ', make('span', 'why', session.message || words(session.reason)));
    link.append(name, about, chip);
    const item = make('li');
    item.append(link);
    return item;
  }

  about({ createdAt, startedAt, completedAt, captureMode }) {
    const lasted = startedAt && completedAt ? clock(Date.parse(completedAt) - Date.parse(startedAt)) : '';
    return [ago(createdAt), lasted, captureMode === 'Push' ? 'RTMP push' : captureMode && words(captureMode)].filter(Boolean).join(' · ');
  }
}

const listOf = (text) => text.split(/[\s,]+/).filter(Boolean).map((item) => item.toLowerCase());
let formKey = null;

/** Sends the form; a request that got no answer is sent again under the same key. */
export async function startSession(form) {
  const said = (text) => { const p = form.querySelector('.problem'); p.textContent = text; p.hidden = !text; };
  const { roomName, languages, translateTo } = form.elements;
  if (!roomName.value.trim()) { said('Give the room a name.'); roomName.focus(); return; }
  said('');
  const body = { roomName: roomName.value.trim(), capture: { mode: 'Push' }, speech: { languages: listOf(languages.value), translateTo: listOf(translateTo.value) } };
  formKey ??= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  try {
    const session = await json('/v1/sessions', { method: 'POST', body, headers: { 'idempotency-key': formKey } });
    formKey = null;
    form.reset();
    openForm(false);
    location.hash = `#/s/${session.id}`;
  } catch (error) {
    formKey = error.status === 0 ? formKey : null;
    said([error.message, ...error.errors.map((e) => `${e.pointer}: ${e.detail}`).filter((line) => !line.endsWith(error.message))].join(' '));
  }
}

/** Shows or hides the form. */
export function openForm(open) {
  $('start').hidden = !open;
  $('new').setAttribute('aria-expanded', open);
  if (open) $('start').elements.roomName.focus();
}
