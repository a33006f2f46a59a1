// Clips and the stage on which they play: frames by our own clock, before and after, zoom.

import { clamp, dragged, h, icon, place, sign } from "./dom.js";
import { t } from "./words.js";

const LIMIT_BYTES = 128 * 2 ** 20; // decoded pictures at hand, of each of two sides
const SLOW_CS = 10; // what browsers make of a delay of 0 or 1
const LEVELS = [0.25, 0.33, 0.5, 0.67, 1, 1.5, 2, 3, 4, 6, 8];
const MODES = ["result", "source", "split", "side", "difference"];

export const played = (delay_cs) => (delay_cs < 2 ? SLOW_CS : delay_cs);

// What to play: frames by number from 0, kept decoded as far as LIMIT_BYTES reaches.
// facts: width, height, delays (cs); decode(number): a promise of an ImageBitmap.
export const makeClip = (facts, decode, close = () => {}) => {
  const { width, height } = facts;
  const starts = [];
  let end = 0;
  for (const delay of facts.delays) { starts.push(end / 100); end += played(delay); }
  const [count, room] = [starts.length, Math.max(2, Math.floor(LIMIT_BYTES / (width * height * 4)))];
  const [kept, waiting] = [new Map(), new Map()];
  let isClosed = false;
  let last = Promise.resolve(); // one picture at a time: a decoder goes forward, and so does a server

  const keep = (number, picture) => {
    if (isClosed) return;
    kept.set(number, picture);
    if (kept.size <= room) return;
    const [oldest] = kept.keys();
    kept.get(oldest).close?.();
    kept.delete(oldest);
  };
  const frame = (number) => {
    if (kept.has(number)) return Promise.resolve(kept.get(number));
    if (!waiting.has(number)) {
      const work = last.then(() => (isClosed ? null : decode(number)));
      last = work.catch(() => null);
      waiting.set(number, work.then((picture) => { if (picture) keep(number, picture); return picture; }).finally(() => waiting.delete(number)));
    }
    return waiting.get(number);
  };
  const ready = (number) => {
    const picture = kept.get(number);
    if (picture) { kept.delete(number); kept.set(number, picture); } // the newest stands last
    return picture;
  };
  const at = (time_s) => {
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= time_s + 1e-6) low = middle; else high = middle - 1;
    }
    return low;
  };
  return {
    ...facts, count, starts, duration: end / 100, frame, ready, at,
    ahead: (number, many = 3) => { for (let i = 1; i <= Math.min(many, room - 1, count - 1); i += 1) if (!waiting.size) frame((number + i) % count).catch(() => {}); },
    close: () => { isClosed = true; kept.forEach((picture) => picture.close?.()); kept.clear(); close(); },
  };
};

// Pictures out of the bytes of a file, by the browser's own decoder; null where it has none for them.
export const decoderOf = async (blob, format) => {
  const type = blob.type.startsWith("image/") ? blob.type : `image/${format === "apng" ? "png" : format}`;
  if (!window.ImageDecoder || !(await ImageDecoder.isTypeSupported(type))) return null;
  const decoder = new ImageDecoder({ data: await blob.arrayBuffer(), type });
  await decoder.tracks.ready;
  await decoder.completed;
  const decode = async (frameIndex) => {
    const { image } = await decoder.decode({ frameIndex });
    try { return await createImageBitmap(image); } finally { image.close(); }
  };
  return { count: decoder.tracks.selectedTrack.frameCount, decode, close: () => decoder.close() };
};

