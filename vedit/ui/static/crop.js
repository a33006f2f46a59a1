// What is drawn over the picture and dragged: the rectangle of crop and of blur, the box of a watermark.

import { clamp, dragged, h, place } from "./dom.js";
import { t } from "./words.js";

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const NEAR_PX = 8; // on the screen: how near an edge draws the pointer to itself

export const rectText = ({ x, y, w, h: high }) => `${w}x${high}${x < 0 ? "" : "+"}${x}${y < 0 ? "" : "+"}${y}`;

export const rectOf = (text) => {
  const match = /^(\d+)x(\d+)([+-]\d+)([+-]\d+)$/.exec(text ?? "");
  return match && { x: Number(match[3]), y: Number(match[4]), w: Number(match[1]), h: Number(match[2]) };
};

// A number drawn to the nearest of some places, if one is nearer than `reach`.
const snapped = (value, places, reach) => {
  const best = places.reduce((one, other) => (Math.abs(other - value) < Math.abs(one - value) ? other : one), Infinity);
  return Math.abs(best - value) <= reach ? best : value;
};

// The rectangle after one of its handles has moved by (dx, dy): within the canvas, at least one pixel, of the
// aspect if there is one.
export const resized = (rect, handle, dx, dy, canvas, aspect = 0) => {
  let [left, top, right, bottom] = [rect.x, rect.y, rect.x + rect.w, rect.y + rect.h];
  if (handle.includes("w")) left = clamp(left + dx, 0, right - 1);
  if (handle.includes("e")) right = clamp(right + dx, left + 1, canvas.width);
  if (handle.includes("n")) top = clamp(top + dy, 0, bottom - 1);
  if (handle.includes("s")) bottom = clamp(bottom + dy, top + 1, canvas.height);
  let [w, tall] = [right - left, bottom - top];
  if (aspect) {
    const roomX = handle.includes("w") ? right : canvas.width - left;
    const roomY = handle.includes("n") ? bottom : canvas.height - top;
    w = handle.length === 1 && "ns".includes(handle) ? tall * aspect : handle.length === 1 ? w : Math.max(w, tall * aspect);
    w = Math.min(w, roomX, roomY * aspect);
    tall = w / aspect;
  }
  [w, tall] = [Math.max(1, Math.round(w)), Math.max(1, Math.round(tall))];
  return { x: handle.includes("w") ? right - w : left, y: handle.includes("n") ? bottom - tall : top, w, h: tall };
};

export const ofAspect = (rect, aspect, canvas) => {
  const area = Math.sqrt(rect.w * rect.h);
  let w = Math.min(canvas.width, area * Math.sqrt(aspect));
  w = Math.min(w, canvas.height * aspect);
  const [wide, tall] = [Math.max(1, Math.round(w)), Math.max(1, Math.round(w / aspect))];
  return {
    x: clamp(Math.round(rect.x + (rect.w - wide) / 2), 0, canvas.width - wide),
    y: clamp(Math.round(rect.y + (rect.h - tall) / 2), 0, canvas.height - tall), w: wide, h: tall,
  };
};

