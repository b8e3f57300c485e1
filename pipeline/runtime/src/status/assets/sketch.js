// Draws lines, zones and their corners over the picture, in pixels, so that a corner is as large on each screen.
// A view is {size: [width, height], sites, selected, corner, mode, draft, cursor}; drawing.js says what these are.

import { MAX_CORNERS, nameFault, shapeFault } from "./geometry.js";

const SVG = "http://www.w3.org/2000/svg";
const ARROW = 44;

// Puts all of it into the overlay, anew.
export function draw(overlay, view) {
  overlay.setAttribute("viewBox", `0 0 ${view.size.join(" ")}`);
  overlay.classList.toggle("drawing", view.mode !== null);
  // Lines over zones, whose areas would dim them; the selected one last, so that its corners lie on top.
  const height = (one) => (one.id === view.selected ? 2 : one.kind === "line" ? 1 : 0);
  const order = [...view.sites].sort((a, b) => height(a) - height(b));
  const names = order.flatMap((one) => words(view, one.points, one.kind, one.name));
  overlay.replaceChildren(...order.map((one) => drawn(view, one)), ...names, ...drawnDraft(view));
}

// A point of the file in the pixels that the picture has at the moment.
export function inPixels({ size: [width, height] }, [x, y]) {
  return [x * width, y * height];
}

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function pathOf(view, points, isClosed) {
  const text = points.map((point) => inPixels(view, point)).map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
  return `M${text}${isClosed ? "Z" : ""}`;
}

// The side to the right of who walks over the picture from the first point to the second. Image y points down: the right
// hand of (x, y) is (-y, x).
export function forward(view, from, to) {
  const [[ax, ay], [bx, by]] = [inPixels(view, from), inPixels(view, to)];
  const length = Math.hypot(bx - ax, by - ay);
  return length > 0 ? [-(by - ay) / length, (bx - ax) / length] : [0, 0];
}

// Where a line's arrow begins and ends, in pixels. At the border it comes from the other side, so that its tip is seen.
function shaft(view, from, to) {
  const [x, y] = forward(view, from, to);
  const [[ax, ay], [bx, by]] = [inPixels(view, from), inPixels(view, to)];
  const [mx, my] = [(ax + bx) / 2, (ay + by) / 2];
  const [tx, ty] = [mx + x * ARROW, my + y * ARROW];
  const [width, height] = view.size;
  const isTurned = tx < 8 || ty < 8 || tx > width - 8 || ty > height - 8;
  const back = isTurned ? ARROW - 10 : 0;
  return { way: [x, y], start: [mx - x * back, my - y * back], tip: [tx - x * back, ty - y * back], isTurned };
}

function arrow(view, from, to) {
  const { way: [x, y], start, tip: [tx, ty] } = shaft(view, from, to);
  const [sx, sy] = [tx - x * 13, ty - y * 13];
  const d = `M${start.join(" ")}L${sx} ${sy}`;
  return [
    element("path", { class: "halo", d }),
    element("path", { class: "stroke", d }),
    element("path", { class: "tip", d: `M${tx} ${ty}L${sx - y * 7} ${sy + x * 7}L${sx + y * 7} ${sy - x * 7}Z` }),
  ];
}

// A word beside a place, on that side of it, and within the picture.
function word(view, text, [x, y], [right, down]) {
  const half = 4.2 * text.length + 3;
  const [width, height] = view.size;
  const [wx, wy] = [x + right * (12 + half * Math.abs(right)), y + down * (12 + 5 * Math.abs(down))];
  return element("text", { x: clamp(wx, half, width - half), y: clamp(wy, 10, height - 10) }, text);
}

