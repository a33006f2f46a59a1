// Elements, without a framework. Text enters as text nodes only, so that no file name can become markup, and
// styles by property, since the page's policy allows no style attribute.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected", "readOnly", "multiple", "htmlFor"]);

// h("button.primary#go", { onclick, "aria-label": "Go" }, "text", element, ...)
export const h = (spec, given = {}, ...children) => {
  const [tag, ...marks] = spec.split(/(?=[#.])/);
  const element = document.createElement(tag);
  for (const mark of marks) if (mark[0] === "#") element.id = mark.slice(1); else element.classList.add(mark.slice(1));
  let value;
  for (const [name, wanted] of Object.entries(given)) {
    if (name === "value") value = wanted; // last: a range clips it to its bounds
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), wanted);
    else set(element, name, wanted);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  if (value !== undefined) element.value = value;
  return element;
};

export const set = (element, name, value) => {
  if (PROPERTIES.has(name)) element[name] = value;
  else if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
};

export const place = (element, styles) => {
  for (const [name, value] of Object.entries(styles)) element.style.setProperty(name, value);
};

const ICONS = {
  play: "M5 3.5v9l7.5-4.5z", pause: "M4.5 3h2.5v10H4.5zM9 3h2.5v10H9z", back: "M10.5 3.5v9L4 8z", next: "M5.5 3.5v9L12 8z",
  undo: "M6 3 2.5 6.5 6 10M3 6.5h6a3.5 3.5 0 0 1 0 7H6.5", redo: "M10 3l3.5 3.5L10 10M13 6.5H7a3.5 3.5 0 0 0 0 7h2.5",
  up: "M8 13V3.5M4 7.5l4-4 4 4", down: "M8 3v9.5M4 8.5l4 4 4-4", copy: "M6 5.5h7v8H6zM10 5V2.5H3v8h2.5",
  remove: "M4 4l8 8M12 4l-8 8", add: "M8 3v10M3 8h10", reset: "M3.5 8a4.5 4.5 0 1 0 1.5-3.3M3 2.5V5.5h3",
  save: "M8 2.5v7.5M4.5 7 8 10.5 11.5 7M3 13.5h10", lock: "M4 7.5h8v6H4zM5.5 7V5a2.5 2.5 0 0 1 5 0v2", fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  minus: "M3.5 8h9", help: "M6 6a2 2 0 1 1 2.8 1.9c-.6.3-.8.7-.8 1.4M8 12v.2", tick: "M3 8.5l3.5 3.5L13 4.5", open: "M2.5 13V4h4l1.5 1.5h5.5V13z",
  reverse: "M13 5H4M6.5 2.5 4 5l2.5 2.5M3 11h9M9.5 8.5 12 11l-2.5 2.5", drag: "M6 4v.1M10 4v.1M6 8v.1M10 8v.1M6 12v.1M10 12v.1", more: "M4 6l4 4 4-4",
};
const FILLED = new Set(["play", "pause", "back", "next"]);

export const icon = (name) => {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", class: FILLED.has(name) ? "icon filled" : "icon", "aria-hidden": "true" })) svg.setAttribute(key, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
};

// A button that shows a sign only, and says its name to those who do not see it and in a tooltip.
export const sign = (name, label, onclick, more = {}) => h("button.sign", { type: "button", "aria-label": label, title: label, onclick, ...more }, icon(name));

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Call `move(event, isLast)` from a press on the element to its release, wherever the pointer goes.
export const dragged = (element, start) => {
  element.addEventListener("pointerdown", (down) => {
    const move = down.button ? null : start(down);
    if (!move) return;
    element.setPointerCapture(down.pointerId);
    const follow = (event) => { if (event.pointerId === down.pointerId) move(event, false); };
    const end = (event) => {
      if (event.pointerId !== down.pointerId) return;
      for (const [name, act] of LISTENED) element.removeEventListener(name, act);
      move(event, true);
    };
    const LISTENED = [["pointermove", follow], ["pointerup", end], ["pointercancel", end]];
    for (const [name, act] of LISTENED) element.addEventListener(name, act);
    down.preventDefault();
  });
};
