// Places on the picture: a rectangle or a drawing is dragged over what goes into its stage, or for a watermark over
// what comes out of it, and written into the card.

import { has, t } from "./words.js";
import { makeBox, rectText } from "./crop.js";

const PLACES = ["top-left", "top-center", "top-right", "center-left", "center", "center-right", "bottom-left", "bottom-center", "bottom-right"];
const SIDES = ["left", "right", "top", "bottom"];

const specsOf = (entries) => entries.map(({ stage, options }) => [stage, options]);

// Where a drawing of a size has its left top corner at a named place.
const cornerOf = (name, { w, h }, { width, height }, margin) => {
  const [vertical, horizontal] = name === "center" ? ["center", "center"] : name.split("-");
  const on = (end, length, whole) => {
    const far = whole - length - margin;
    const at = { left: margin, top: margin, right: far, bottom: far }[end] ?? Math.floor((whole - length) / 2);
    return Math.max(0, Math.min(at, whole - length));
  };
  return [on(horizontal, w, width), on(vertical, h, height)];
};

// How a stage says a rectangle: the options of its card are changed.
const WRITERS = {
  watermark: (options, rect, canvas, margin) => {
    const near = PLACES.find((name) => {
      const [x, y] = cornerOf(name, rect, canvas, margin);
      return Math.abs(x - rect.x) <= 1 && Math.abs(y - rect.y) <= 1;
    });
    delete options.at;
    if (near) { options.position = near; return; }
    options.at = `${rect.x},${rect.y}`;
    delete options.position;
    delete options.margin;
  },
  crop: (options, rect, { width, height }) => {
    if (!SIDES.some((name) => options[name] !== undefined)) { WRITERS[""](options, rect); return; }
    const share = (part, whole) => `${Number(((part / whole) * 100).toFixed(2))}%`;
    options.left = share(rect.x, width);
    options.right = share(width - rect.x - rect.w, width);
    options.top = share(rect.y, height);
    options.bottom = share(height - rect.y - rect.h, height);
  },
  blur: (options, rect) => { // the last of its rectangles, with its time
    const regions = (options.rect ?? "").split(/\s+/).filter(Boolean);
    const when = /@.*/.exec(regions.at(-1) ?? "")?.[0] ?? "";
    options.rect = [...regions.slice(0, -1), rectText(rect) + when].join(" ");
  },
  "": (options, rect) => {
    for (const name of ["centre", "auto"]) delete options[name];
    options.rect = rectText(rect);
  },
};

