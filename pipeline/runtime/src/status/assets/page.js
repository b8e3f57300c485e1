// Fetches the page again while somebody looks at it, and puts what has changed into the one that is shown.
"use strict";

const EVERY_MS = 5000;
const PATIENCE_MS = 4000;

// What was received last, by the id of its part: what is shown differs from it, since times are rewritten and tables opened.
const received = new Map();
let answeredAt = new Date();
let timer;

const formats = {
  full: { dateStyle: "medium", timeStyle: "medium" },
  minutes: { hour: "2-digit", minute: "2-digit" },
  seconds: { hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

function parts(page) {
  return page.querySelectorAll("#taken, main > [id]");
}

// Times of the browser, with UTC on pointing.
function showTimes(within) {
  for (const time of within.querySelectorAll("time[data-show]")) {
    const at = new Date(time.dateTime);
    time.title = time.dateTime;
    time.textContent = at.toLocaleString("en-GB", formats[time.dataset.show]);
  }
}

// Replaces what a part holds, and not the part: a reader of the screen follows the summary itself.
function put(part, fresh) {
  const open = [...part.querySelectorAll("details[open]")].map((details) => details.id);
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  // Links have no id, but an address that none of their neighbours has.
  const focus = focused && (focused.id ? `#${focused.id}` : `a[href="${focused.getAttribute("href")}"]`);
  part.className = fresh.className;
  part.hidden = fresh.hidden;
  part.replaceChildren(...fresh.childNodes);
  showTimes(part);
  for (const id of open) {
    part.querySelector(`#${id}`)?.setAttribute("open", "");
  }
  if (focus) {
    part.querySelector(focus)?.focus({ preventScroll: true });
  }
}

async function refresh() {
  clearTimeout(timer);
  if (document.hidden) {
    return;
  }
  const unanswered = document.getElementById("unanswered");
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!answer.ok) {
      throw new Error(`status ${answer.status}`);
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const scroll = [window.scrollX, window.scrollY];
    for (const fresh of parts(page)) {
      const text = fresh.outerHTML;
      const part = document.getElementById(fresh.id);
      if (part && received.get(fresh.id) !== text) {
        put(part, fresh);
        received.set(fresh.id, text);
      }
    }
    document.title = page.title;
    window.scrollTo(...scroll);
    answeredAt = new Date();
    unanswered.hidden = true;
  } catch {
    const words = `The node does not answer. What you see is from ${answeredAt.toLocaleString("en-GB", formats.full)}.`;
    if (unanswered.hidden || unanswered.textContent !== words) {
      unanswered.textContent = words;
      unanswered.hidden = false;
    }
  }
  timer = setTimeout(refresh, EVERY_MS);
}

for (const part of parts(document)) {
  received.set(part.id, part.outerHTML);
}
showTimes(document);
document.addEventListener("visibilitychange", refresh);
timer = setTimeout(refresh, EVERY_MS);