// The stage: two pictures, or one and what is drawn over it.
// told: called with {time, number, count, clip} whenever another picture is shown.
export const makePlayer = (told) => {
  const canvas = () => h("canvas", { width: 1, height: 1 });
  const sides = {};
  for (const name of ["source", "result", "base"]) {
    const picture = canvas();
    sides[name] = { clip: null, canvas: picture, shown: -1, figure: h(`figure.${name}`, {}, picture, name === "base" ? null : h("figcaption", {}, t(name === "source" ? "before" : "after"))) };
  }
  const split = h("input.split", { type: "range", min: 0, max: 100, step: 0.5, value: 50, "aria-label": t("split_at") });
  const overlay = h("div.overlay");
  const board = h("div.board", {}, sides.source.figure, sides.result.figure, sides.base.figure, h("div.pixels"), overlay, split);
  const viewport = h("div.viewport", { tabindex: 0, role: "group", "aria-label": t("stage") }, board);
  const badge = h("p.badge", { hidden: true });
  let [mode, wanted, zoom, isFit, time, isPlaying, before, blinks, still, reported, reportedAt] = ["result", "result", 1, true, 0, false, 0, false, null, -1, 0];

  const visible = () => {
    if (mode === "base") return [sides.base];
    const both = [sides.source, sides.result].filter((side) => side.clip);
    if (both.length < 2) return both;
    return { source: [sides.source], result: [sides.result] }[blinks ? "source" : mode] ?? both;
  };
  const leading = () => (sides[mode]?.clip ? sides[mode] : sides.result.clip ? sides.result : sides.source);
  const total = () => Math.max(0, ...visible().map((side) => side.clip?.duration ?? 0));

  const draw = (side, number) => {
    const { clip, canvas: picture } = side;
    const bitmap = clip.ready(number);
    if (!bitmap) {
      clip.frame(number).then(() => { if (side.clip === clip) paint(); }, () => {});
      return;
    }
    if (picture.width !== clip.width || picture.height !== clip.height) Object.assign(picture, { width: clip.width, height: clip.height });
    const context = picture.getContext("2d");
    context.clearRect(0, 0, clip.width, clip.height);
    context.drawImage(bitmap, 0, 0, clip.width, clip.height);
    side.shown = number;
    picture.dataset.frame = number;
    clip.ahead(number);
  };
  const paint = () => {
    for (const side of visible()) {
      if (!side.clip || (still && side === sides.result)) continue;
      const number = side.clip.at(side.clip.duration ? time % side.clip.duration : 0);
      if (number !== side.shown) draw(side, number);
    }
    report();
  };
  const report = () => {
    const side = leading();
    if (!side.clip) return;
    const number = side.clip.at(side.clip.duration ? time % side.clip.duration : 0);
    if (isPlaying && number === reported && performance.now() - reportedAt < 100) return; // words at each picture would cost more than it
    [reported, reportedAt] = [number, performance.now()];
    seek.max = total();
    seek.value = time;
    const words = t("image_of", { number: number + 1, count: side.clip.count });
    seek.setAttribute("aria-valuetext", `${words}, ${time.toFixed(2)} s`);
    where.textContent = `${time.toFixed(2)} / ${total().toFixed(2)} s · ${words}`;
    told({ time, number, count: side.clip.count, clip: side.clip, side });
  };
  const tick = (now) => {
    if (!isPlaying) return;
    time = total() ? (time + Math.min(1, (now - before) / 1000)) % total() : 0;
    before = now;
    paint();
    requestAnimationFrame(tick);
  };
  const play = (starts = !isPlaying) => {
    isPlaying = starts && total() > 0;
    button.replaceChildren(icon(isPlaying ? "pause" : "play"));
    button.title = t(isPlaying ? "pause" : "play");
    button.setAttribute("aria-label", button.title);
    if (isPlaying) { before = performance.now(); requestAnimationFrame(tick); }
  };
  const go = (moment) => { time = clamp(moment, 0, Math.max(0, total() - 0.001)); paint(); };
  const goTo = (number) => {
    const { clip } = leading();
    if (clip) { play(false); go(clip.starts[(number + clip.count) % clip.count]); }
  };
  const step = (by) => { const { clip } = leading(); if (clip) goTo(clip.at(time % (clip.duration || 1)) + by); };

  // Size: every picture of a stack fills one box, which is that of the leading one.
  const natural = () => {
    const { clip } = leading();
    return clip ? [clip.width, clip.height] : [1, 1];
  };
  const fill = (picture, { width, height }, wide, high) => {
    const scale = Math.min(wide / width, high / height);
    place(picture, { width: `${width * scale}px`, height: `${height * scale}px` });
  };
  const shape = () => {
    const both = mode === "side" && visible().length === 2;
    const [width, height] = natural();
    const isColumn = both && viewport.clientWidth < viewport.clientHeight * 1.1;
    if (isFit) {
      const [across, down] = both ? (isColumn ? [1, 2] : [2, 1]) : [1, 1];
      const [roomX, roomY] = [viewport.clientWidth - 32 - (across - 1) * 16, viewport.clientHeight - 32 - (both ? 24 * down : 0)];
      const most = Math.min(roomX / across / width, roomY / down / height);
      const largest = width * height <= 64 * 64 ? 8 : 4; // icons and pixel art are small
      zoom = clamp(most >= 2 ? Math.floor(Math.min(most, largest)) : Math.min(most, most > 1 && width * height < 200 * 200 ? most : 1), 0.02, 8);
    }
    place(board, { "--w": `${width * zoom}px`, "--h": `${height * zoom}px`, "--pixel": `${zoom}px` });
    board.dataset.mode = visible().length < 2 && mode !== "base" ? "single" : mode;
    board.dataset.column = isColumn;
    board.dataset.sharp = zoom >= 2;
    board.dataset.grid = zoom >= 4;
    for (const side of Object.values(sides)) {
      side.figure.hidden = !visible().includes(side);
      if (side.clip) fill(side.canvas, side.clip, width * zoom, height * zoom);
    }
    split.hidden = board.dataset.mode !== "split";
    overlay.hidden = mode !== "base";
    level.textContent = `${Math.round(zoom * 100)} %`;
    fit.setAttribute("aria-pressed", isFit);
  };
  const zoomTo = (next, isFitted = false, about = null) => {
    const old = zoom;
    const [x, y] = about ?? [viewport.clientWidth / 2, viewport.clientHeight / 2];
    const [left, top] = [viewport.scrollLeft + x, viewport.scrollTop + y];
    [isFit, zoom] = [isFitted, clamp(next, 0.05, 8)];
    shape();
    if (!isFitted) viewport.scrollTo(left * zoom / old - x, top * zoom / old - y);
  };
  const zoomBy = (sign) => zoomTo(sign > 0 ? LEVELS.find((one) => one > zoom + 0.001) ?? 8 : LEVELS.findLast((one) => one < zoom - 0.001) ?? 0.25);
  new ResizeObserver(() => shape()).observe(viewport);

  // One finger or the mouse moves the picture, two fingers zoom; ctrl and the wheel too.
  const fingers = new Map();
  dragged(viewport, (down) => {
    if (down.target.closest("input, button, .overlay > *")) return null;
    viewport.focus({ preventScroll: true });
    fingers.set(down.pointerId, down);
    return (event, isLast) => {
      const from = fingers.get(event.pointerId);
      const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
      if (other) {
        const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
        const box = viewport.getBoundingClientRect();
        zoomTo(zoom * far(event) / far(from), false, [(event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top]);
      }
      viewport.scrollBy((from.clientX - event.clientX) / (other ? 2 : 1), (from.clientY - event.clientY) / (other ? 2 : 1));
      if (isLast) fingers.delete(event.pointerId); else fingers.set(event.pointerId, event);
    };
  });
  viewport.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const box = viewport.getBoundingClientRect();
    zoomTo(zoom * 2 ** (-event.deltaY / 200), false, [event.clientX - box.left, event.clientY - box.top]);
  }, { passive: false });

  const cut = () => place(board, { "--cut": `${split.value}%` });
  split.addEventListener("input", cut);
  split.addEventListener("dblclick", () => { split.value = 50; cut(); });
  const gain = h("input", { type: "range", min: 1, max: 20, value: 4, "aria-label": t("gain"), oninput: () => place(board, { "--gain": gain.value }) });
  const gainBox = h("label.gain", { hidden: true, title: t("gain") }, "×", gain);
  const blink = (on) => { if (blinks !== on) { blinks = on; shape(); paint(); } };
  const setMode = (next) => {
    if (MODES.includes(next)) wanted = next;
    mode = next;
    for (const radio of modes.querySelectorAll("input")) radio.checked = radio.value === wanted && next !== "base";
    gainBox.hidden = next !== "difference";
    modes.hidden = next === "base";
    for (const side of Object.values(sides)) side.shown = -1;
    shape();
    go(time);
  };
  const modes = h("div.segments", { role: "radiogroup", "aria-label": t("compare") }, ...MODES.map((name) =>
    h("label", {}, h("input", { type: "radio", name: "compare", value: name, checked: name === "result", onchange: () => setMode(name) }), h("span", { "data-short": t(`short_${name}`) }, t(`mode_${name}`)))));
  const level = h("output.level", { "aria-live": "off" }, "100 %");
  const fit = sign("fit", `${t("fit")} (0)`, () => zoomTo(1, true));
  const done = h("button.primary", { type: "button", hidden: true }, t("done_placing"));
  const tools = h("div.tools", {}, modes, gainBox, done, h("div.zoom", {},
    sign("minus", `${t("zoom_out")} (−)`, () => zoomBy(-1)), level, sign("add", `${t("zoom_in")} (+)`, () => zoomBy(1)), fit));

  const button = sign("play", t("play"), () => play());
  button.classList.add("play");
  const seek = h("input.seek", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": t("time"), oninput: () => { play(false); go(Number(seek.value)); } });
  const where = h("output.where", { "aria-live": "off" }, "");
  const bar = h("div.bar", {}, sign("back", `${t("step_back")} (,)`, () => step(-1)), button, sign("next", `${t("step_on")} (.)`, () => step(1)), seek, where);

  const show = (name, clip) => {
    const side = sides[name];
    if (side.clip !== clip) side.clip?.keeps || side.clip?.close();
    [side.clip, side.shown] = [clip, -1];
    side.canvas.removeAttribute("data-frame");
    if (name === "result") { still = null; badge.hidden = true; }
    shape();
    if (total() && time >= total()) time %= total();
    paint();
  };
  return {
    element: h("section.player", { "aria-label": t("view") }, tools, h("div.frame", {}, viewport, badge), bar),
    overlay, viewport, show, play, step, goTo, seek: go, blink, setMode, zoomTo, zoomBy, done,
    // One picture of a result that is not there yet.
    showStill: (bitmap, words) => {
      const side = sides.result;
      fill(side.canvas, bitmap, bitmap.width * zoom, bitmap.height * zoom);
      Object.assign(side.canvas, { width: bitmap.width, height: bitmap.height });
      side.canvas.getContext("2d").drawImage(bitmap, 0, 0);
      still = bitmap;
      badge.textContent = words;
      badge.hidden = false;
    },
    get mode() { return mode; }, get wanted() { return wanted; }, get time() { return time; }, get isPlaying() { return isPlaying; },
    get leading() { return leading().clip; }, get zoom() { return zoom; },
    clip: (name) => sides[name].clip,
  };
};
