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
  overlay.replaceChildren(...order.map((one) => drawn(view, one)), ...drawnDraft(view));
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

function arrow(view, from, to) {
  const [x, y] = forward(view, from, to);
  const [[ax, ay], [bx, by]] = [inPixels(view, from), inPixels(view, to)];
  let [mx, my] = [(ax + bx) / 2, (ay + by) / 2];
  const [width, height] = view.size;
  const isOutside = (px, py) => px < 8 || py < 8 || px > width - 8 || py > height - 8;
  if (isOutside(mx + x * ARROW, my + y * ARROW)) {
    // At the border it comes from the other side, so that its tip is seen.
    [mx, my] = [mx - x * (ARROW - 10), my - y * (ARROW - 10)];
  }
  const [tx, ty] = [mx + x * ARROW, my + y * ARROW];
  const [sx, sy] = [tx - x * 13, ty - y * 13];
  const shaft = `M${mx} ${my}L${sx} ${sy}`;
  const tip = `M${tx} ${ty}L${sx - y * 7} ${sy + x * 7}L${sx + y * 7} ${sy - x * 7}Z`;
  // Ahead of the tip, further where the arrow points along the word.
  const [lx, ly] = [tx + x * (12 + 26 * Math.abs(x)), ty + y * (12 + 26 * Math.abs(x))];
  const label = element("text", { x: clamp(lx, 34, width - 34), y: clamp(ly, 10, height - 10) }, "forward");
  return [
    element("path", { class: "halo", d: shaft }), element("path", { class: "stroke", d: shaft }),
    element("path", { class: "tip", d: tip }), label,
  ];
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}

function handle(view, one, place) {
  const [x, y] = inPixels(view, one.points[place]);
  const isChosen = one.id === view.selected && place === view.corner;
  const what = one.kind === "line" ? ["from", "to"][place] : `corner ${place + 1} of ${one.points.length}`;
  return element(
    "g",
    {
      class: `handle ${what}${isChosen ? " chosen" : ""}`, "data-site": one.id, "data-corner": place, tabindex: 0, role: "button",
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
  const centre = [0, 1].map((axis) => one.points.reduce((sum, point) => sum + point[axis], 0) / one.points.length);
  let [x, y] = inPixels(view, centre);
  if (!isZone) {
    // On the side that the arrow does not point to.
    const [nx, ny] = forward(view, ...one.points);
    [x, y] = [x - nx * 16 - Math.abs(nx) * nx * 4 * one.name.length, y - ny * 16];
  }
  const classes = [one.kind, one.id === view.selected && "selected", (nameFault(one, view.sites) || shapeFault(one)) && "faulty"];
  return element(
    "g",
    { class: classes.filter(Boolean).join(" ") },
    ...(isZone ? [element("path", { class: "area", d })] : []),
    element("path", { class: "halo", d }),
    element("path", { class: "stroke", d }),
    ...(isZone ? [] : arrow(view, ...one.points)),
    element("path", { class: "hit", d, "data-site": one.id }),
    element("text", { x: clamp(x, 4 * one.name.length + 6, view.size[0] - 4 * one.name.length - 6), y: clamp(y, 10, view.size[1] - 10) }, one.name),
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
    parts.push(...arrow(view, ...points));
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
