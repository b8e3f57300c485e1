// The list of lines and zones beside the picture, in which they are named, turned round and deleted.

import { nameFault } from "./geometry.js";
import { forward } from "./sketch.js";

// Brings the list up to what is drawn. `acts` is {choose, rename, turn, remove}, each of a site's id.
export function showSites(list, view, acts) {
  const shown = [...list.children].map((item) => item.dataset.site).join();
  if (shown !== view.sites.map((one) => one.id).join()) {
    list.replaceChildren(...view.sites.map((one) => listed(one, acts)));
  }
  view.sites.forEach((one, place) => {
    const item = list.children[place];
    const input = item.querySelector("input");
    item.classList.toggle("selected", one.id === view.selected);
    if (input.value !== one.name) {
      input.value = one.name;
    }
    input.setAttribute("aria-invalid", String(nameFault(one, view.sites) !== null));
    for (const button of item.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent} ${one.name}`);
    }
    item.querySelector(".way").textContent = one.kind === "line" ? way(view, one) : `${one.points.length} corners.`;
  });
}

// Which way is forward.
function way(view, { points }) {
  const [x, y] = forward(view, ...points);
  const [sideways, upright] = [x > 0 ? "right" : "left", y > 0 ? "bottom" : "top"];
  const isLevel = Math.abs(x) > 2 * Math.abs(y);
  const isUpright = Math.abs(y) > 2 * Math.abs(x);
  const words = isLevel ? sideways : isUpright ? upright : `${upright} ${sideways}`;
  return `Forward is towards the ${words} of the picture.`;
}

function listed({ id, kind, name }, acts) {
  const item = document.createElement("li");
  item.dataset.site = id;
  const label = document.createElement("label");
  label.htmlFor = `name-${id}`;
  label.textContent = kind === "line" ? "Line" : "Zone";
  const input = document.createElement("input");
  Object.assign(input, { id: `name-${id}`, value: name, maxLength: 32, autocomplete: "off", spellcheck: false });
  input.setAttribute("autocapitalize", "none");
  input.addEventListener("focus", () => acts.choose(id));
  input.addEventListener("input", () => acts.rename(id, input.value));
  const way = document.createElement("p");
  way.className = "way";
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  if (kind === "line") {
    buttons.append(button("Turn round", () => acts.turn(id)));
  }
  buttons.append(button("Delete", () => acts.remove(id)));
  item.append(label, input, way, buttons);
  return item;
}

function button(words, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.addEventListener("click", act);
  return made;
}
