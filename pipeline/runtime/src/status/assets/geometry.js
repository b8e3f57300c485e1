// The rules that `kerbside check` has for lines and zones, in its words, and the block that it reads.
// A site is {kind: "line" or "zone", name, points: [[x, y], …]}, in parts of the picture from its top left.

export const MAX_SITES = 64;
export const MAX_CORNERS = 64;
const NAME = /^[a-z][a-z0-9_-]{0,31}$/;
const MIN_LENGTH = 0.01;
const MIN_AREA = 0.0005;
const LINE_WIDTH = 110;

// A coordinate as the file has it: within the picture, with four decimals.
export function rounded(value) {
  return Math.round(Math.min(1, Math.max(0, value)) * 1e4) / 1e4;
}

// What is wrong with a name; null where nothing is.
export function nameFault(one, sites) {
  if (!NAME.test(one.name)) {
    return "a name has 1 to 32 lower-case letters, digits, '-' and '_' and begins with a letter";
  }
  const twin = sites.find((other) => other !== one && other.name === one.name);
  return twin ? `a ${twin.kind} has this name too; each name once among lines and zones` : null;
}

// What is wrong with a shape; null where nothing is.
export function shapeFault({ kind, points }) {
  // The node reads coordinates as numbers of 32 bits.
  const exact = points.map((point) => point.map(Math.fround));
  if (kind === "line") {
    const length = Math.hypot(exact[1][0] - exact[0][0], exact[1][1] - exact[0][1]);
    return length < MIN_LENGTH ? "the line is too short: a hundredth of the picture is the least" : null;
  }
  if (points.length < 3 || points.length > MAX_CORNERS) {
    return `the zone has ${points.length} corners; 3 to ${MAX_CORNERS} are allowed`;
  }
  return polygonFault(exact);
}

function polygonFault(corners) {
  const count = corners.length;
  const edges = corners.map((from, place) => [from, corners[(place + 1) % count]]);
  const same = edges.findIndex(([a, b]) => a[0] === b[0] && a[1] === b[1]);
  if (same >= 0) {
    return `corners ${same + 1} and ${((same + 1) % count) + 1} are at the same place`;
  }
  for (let i = 0; i < count; i++) {
    for (let j = i + 1; j < count; j++) {
      let crosses;
      if (j === i + 1) {
        crosses = doublesBack(edges[i], edges[j][1]);
      } else if (i === 0 && j === count - 1) {
        crosses = doublesBack(edges[j], edges[i][1]);
      } else {
        crosses = touch(edges[i], edges[j]);
      }
      if (crosses) {
        return `the edge after corner ${j + 1} touches or crosses the one after corner ${i + 1}`;
      }
    }
  }
  const doubled = edges.reduce((sum, [[ax, ay], [bx, by]]) => sum + ax * by - bx * ay, 0);
  return Math.abs(doubled) / 2 < MIN_AREA ? "the zone is too small: 0.05 % of the picture is the least" : null;
}

function turn(a, b, c) {
  return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
}

function doublesBack([a, b], next) {
  const ahead = (b[0] - a[0]) * (next[0] - b[0]) + (b[1] - a[1]) * (next[1] - b[1]);
  return turn(a, b, next) === 0 && ahead < 0;
}

function touch([a, b], [c, d]) {
  const sides = [turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)];
  const [cSide, dSide, aSide, bSide] = sides.map(Math.sign);
  if (cSide !== dSide && aSide !== bSide) {
    return true;
  }
  const within = (p, q, point) => [0, 1].every(
    (axis) => Math.min(p[axis], q[axis]) <= point[axis] && point[axis] <= Math.max(p[axis], q[axis]),
  );
  return (sides[0] === 0 && within(a, b, c)) || (sides[1] === 0 && within(a, b, d))
    || (sides[2] === 0 && within(c, d, a)) || (sides[3] === 0 && within(c, d, b));
}

// Everything that is wrong, in sentences.
export function faults(sites) {
  const found = sites.flatMap((one) => [nameFault(one, sites), shapeFault(one)]
    .filter(Boolean)
    .map((words) => `${one.name || `a ${one.kind} without a name`}: ${words}.`));
  if (sites.length > MAX_SITES) {
    found.push(`There are ${sites.length} lines and zones; at most ${MAX_SITES} are allowed.`);
  }
  return found;
}

function pair([x, y]) {
  const number = (value) => value.toFixed(4).replace(/0$/, "");
  return `[${number(x)}, ${number(y)}]`;
}

// The ground is kept as it is, without the digits that a number of 32 bits brings along.
function plainPair(point) {
  return `[${point.map((value) => String(Number(value.toFixed(6)))).join(", ")}]`;
}

// A list in one line, or in several where it is long.
function list(head, points, tail, indent) {
  const line = `${head}[${points.join(", ")}]${tail}`;
  if (line.length <= LINE_WIDTH) {
    return [line];
  }
  const lines = [`${head}[`];
  points.forEach((point, place) => {
    const text = point + (place + 1 < points.length ? ", " : `]${tail}`);
    if (place > 0 && (lines.at(-1) + text).trimEnd().length > LINE_WIDTH) {
      lines[lines.length - 1] = lines.at(-1).trimEnd();
      lines.push(" ".repeat(indent));
    }
    lines[lines.length - 1] += text;
  });
  return lines;
}

// The block as it stands in a camera's file.
export function yaml(sites, ground) {
  const lines = sites.filter((one) => one.kind === "line");
  const zones = sites.filter((one) => one.kind === "zone");
  const text = [];
  if (lines.length > 0) {
    text.push("  lines:");
    text.push(...lines.map(({ name, points: [from, to] }) => `    ${name}: {from: ${pair(from)}, to: ${pair(to)}}`));
  }
  if (zones.length > 0) {
    text.push("  zones:");
    for (const { name, points } of zones) {
      const short = list(`    ${name}: {polygon: `, points.map(pair), "}", 0);
      text.push(...(short.length === 1
        ? short
        : [`    ${name}:`, ...list("      polygon: ", points.map(pair), "", 16)]));
    }
  }
  if (ground) {
    text.push("  ground:");
    text.push(...list("    image: ", ground.image.map(plainPair), "", 12));
    text.push(...list("    metres: ", ground.metres.map(plainPair), "", 13));
  }
  return text.length > 0 ? `geometry:\n${text.join("\n")}\n` : "geometry: {}\n";
}