// host: app(), player, chain, transport; hasSource(); active(), the cards that are on; find(id); jobOf(cards); edit(change,
// how); baseOf(cards), a clip; view(), show the picture; failed(error, cards).
export const makePlacing = (host) => {
  const { player, chain, transport } = host;
  let placing = null; // {id, option, box, canvas, wasPlaying, shown, own}

  const measured = async (entries, at) => transport.call("measure", { ...host.jobOf(entries), stage: at });
  const found = (id) => {
    const entries = host.active();
    return { entries, at: entries.findIndex((entry) => entry.id === id) };
  };
  const begin = async (id, option, isAsked = true) => {
    const { entries, at } = found(id);
    if (at < 0 || !host.hasSource()) return;
    const entry = entries[at];
    const root = host.app().getRootNode();
    const before = root.activeElement;
    const isDrawing = entry.stage === "watermark";
    const shown = entries.slice(0, isDrawing ? at + 1 : at);
    if (isAsked) host.view(); // at once: who goes back to the steps while this is measured stays there
    try {
      const { width, height, boxes } = await measured(entries, at);
      const canvas = { width, height };
      const base = await host.baseOf(shown);
      const wasPlaying = placing?.wasPlaying ?? player.isPlaying;
      placing?.box.close();
      player.show("base", base);
      player.setMode("base");
      player.play(false);
      player.done.hidden = false;
      const box = boxOf(entry, boxes.at(-1) ?? [0, 0, width, height], canvas, isDrawing);
      const others = shown.filter((one) => one.id !== id);
      placing = { id, option, box, canvas, wasPlaying, shown: JSON.stringify(specsOf(others)), own: JSON.stringify(entry.options) };
      focus(box, root, before);
      if (entry.stage === "crop") snapToBorder(entries, at, box, canvas);
    } catch (error) { host.failed(error, entries); }
  };
  const boxOf = (entry, [x, y, w, h], canvas, isDrawing) => {
    const margin = isDrawing ? Number(entry.options.margin ?? 10) : 0;
    return makeBox({
      layer: player.overlay, canvas, rect: { x, y, w, h }, label: t(has(`box_${entry.stage}`) ? `box_${entry.stage}` : "stage"),
      hasHandles: !isDrawing, isLoose: isDrawing, isDimming: entry.stage === "crop",
      snaps: { x: [margin, canvas.width - margin], y: [margin, canvas.height - margin] },
      changed: (rect, isLast) => host.edit(() => write(entry.id, rect, canvas, margin), { isLast, key: "place" }),
    });
  };
  // Who has gone on meanwhile keeps the focus.
  const focus = (box, root, before) => {
    const [now, app] = [root.activeElement, host.app()];
    if (now === before || !app.contains(now) || now === app || now.closest(".card, .viewport")) box.element.focus({ preventScroll: true });
  };
  // The edges of what `crop --auto` would keep are places to stop at, too.
  const snapToBorder = async (entries, at, box, { width, height }) => {
    const job = { ...host.jobOf(entries), chain: [...specsOf(entries.slice(0, at)), ["crop", { auto: "true" }]], stage: at };
    const border = await transport.call("measure", job).catch(() => null);
    if (!border?.boxes.length) return;
    const [x, y, w, h] = border.boxes[0];
    box.setSnaps({ x: [0, width, x, x + w], y: [0, height, y, y + h] });
  };
  const write = (id, rect, canvas, margin) => {
    const { stage, options } = host.find(id);
    const hadRect = options.rect !== undefined;
    (WRITERS[stage] ?? WRITERS[""])(options, rect, canvas, margin);
    if (!hadRect && options.rect !== undefined) chain.render(); // another way of saying it is in use
    if (placing) placing.own = JSON.stringify(options);
    chain.refresh(id);
  };
  // The chain has changed elsewhere while something is placed: the picture under it, or the box, is another one.
  const follow = async () => {
    if (!placing) return;
    const { id, box, shown, own, option } = placing;
    const { entries, at } = found(id);
    if (at < 0) { leave(); return; }
    const entry = entries[at];
    const before = entries.slice(0, at);
    if (JSON.stringify(specsOf(before)) !== shown) { begin(id, option, false); return; }
    const isSame = JSON.stringify(entry.options) === own;
    if (entry.stage === "watermark") player.show("base", await host.baseOf([...before, entry]).catch(() => player.clip("base")));
    else if (isSame) return;
    placing.own = JSON.stringify(entry.options);
    const now = await measured(entries, at).catch(() => null);
    if (!now?.boxes.length || placing?.box !== box) return;
    const [x, y, w, h] = now.boxes.at(-1);
    box.set({ x, y, w, h });
  };
  const leave = () => {
    if (!placing) return;
    const { id, box, wasPlaying } = placing;
    placing = null;
    box.close();
    player.done.hidden = true;
    player.setMode(player.wanted);
    if (wasPlaying) player.play(true);
    const button = host.app().querySelector(`[data-card="${id}"] .draw`);
    button?.focus({ preventScroll: true });
    if (button?.getRootNode().activeElement !== button) player.viewport.focus({ preventScroll: true }); // its tab may be hidden
  };
  const setAspect = async (id, value) => {
    if (placing?.id !== id) await begin(id, "rect");
    if (placing?.id !== id) return; // it could not be measured
    const { width, height } = placing.canvas;
    const [x, y] = value === "own" ? [width, height] : value.split(":").map(Number);
    placing.box.setAspect(x / y);
  };
  return {
    begin, follow, leave,
    // What the controls of a card ask for.
    act: (id, what, value) => {
      if (what === "draw") { if (placing?.id === id) leave(); else begin(id, value); }
      if (what === "aspect" && value) setAspect(id, value);
      if (what === "aspect" && !value) placing?.box.setAspect(0);
    },
    get id() { return placing?.id ?? null; },
    get canvas() { return placing?.canvas; },
  };
};