// The name, and of a line which way is forward: above all shapes, since one may lie over another.
function words(view, points, kind, name) {
  if (kind === "zone") {
    const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    return [word(view, name, inPixels(view, middle), [0, 0])];
  }
  const { way, start, tip, isTurned } = shaft(view, ...points);
  const back = way.map((part) => -part);
  if (!isTurned) {
    return [word(view, "forward", tip, way), word(view, name, start, back)];
  }
  // There is room on one side only: the name stands nearer to the line's end.
  const [from, to] = points.map((point) => inPixels(view, point));
  const nearEnd = [0, 1].map((axis) => from[axis] + 0.85 * (to[axis] - from[axis]));
  return [word(view, "forward", start, back), word(view, name, nearEnd, back)];
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}

function handle(view, one, place) {
  const [x, y] = inPixels(view, one.points[place]);
  const isChosen = one.id === view.selected && place === view.corner;
  const end = one.kind === "line" ? ["from", "to"][place] : "";
  const what = end || `corner ${place + 1} of ${one.points.length}`;
  return element(
    "g",
    {
      class: `handle ${end} ${isChosen ? "chosen" : ""}`,
      "data-site": one.id,
      "data-corner": place,
      tabindex: 0,
      role: "button",
      "aria-label": `${one.name}, ${what}: ${one.points[place].join(", ")}`,
    },
    element("circle", { class: "touch", cx: x, cy: y, r: matchMedia("(pointer: coarse)").matches ? 20 : 11 }),
    element("circle", { class: "dot", cx: x, cy: y, r: one.id === view.selected ? 7 : 5 }),
  );
}

function middles(view, one) {
  if (one.kind !== "zone" || one.id !== view.selected || one.points.length >= MAX_CORNERS) {
    return [];
  }
  return one.points.map((point, place) => {
    const next = one.points[(place + 1) % one.points.length];
    const [x, y] = inPixels(view, [(point[0] + next[0]) / 2, (point[1] + next[1]) / 2]);
    return element(
      "g",
      { class: "handle middle", "data-site": one.id, "data-after": place },
      element("circle", { class: "touch", cx: x, cy: y, r: 10 }),
      element("circle", { class: "dot", cx: x, cy: y, r: 4 }),
    );
  });
}

function drawn(view, one) {
  const isZone = one.kind === "zone";
  const d = pathOf(view, one.points, isZone);
  const isFaulty = nameFault(one, view.sites) || shapeFault(one);
  const classes = [one.kind, one.id === view.selected && "selected", isFaulty && "faulty"];
  return element(
    "g",
    { class: classes.filter(Boolean).join(" ") },
    ...(isZone ? [element("path", { class: "area", d })] : []),
    element("path", { class: "halo", d }),
    element("path", { class: "stroke", d }),
    ...(isZone ? [] : arrow(view, ...one.points)),
    element("path", { class: "hit", d, "data-site": one.id }),
    ...middles(view, one),
    ...one.points.map((_, place) => handle(view, one, place)),
  );
}

function drawnDraft(view) {
  const { mode, draft, cursor } = view;
  if (!mode) {
    return [];
  }
  const points = cursor ? [...draft, cursor] : draft;
  const parts = [];
  if (points.length > 1) {
    const d = pathOf(view, points, mode === "zone" && points.length > 2);
    parts.push(element("path", { class: "halo", d }), element("path", { class: "stroke", d }));
  }
  if (mode === "line" && points.length === 2 && points[0].join() !== points[1].join()) {
    parts.push(...arrow(view, ...points), words(view, points, "line", "")[0]);
  }
  for (const [x, y] of draft.map((point) => inPixels(view, point))) {
    parts.push(element("g", { class: "handle" }, element("circle", { class: "dot", cx: x, cy: y, r: 6 })));
  }
  if (cursor) {
    const [x, y] = inPixels(view, cursor);
    parts.push(element("path", { class: "halo", d: `M${x - 10} ${y}h20M${x} ${y - 10}v20` }));
    parts.push(element("path", { class: "cross", d: `M${x - 10} ${y}h20M${x} ${y - 10}v20` }));
  }
  return [element("g", { class: mode }, ...parts)];
}