// A box over the picture. canvas: {width, height}. label: what it is called. snaps: {x: [], y: []} that edges
// are drawn to. hasHandles: whether its size can change. isLoose: whether it may hang over the canvas.
// changed(rect, isLast): while it is dragged, and at the end.
export const makeBox = ({ layer, canvas, label, rect, snaps = { x: [], y: [] }, hasHandles = true, isLoose = false, isDimming = true, changed }) => {
  let [now, aspect] = [{ ...rect }, 0];
  const size = h("output.size", { "aria-hidden": "true" });
  const box = h(`div.box${hasHandles ? "" : ".movable"}`, { tabindex: 0, role: "group", "aria-label": label, "aria-describedby": "box-help" }, size);
  const hole = h("i.hole");
  const help = h("p.unseen#box-help", {}, t(hasHandles ? "box_help" : "box_help_move"));
  const guides = { x: h("i.guide.across", { hidden: true }), y: h("i.guide.down", { hidden: true }) };
  const scale = () => layer.clientWidth / canvas.width || 1;

  const draw = () => {
    for (const one of [box, hole]) place(one, { left: `${(now.x / canvas.width) * 100}%`, top: `${(now.y / canvas.height) * 100}%`, width: `${(now.w / canvas.width) * 100}%`, height: `${(now.h / canvas.height) * 100}%` });
    size.textContent = hasHandles ? `${now.w}×${now.h} +${now.x}+${now.y}` : `${now.x}, ${now.y}`;
  };
  const guide = (axis, at) => {
    const line = guides[axis];
    line.hidden = at === null;
    if (at !== null) place(line, { [axis === "x" ? "left" : "top"]: `${(at / (axis === "x" ? canvas.width : canvas.height)) * 100}%` });
  };
  const take = (next, isLast) => {
    now = next;
    draw();
    if (isLast) { guide("x", null); guide("y", null); }
    changed({ ...now }, isLast);
  };
  const within = (next) => (isLoose
    ? { ...next, x: clamp(next.x, 0, canvas.width - 1), y: clamp(next.y, 0, canvas.height - 1) }
    : { ...next, x: clamp(next.x, 0, canvas.width - next.w), y: clamp(next.y, 0, canvas.height - next.h) });
  // While it moves, the nearer of its two edges, or its middle, is drawn to a place.
  const drawn = (next, axis, length) => {
    const reach = NEAR_PX / scale();
    for (const [part, places] of [[0, snaps[axis]], [next[length], snaps[axis]], [next[length] / 2, [canvas[axis === "x" ? "width" : "height"] / 2]]]) {
      const at = snapped(next[axis] + part, places, reach);
      if (at !== next[axis] + part || places.includes(at)) { guide(axis, at); return Math.round(at - part); }
    }
    guide(axis, null);
    return next[axis];
  };
  const moved = (start, dx, dy, isFree) => {
    const next = within({ ...start, x: Math.round(start.x + dx), y: Math.round(start.y + dy) });
    return isFree ? next : within({ ...next, x: drawn(next, "x", "w"), y: drawn(next, "y", "h") });
  };
  const pulled = (start, handle, dx, dy, isFree) => {
    const next = resized(start, handle, Math.round(dx), Math.round(dy), canvas, aspect);
    if (isFree || aspect) return next;
    const reach = NEAR_PX / scale();
    const [fromX, fromY] = [handle.includes("w") ? next.x : next.x + next.w, handle.includes("n") ? next.y : next.y + next.h];
    const [toX, toY] = [/[we]/.test(handle) ? snapped(fromX, snaps.x, reach) : fromX, /[ns]/.test(handle) ? snapped(fromY, snaps.y, reach) : fromY];
    return resized(next, handle, toX - fromX, toY - fromY, canvas);
  };
  const by = (down, act) => (event, isLast) => {
    const [dx, dy] = [(event.clientX - down.clientX) / scale(), (event.clientY - down.clientY) / scale()];
    take(act(dx, dy, event.altKey), isLast);
  };
  const start = (act) => (down) => {
    down.stopPropagation();
    box.focus({ preventScroll: true });
    const from = { ...now };
    return by(down, (dx, dy, isFree) => act(from, dx, dy, isFree));
  };
  dragged(box, start(moved));
  if (hasHandles) {
    for (const handle of HANDLES) {
      const grip = h(`i.handle.${handle}`, { "data-handle": handle });
      dragged(grip, start((from, dx, dy, isFree) => pulled(from, handle, dx, dy, isFree)));
      box.append(grip);
    }
  }
  // A press beside the box begins a new one.
  const ground = h("div.ground");
  if (hasHandles) {
    dragged(ground, (down) => {
      down.stopPropagation();
      const area = layer.getBoundingClientRect();
      const at = { x: Math.floor(clamp((down.clientX - area.left) / scale(), 0, canvas.width - 1)), y: Math.floor(clamp((down.clientY - area.top) / scale(), 0, canvas.height - 1)) };
      let isMoved = false;
      return (event, isLast) => {
        const [dx, dy] = [(event.clientX - down.clientX) / scale(), (event.clientY - down.clientY) / scale()];
        isMoved ||= Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) > 4;
        if (!isMoved) return;
        const handle = `${dy < 0 ? "n" : "s"}${dx < 0 ? "w" : "e"}`;
        take(resized({ ...at, w: 1, h: 1 }, handle, Math.round(dx), Math.round(dy), canvas, aspect), isLast);
      };
    });
  }
  box.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [dx, dy] = way.map((part) => part * (event.shiftKey ? 10 : 1));
    take(event.altKey && hasHandles ? resized(now, `${dy ? "s" : ""}${dx ? "e" : ""}`, dx, dy, canvas, aspect) : moved(now, dx, dy, true), true);
  });
  layer.replaceChildren(h("div.dim", { hidden: !isDimming }, hole), ground, guides.x, guides.y, box, help);
  draw();
  return {
    element: box,
    get rect() { return { ...now }; },
    set: (next) => { now = { ...next }; draw(); },
    setAspect: (next) => { aspect = next; if (next) take(ofAspect(now, next, canvas), true); },
    setSnaps: (next) => { snaps = next; },
    close: () => layer.replaceChildren(),
  };
};
