// The time that is left of the set-up mode, and the picture while there is time.

const POLL_MS = 2000;
const PATIENCE_MS = 4000;
const STILL_HERE = "What is drawn is still here: copy or download it.";

const byId = (id) => document.getElementById(id);

// Changes a text, unless it is that already: a reader of the screen says it each time.
export function say(id, words) {
  if (byId(id).textContent !== words) {
    byId(id).textContent = words;
  }
}

export function watch(setup, background, stage) {
  const { camera, left } = setup.dataset;
  let ends = performance.now() + Number(left) * 1000;
  let hasEnded = false;
  let shownWords = "";

  function end(words) {
    hasEnded = true;
    clearInterval(clock);
    background.hidden = true;
    background.removeAttribute("src");
    setup.hidden = true;
    byId("picture").hidden = true;
    byId("ended").textContent = `${words} ${STILL_HERE}`;
    byId("ended").hidden = false;
  }

  function showTime() {
    const secs = Math.max(0, Math.round((ends - performance.now()) / 1000));
    say("left", secs >= 60 ? `${Math.floor(secs / 60)} min ${secs % 60} s` : `${secs} s`);
    if (secs === 0) {
      end("The time is over, and the picture is gone.");
    }
  }

  function showPicture() {
    const words = byId("picture-words").textContent;
    if (byId("picture").dataset.ready === "true" && words !== shownWords) {
      shownWords = words;
      background.src = `/setup/background.png?at=${Date.now()}`;
    }
  }

  async function poll() {
    try {
      const answer = await fetch("/setup", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("setup");
      if (answer.ok && fresh?.dataset.camera !== camera) {
        end("The set-up mode of this camera is off, and the picture is gone.");
      } else if (answer.ok && !hasEnded) {
        ends = performance.now() + Number(fresh.dataset.left) * 1000;
        const picture = page.getElementById("picture");
        byId("picture").dataset.ready = picture.dataset.ready;
        byId("picture").replaceChildren(...picture.childNodes);
        showPicture();
      }
    } catch {
      say("picture-words", "The node does not answer at the moment.");
    }
    if (!hasEnded) {
      setTimeout(poll, POLL_MS);
    }
  }

  background.addEventListener("load", () => {
    background.hidden = false;
    stage.style.aspectRatio = `${background.naturalWidth} / ${background.naturalHeight}`;
  });
  // It may be gone between two answers; the next one says whether it comes again.
  background.addEventListener("error", () => {
    background.hidden = true;
    shownWords = "";
  });
  const clock = setInterval(showTime, 1000);
  showTime();
  showPicture();
  setTimeout(poll, POLL_MS);
}
