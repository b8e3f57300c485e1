// Draws lines and zones over the picture of a street, by mouse, finger or keyboard, and writes them as the geometry block
// of the camera's file. What is drawn stays in this page: nothing is sent to the node.

import { MAX_CORNERS, MAX_SITES, faults, rounded, yaml } from "./geometry.js";
import { say, watch } from "./setup.js";
import { showSites } from "./sites.js";
import { draw, inPixels } from "./sketch.js";

const STEP = 0.005;
// How near to the first corner a click closes the zone, in pixels.
const NEAR = { mouse: 12, touch: 24 };

const byId = (id) => document.getElementById(id);
const setup = byId("setup");
if (setup) {
  edit(setup.dataset.camera, JSON.parse(byId("geometry").textContent));
  watch(setup, byId("background"), byId("stage"));
}

function edit(camera, given) {
  const [stage, overlay] = [byId("stage"), byId("overlay")];
  let nextId = 1;
  const view = {
    size: [1, 1],
    sites: [
      ...Object.entries(given.lines ?? {}).map(([name, line]) => site("line", name, [line.from, line.to])),
      ...Object.entries(given.zones ?? {}).map(([name, zone]) => site("zone", name, zone.polygon)),
    ],
    // The id of a site, and the place of a corner of it.
    selected: null,
    corner: null,
    // "line" or "zone" while one is drawn: its points so far, and where the pointer or the keyboard's cross is.
    mode: null,
    draft: [],
    cursor: null,
  };
  const givenNames = view.sites.map((one) => one.name);
  const history = [];
  let lastChange = "";
  let drag = null;
  // Whether what is drawn has been copied or downloaded.
  let isTaken = true;

  function site(kind, name, points) {
    return { id: nextId++, kind, name, points: points.map(([x, y]) => [rounded(x), rounded(y)]) };
  }

  function find(id) {
    return view.sites.find((one) => one.id === id);
  }

  // Keeps what was, for undo. Changes of the same kind in a row are undone as one.
  function remember(change) {
    if (change !== lastChange || change === "") {
      history.push(JSON.stringify(view.sites));
    }
    lastChange = change;
    isTaken = false;
  }

  function undo() {
    if (view.mode && view.draft.length > 0) {
      view.draft.pop();
    } else if (view.mode) {
      leaveMode();
    } else if (history.length > 0) {
      view.sites = JSON.parse(history.pop());
      lastChange = "";
      isTaken = false;
      view.selected = find(view.selected) ? view.selected : null;
      view.corner = null;
    }
    show();
  }

  function select(id, corner) {
    Object.assign(view, { selected: id, corner });
    show();
  }

  // ---- What is shown.

  function showOverlay() {
    view.size = [stage.clientWidth || 1, stage.clientHeight || 1];
    const focused = overlay.contains(document.activeElement) ? document.activeElement.dataset : {};
    draw(overlay, view);
    if (focused.corner !== undefined) {
      focusCorner(focused.site, focused.corner);
    }
  }

  function focusCorner(id, corner) {
    overlay.querySelector(`[data-site="${id}"][data-corner="${corner}"]`)?.focus({ preventScroll: true });
  }

  function hint() {
    const { mode, draft } = view;
    if (mode === "line") {
      return draft.length === 0
        ? "Click where the line begins. With the keyboard: arrow keys move the cross, Space sets a point."
        : "Click where the line ends. The arrow shows which way is forward. Escape cancels.";
    }
    if (mode === "zone") {
      return draft.length < 3
        ? "Click the zone's corners one after the other. With the keyboard: arrow keys move the cross, Space sets a corner."
        : "Click the first corner, or press Enter, to close the zone. Escape cancels.";
    }
    return matchMedia("(pointer: coarse)").matches
      ? "Drag a corner to move it; drag a small point between two corners to add one."
      : "Drag a corner, or move it with the arrow keys (Shift: further); Delete removes it, + adds one behind it.";
  }

  function show() {
    const { sites, mode, draft, corner } = view;
    showOverlay();
    showSites(byId("sites"), view, acts);
    say("hint", hint());
    for (const kind of ["line", "zone"]) {
      byId(`add-${kind}`).setAttribute("aria-pressed", String(mode === kind));
      byId(`add-${kind}`).disabled = mode === null && sites.length >= MAX_SITES;
    }
    byId("finish").hidden = mode !== "zone" || draft.length < 3;
    byId("cancel").hidden = mode === null;
    byId("undo").disabled = mode === null && history.length === 0;
    byId("delete-corner").disabled = corner === null || !canLose(find(view.selected));
    showResult();
  }

  function showResult() {
    const found = faults(view.sites);
    const shown = [...byId("faults").children].map((item) => item.textContent);
    if (shown.join("\n") !== found.join("\n")) {
      byId("faults").replaceChildren(...found.map((words) => {
        const item = document.createElement("li");
        item.textContent = words;
        return item;
      }));
    }
    const gone = givenNames.filter((name) => !view.sites.some((one) => one.name === name));
    byId("gone").hidden = gone.length === 0;
    say("gone", `No longer there: ${gone.join(", ")}. Operators that name what is gone must be changed too.`);
    const text = byId("yaml");
    text.value = found.length > 0 ? "" : yaml(view.sites, given.ground);
    text.placeholder = found.length > 0 ? "Put right what is wrong first: it stands beside the picture." : "";
    text.rows = Math.max(4, text.value.split("\n").length);
    byId("copy").disabled = byId("download").disabled = found.length > 0 || view.mode !== null;
  }

  const acts = {
    choose: (id) => select(id, null),
    rename(id, name) {
      remember(`name ${id}`);
      find(id).name = name;
      show();
    },
    turn(id) {
      remember("");
      find(id).points.reverse();
      select(id, null);
    },
    remove(id) {
      remember("");
      view.sites = view.sites.filter((one) => one.id !== id);
      select(null, null);
      byId("add-line").focus();
    },
  };

  // ---- A new line or zone.

  function enterMode(kind) {
    if (view.mode === kind) {
      leaveMode();
      show();
      return;
    }
    Object.assign(view, { mode: kind, draft: [], cursor: null, selected: null, corner: null });
    show();
    overlay.focus({ preventScroll: true });
  }

  function leaveMode() {
    Object.assign(view, { mode: null, draft: [], cursor: null });
  }

  function freeName(kind) {
    for (let number = 1; ; number++) {
      if (!view.sites.some((one) => one.name === `${kind}-${number}`)) {
        return `${kind}-${number}`;
      }
    }
  }

  function finish(isTouch) {
    const made = site(view.mode, freeName(view.mode), view.draft);
    remember("");
    view.sites.push(made);
    leaveMode();
    select(made.id, null);
    // Its name is the next thing to be said; on a telephone a keyboard would cover the picture.
    if (!isTouch) {
      byId(`name-${made.id}`).focus({ preventScroll: true });
      byId(`name-${made.id}`).select();
    }
  }

  function pixelsBetween(a, b) {
    const [[ax, ay], [bx, by]] = [inPixels(view, a), inPixels(view, b)];
    return Math.hypot(bx - ax, by - ay);
  }

  function setPoint(point, isTouch) {
    const { mode, draft } = view;
    if (draft.length > 0 && pixelsBetween(draft.at(-1), point) < 3) {
      return; // the second half of a double click
    }
    const closes = mode === "zone" && draft.length >= 3
      && pixelsBetween(draft[0], point) < (isTouch ? NEAR.touch : NEAR.mouse);
    if (!closes) {
      draft.push(point);
    }
    if (closes || draft.length === (mode === "line" ? 2 : MAX_CORNERS)) {
      finish(isTouch);
    } else {
      show();
    }
  }

  function moved([x, y], event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const step = event.shiftKey ? 10 * STEP : STEP;
    return way && [rounded(x + way[0] * step), rounded(y + way[1] * step)];
  }

  function keyWhileDrawing(event) {
    const { mode, draft } = view;
    const at = view.cursor ?? draft.at(-1) ?? [0.5, 0.5];
    const to = moved(at, event);
    if (to) {
      view.cursor = to;
      show();
    } else if (event.key === " " || (event.key === "Enter" && mode === "line")) {
      view.cursor = at;
      setPoint(at, false);
    } else if (event.key === "Enter" && draft.length >= 3) {
      finish(false);
    } else if (event.key === "Backspace" || event.key === "Delete") {
      undo();
    } else {
      return;
    }
    event.preventDefault();
  }

  // ---- What is there already.

  function canLose(one) {
    return one?.kind === "zone" && one.points.length > 3;
  }

  function keyOnCorner(event, one, place) {
    const to = moved(one.points[place], event);
    if (to) {
      remember(`move ${one.id} ${place}`);
      one.points[place] = to;
      select(one.id, place);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      deleteCorner(one, place);
    } else if (event.key === "+" && one.kind === "zone" && one.points.length < MAX_CORNERS) {
      addCorner(one, place);
      select(one.id, place + 1);
      focusCorner(one.id, place + 1);
    } else {
      return;
    }
    event.preventDefault();
  }

  function addCorner(one, after) {
    const [from, to] = [one.points[after], one.points[(after + 1) % one.points.length]];
    remember("");
    one.points.splice(after + 1, 0, [rounded((from[0] + to[0]) / 2), rounded((from[1] + to[1]) / 2)]);
  }

  function deleteCorner(one, place) {
    if (canLose(one)) {
      remember("");
      one.points.splice(place, 1);
      select(one.id, null);
      focusCorner(one.id, Math.max(0, place - 1));
    }
  }

  // ---- Pointer and keys.

  function pointAt(event) {
    const box = overlay.getBoundingClientRect();
    return [rounded((event.clientX - box.left) / box.width), rounded((event.clientY - box.top) / box.height)];
  }

  // What a finger reaches of two corners may overlap: the nearer one is meant, and of two at one place the selected one.
  function nearestCorner(point) {
    const all = view.sites.flatMap((one) => one.points.map((at, corner) => {
      const away = pixelsBetween(at, point) - (one.id === view.selected ? 0.5 : 0);
      return { one, corner, away };
    }));
    return all.reduce((nearest, other) => (other.away < nearest.away ? other : nearest));
  }

  overlay.addEventListener("click", (event) => {
    if (view.mode) {
      setPoint(pointAt(event), event.pointerType === "touch");
    }
  });
  overlay.addEventListener("pointerdown", (event) => {
    const { site: id, corner, after } = event.target.closest("[data-site]")?.dataset ?? {};
    if (view.mode || event.button !== 0) {
      return;
    }
    if (corner !== undefined) {
      drag = { ...nearestCorner(pointAt(event)), isRemembered: false };
    } else if (after !== undefined) {
      addCorner(find(Number(id)), Number(after));
      drag = { one: find(Number(id)), corner: Number(after) + 1, isRemembered: true };
    } else {
      select(find(Number(id))?.id ?? null, null);
      return;
    }
    // Corners are made anew as they move, so the picture holds the pointer. They are not made anew before the finger's own
    // event has come, which goes to the one that it is on.
    event.preventDefault();
    overlay.setPointerCapture(event.pointerId);
    const { one, corner: chosen } = drag;
    requestAnimationFrame(() => {
      select(one.id, chosen);
      focusCorner(one.id, chosen);
    });
  });
  // Else a finger on a corner would scroll the page.
  overlay.addEventListener("touchstart", (event) => {
    if (!view.mode && event.target.closest(".handle")) {
      event.preventDefault();
    }
  }, { passive: false });
  overlay.addEventListener("pointermove", (event) => {
    if (view.mode && event.pointerType !== "touch") {
      view.cursor = pointAt(event);
      showOverlay();
    } else if (drag) {
      if (!drag.isRemembered) {
        remember("");
        drag.isRemembered = true;
      }
      drag.one.points[drag.corner] = pointAt(event);
      show();
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    overlay.addEventListener(end, () => {
      drag = null;
    });
  }
  overlay.addEventListener("pointerleave", () => {
    if (view.mode) {
      view.cursor = null;
      showOverlay();
    }
  });
  overlay.addEventListener("focusin", (event) => {
    const [id, corner] = [Number(event.target.dataset.site), Number(event.target.dataset.corner)];
    if (event.target.dataset.corner !== undefined && (view.selected !== id || view.corner !== corner)) {
      select(id, corner);
    }
  });
  overlay.addEventListener("keydown", (event) => {
    const { site: id, corner } = event.target.dataset;
    if (view.mode) {
      keyWhileDrawing(event);
    } else if (corner !== undefined) {
      keyOnCorner(event, find(Number(id)), Number(corner));
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      leaveMode();
      select(null, null);
    } else if (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey) && event.target.tagName !== "INPUT") {
      undo();
      event.preventDefault();
    }
  });
  byId("add-line").addEventListener("click", () => enterMode("line"));
  byId("add-zone").addEventListener("click", () => enterMode("zone"));
  byId("finish").addEventListener("click", () => finish(true));
  byId("cancel").addEventListener("click", () => {
    leaveMode();
    show();
  });
  byId("undo").addEventListener("click", undo);
  byId("delete-corner").addEventListener("click", () => deleteCorner(find(view.selected), view.corner));

  // ---- Taking it away.

  byId("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("yaml").value);
    } catch {
      // Without that right the text is chosen, for the keyboard to copy.
      byId("yaml").select();
      say("copied", "Press Ctrl+C to copy the text that is chosen.");
      return;
    }
    isTaken = true;
    say("copied", "Copied.");
  });
  byId("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([byId("yaml").value], { type: "application/yaml" }));
    link.download = `${camera}.geometry.yaml`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    isTaken = true;
    say("copied", `Saved as ${link.download}.`);
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isTaken) {
      event.preventDefault();
    }
  });

  new ResizeObserver(showOverlay).observe(stage);
  show();
}
