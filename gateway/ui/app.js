// The page: which view is shown, and what its buttons and keys do. Plain modules, no build step; nothing here needs inline
// script or style (CSP default-src 'none').
import { $, copy } from './dom.js';
import { HomeView, openForm, startSession } from './home.js';
import { key } from './server.js';
import { SessionView } from './session.js';

let view = null;

function route() {
  const asked = new URLSearchParams(location.search).get('session');
  if (asked) history.replaceState(null, '', `/#/s/${encodeURIComponent(asked)}`);
  const id = /^#\/s\/([^/?]+)/.exec(location.hash)?.[1];
  view?.stop();
  document.body.dataset.view = id ? 'session' : 'home';
  if (!id) theatre(false);
  view = id ? new SessionView(decodeURIComponent(id)) : new HomeView();
  view.start();
}

function theatre(on) {
  document.body.classList.toggle('theatre', on);
  $('theatre').setAttribute('aria-pressed', on);
  view?.lines?.follow();
}

function keys(event) {
  if (event.target.closest('input, textarea, dialog') || event.ctrlKey || event.metaKey || event.altKey || !view?.lines) return;
  if (event.key === 't') theatre(!document.body.classList.contains('theatre'));
  else if (event.key === 'Escape') { theatre(false); $('exports').open = false; }
  else if (event.key === 'End') view.lines.follow();
}

function wire() {
  $('forget').hidden = !key.get();
  $('forget').onclick = () => { key.set(''); location.reload(); };
  $('new').onclick = () => openForm($('start').hidden);
  $('start-cancel').onclick = () => openForm(false);
  $('start').onsubmit = (event) => { event.preventDefault(); startSession(event.target); };
  $('retry').onclick = () => view.feed?.retryNow();
  $('theatre').onclick = () => theatre(!document.body.classList.contains('theatre'));
  $('jump').onclick = () => view.lines?.follow();
  $('stop').onclick = () => view.end?.();
  $('stop').onblur = () => { $('stop').classList.remove('sure'); $('stop').textContent = 'Stop'; };
  $('reveal').onclick = () => view.ingestText($('reveal').getAttribute('aria-pressed') !== 'true');
  for (const button of document.querySelectorAll('[data-copy]')) button.onclick = () => copy(view.address()[button.dataset.copy]);
  for (const button of document.querySelectorAll('[data-format]')) button.onclick = () => { $('exports').open = false; view.download(button.dataset.format); };
  addEventListener('click', (event) => { if (!event.target.closest('#exports')) $('exports').open = false; });
  addEventListener('keydown', keys);
  addEventListener('hashchange', route);
  addEventListener('online', () => view?.feed?.retryNow());
  addEventListener('resize', () => { if (view?.lines?.following) view.lines.toEnd(); });
}

wire();
route();
