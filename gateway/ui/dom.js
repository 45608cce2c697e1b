// Small things that every part of the page does with the document.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** A new element; text is always text, never markup. */
export const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};

/** The line above the transcript; empty hides it. */
export function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = !text;
}

let toastTimer;

/** A message that goes away by itself. */
export function toast(text) {
  clearTimeout(toastTimer);
  $('toast').textContent = text;
  $('toast').hidden = false;
  toastTimer = setTimeout(() => { $('toast').hidden = true; }, 4000);
}

/** Puts text on the clipboard, also where the page is not served over TLS. */
export async function copy(text) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else {
    const area = make('textarea', 'unseen', text);
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  toast('Copied');
}
