// The API: one key for this tab, asked for when the server wants one.
import { $ } from './dom.js';

const KEY_SLOT = 'roomscribe.key';

/** The server said no; `status` 0 means that it does not answer. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || (status ? `The server answered ${status}.` : 'The server does not answer.'));
    this.status = status;
    this.errors = problem?.errors ?? [];
  }
}

/** The key or token of this tab. */
export const key = {
  get: () => sessionStorage.getItem(KEY_SLOT),
  set: (value) => { value ? sessionStorage.setItem(KEY_SLOT, value) : sessionStorage.removeItem(KEY_SLOT); $('forget').hidden = !value; },
};

let asking = null;
/** Asks for a key, once for however many requests wait for it. */
function askKey(why) {
  asking ??= new Promise((resolve) => {
    const dialog = $('signin');
    $('signin-problem').textContent = why;
    $('signin-problem').hidden = !why;
    $('key').value = '';
    $('signin-form').onsubmit = () => { key.set($('key').value.trim()); $('key').value = ''; asking = null; resolve(); };
    dialog.oncancel = (event) => event.preventDefault();
    dialog.showModal();
  });
  return asking;
}

/** One request to the API; 401 asks for a key and tries again; other refusals throw `Refused`. */
export async function api(path, { method = 'GET', body, headers = {} } = {}) {
  for (;;) {
    const used = key.get();
    const all = { ...headers, ...(used && { authorization: `Bearer ${used}` }), ...(body && { 'content-type': 'application/json' }) };
    let response;
    try {
      response = await fetch(path, { method, headers: all, body: body && JSON.stringify(body), signal: AbortSignal.timeout(15_000) });
    } catch { throw new Refused(0); }
    if (response.ok) return response;
    if (response.status !== 401) throw new Refused(response.status, await response.json().catch(() => null));
    if (key.get() === used) await askKey(used ? 'That key was refused or has expired.' : '');
  }
}
/** The answer of `api` as JSON. */
export const json = async (path, options) => (await api(path, options)).json();
/** Path of a session. */
export const at = (id) => `/v1/sessions/${encodeURIComponent(id)}`;
