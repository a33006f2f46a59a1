// The images of the result, one cell each, as wide as it stays; what is done to a selection is written into the
// cards `frames` and `delay`, and nothing here holds a time of its own.

import { clamp, h, icon, place } from "./dom.js";
import { played } from "./player.js";
import { t } from "./words.js";

const [NARROW, USUAL, WIDE] = [34, 94, 280]; // widths of cells
const HIGH = 48;

// "3-7,9" from numbers that count from 1.
export const spansOf = (numbers) => {
  const spans = [];
  for (const number of numbers) {
    const last = spans.at(-1);
    if (last && number === last[1] + 1) last[1] = number; else spans.push([number, number]);
  }
  return spans.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(",");
};

export const numbersOf = (text, count) => {
  const found = new Set();
  for (const part of text.split(",").map((word) => word.trim()).filter(Boolean)) {
    if (part === "all") { for (let i = 1; i <= count; i += 1) found.add(i); continue; }
    const match = /^(\d+|last)(-(\d+|last)?)?$/.exec(part);
    if (!match) return null;
    const number = (word) => (word === "last" ? count : Number(word));
    const [from, to] = [number(match[1]), match[2] ? (match[3] ? number(match[3]) : count) : number(match[1])];
    for (let i = Math.max(1, from); i <= Math.min(to, count); i += 1) found.add(i);
  }
  return [...found].sort((one, other) => one - other);
};

const inRuns = (text, count) => numbersOf(text, count) ?? [];

// The numbers that a `frames` card shows, or null where that needs the server (every, time, drop-equal, order).
const shownBy = (options, count) => {
  const names = Object.keys(options).filter((name) => !["hold", "close"].includes(name));
  if (names.length !== 1 || !["keep", "drop"].includes(names[0])) return null;
  const named = new Set(inRuns(options[names[0]], count));
  return Array.from({ length: count }, (_, i) => i + 1).filter((number) => named.has(number) === (names[0] === "keep"));
};

// What becomes of the chain when images of the result are dropped, delayed or put in order. A card that stands
// last takes it in where that says the same; else a new one is put behind it, whose numbers are the result's.
// chain: [{stage, options, on}]; input: images that come into the last card, or 0 where that is not known.
export const changed = (chain, stage, options, input) => {
  const last = chain.at(-1);
  if (last?.on && last.stage === stage) {
    if (stage === "delay" && options.rules && last.options.rules !== undefined) {
      const rules = last.options.rules.split(/\s+/).filter(Boolean);
      const [target, mine] = [options.rules.split("=")[0], /=[*+-]/.test(options.rules)];
      const before = mine ? rules : rules.filter((rule) => rule.split("=")[0] !== target);
      return { merged: true, options: { ...last.options, rules: [...before, options.rules].join(" ") } };
    }
    const shown = stage === "frames" && input && shownBy(last.options, input);
    if (shown && (options.drop || options.keep)) {
      const numbers = new Set(inRuns(options.drop ?? options.keep, shown.length));
      const stays = shown.filter((_, i) => numbers.has(i + 1) === Boolean(options.keep));
      const way = last.options.keep === undefined ? "drop" : "keep";
      const named = way === "keep" ? stays : Array.from({ length: input }, (_, i) => i + 1).filter((number) => !stays.includes(number));
      const { keep, drop, ...rest } = last.options;
      return { merged: true, options: { ...rest, [way]: spansOf(named) } };
    }
  }
  return { merged: false, options };
};

export const reversed = (numbers, count) => {
  const [from, to] = [numbers[0], numbers.at(-1)];
  return [from > 1 ? `1-${from - 1}` : "", `${to}-${from}`, to < count ? `${to + 1}-${count}` : ""].filter(Boolean).join(",");
};

export const loopedAt = (number, count) => (number > 1 ? `${number}-${count},1-${number - 1}` : "");

// picked(numbers): the selection has changed. act(stage, options): a card is wanted. seen(number): go there.
export const makeTimeline = ({ picked, act, seen, thumb }) => {
  let [clip, lefts, focus, anchor, current, isEqual] = [null, [0], 1, 1, 0, false];
  let selection = new Set();
  const cells = new Map();
  const list = h("div.cells", { role: "listbox", "aria-multiselectable": "true", "aria-label": t("timeline"), tabindex: 0 });
  const track = h("div.track", {}, list);
  const count = () => clip?.count ?? 0;
  const chosen = () => [...selection].sort((one, other) => one - other);

  const measure = () => {
    const times = clip ? clip.delays.map(played) : [];
    const middle = [...times].sort((one, other) => one - other)[times.length >> 1] || 1;
    lefts = [0];
    for (const time of times) lefts.push(lefts.at(-1) + (isEqual ? USUAL : Math.round(clamp((time / middle) * USUAL, NARROW, WIDE))));
    place(list, { width: `${lefts.at(-1)}px` });
  };
  const firstAt = (x) => {
    let [low, high] = [0, Math.max(0, count() - 1)];
    while (low < high) { const middle = (low + high + 1) >> 1; if (lefts[middle] <= x) low = middle; else high = middle - 1; }
    return low;
  };
  const cell = (i) => {
    const picture = h("canvas", { width: 1, height: 1 });
    const [delay, start] = [clip.delays[i], clip.starts[i]];
    const cs = Number(delay.toFixed(2));
    const words = t("cell", { number: i + 1, cs, ms: Math.round(delay * 10), start: start.toFixed(2) });
    const slow = delay < 2 ? t("plays_as", { cs: played(delay) }) : "";
    const item = h(`div.cell#cell-${i + 1}`, { role: "option", "aria-label": [words, slow].filter(Boolean).join(", "), "aria-setsize": count(), "aria-posinset": i + 1, title: [words, slow].filter(Boolean).join("\n"), "data-number": i + 1 },
      picture, h("span.number", {}, `${i + 1}`), h("span.start", {}, `${start.toFixed(2)} s`), h(`span.delay${slow ? ".slow" : ""}`, {}, `${cs} cs`, h("small", {}, ` ${Math.round(delay * 10)} ms`)));
    const width = lefts[i + 1] - lefts[i];
    item.classList.toggle("narrow", width < 64);
    place(item, { left: `${lefts[i]}px`, width: `${width}px` });
    const owner = clip;
    thumb(clip, i, HIGH).then((bitmap) => {
      if (!bitmap || owner !== clip) return;
      const wide = Math.max(1, Math.round((HIGH * clip.width) / clip.height));
      Object.assign(picture, { width: Math.min(wide, 320), height: HIGH });
      const context = picture.getContext("2d");
      context.imageSmoothingEnabled = clip.height > HIGH;
      context.drawImage(bitmap, 0, 0, picture.width, HIGH);
    }, () => {});
    return item;
  };
  // Only the cells in sight are there, with some on both sides.
  const fill = () => {
    if (!clip) { list.replaceChildren(); cells.clear(); return; }
    const [from, to] = [firstAt(track.scrollLeft - 400), firstAt(track.scrollLeft + (track.clientWidth || 800) + 400)];
    for (const [i, item] of cells) if (i < from || i > to) { item.remove(); cells.delete(i); }
    for (let i = from; i <= to; i += 1) if (!cells.has(i)) { const item = cell(i); cells.set(i, item); list.append(item); }
    mark();
  };
  const mark = () => {
    for (const [i, item] of cells) {
      item.setAttribute("aria-selected", selection.has(i + 1));
      item.classList.toggle("current", i === current);
      item.classList.toggle("focus", i + 1 === focus);
    }
    list.setAttribute("aria-activedescendant", cells.has(focus - 1) ? `cell-${focus}` : "");
    const numbers = chosen();
    if (document.activeElement !== text && text.getRootNode().activeElement !== text) text.value = spansOf(numbers);
    const chosenTime = numbers.reduce((sum, number) => sum + (clip?.delays[number - 1] ?? 0), 0);
    const all = clip?.delays.reduce((sum, delay) => sum + delay, 0) ?? 0;
    sum.textContent = numbers.length ? t("selected", { count: numbers.length, time: (chosenTime / 100).toFixed(2) }) : t("all_images", { count: count(), time: (all / 100).toFixed(2) });
    for (const button of acts.querySelectorAll("[data-needs]")) button.disabled = numbers.length < Number(button.dataset.needs) || (button.dataset.leaves && numbers.length === count());
  };
  const reveal = (number) => {
    const [left, right] = [lefts[number - 1], lefts[number]];
    if (left < track.scrollLeft) track.scrollLeft = left - 20;
    else if (right > track.scrollLeft + track.clientWidth) track.scrollLeft = right - track.clientWidth + 20;
    fill();
  };
  const select = (numbers, isTold = true) => {
    selection = new Set(numbers.filter((number) => number >= 1 && number <= count()));
    mark();
    if (isTold) picked(chosen());
  };
  const range = (one, other) => Array.from({ length: Math.abs(one - other) + 1 }, (_, i) => Math.min(one, other) + i);
  const move = (number, hasShift) => {
    focus = clamp(number, 1, count());
    if (hasShift) select(range(anchor, focus)); else { anchor = focus; select([focus]); }
    reveal(focus);
    seen(focus - 1);
  };
  list.addEventListener("pointerdown", (event) => {
    const item = event.target.closest(".cell");
    if (!item || event.button) return;
    const number = Number(item.dataset.number);
    list.focus({ preventScroll: true });
    if (event.ctrlKey || event.metaKey) {
      [focus, anchor] = [number, number];
      select(selection.has(number) ? chosen().filter((one) => one !== number) : [...selection, number]);
      seen(number - 1);
    } else move(number, event.shiftKey);
  });
  list.addEventListener("pointermove", (event) => {
    if (event.buttons !== 1 || event.pointerType === "touch" || event.ctrlKey || event.metaKey) return;
    const item = event.target.closest(".cell");
    if (item && Number(item.dataset.number) !== focus) move(Number(item.dataset.number), true);
  });
  list.addEventListener("keydown", (event) => {
    if (!count() || event.altKey) return;
    const to = { ArrowLeft: focus - 1, ArrowRight: focus + 1, Home: 1, End: count(), PageUp: focus - 10, PageDown: focus + 10 }[event.key];
    if (to !== undefined && !(event.ctrlKey || event.metaKey)) { move(to, event.shiftKey); event.preventDefault(); event.stopPropagation(); }
    if (event.key === "a" && (event.ctrlKey || event.metaKey)) { select(range(1, count())); event.preventDefault(); }
    if (event.key === "Escape" && selection.size) { select([]); event.stopPropagation(); }
  });
  track.addEventListener("scroll", () => requestAnimationFrame(fill), { passive: true });
  new ResizeObserver(fill).observe(track);

  // What is done to the selection, or to all images where there is none.
  const spans = () => (selection.size && selection.size < count() ? spansOf(chosen()) : "all");
  const delayed = (value) => act("delay", { rules: `${spans()}=${value}` });
  const amount = h("input.amount", { type: "text", inputmode: "decimal", value: "10", "aria-label": t("delay_value"), size: 4 });
  const how = h("select", { "aria-label": t("delay_how") }, ...[["=", t("delay_cs")], ["ms", t("delay_ms")], ["*", t("delay_times")], ["+", t("delay_plus")]].map(([value, words]) => h("option", { value }, words)));
  const isNumber = (value) => /^-?\d*\.?\d+$/.test(value);
  const setDelay = () => {
    const value = amount.value.trim().replace(",", ".");
    amount.setAttribute("aria-invalid", !isNumber(value));
    if (!isNumber(value)) { amount.focus(); return; }
    delayed({ "=": value, ms: `${value}ms`, "*": `*${value}`, "+": value.startsWith("-") ? value : `+${value}` }[how.value]);
  };
  amount.addEventListener("keydown", (event) => { if (event.key === "Enter") setDelay(); });
  const nth = h("input.amount", { type: "number", min: 2, value: 2, "aria-label": t("every_n"), size: 3 });
  const drop = () => { if (selection.size && selection.size < count()) act("frames", { drop: spansOf(chosen()) }); };
  const text = h("input.spans", { type: "text", placeholder: t("spans_example"), "aria-label": t("select_images"), spellcheck: "false" });
  text.addEventListener("input", () => {
    const numbers = numbersOf(text.value, count());
    text.setAttribute("aria-invalid", numbers === null);
    if (numbers) { select(numbers); if (numbers.length) { [focus, anchor] = [numbers[0], numbers[0]]; reveal(focus); } }
  });
  text.addEventListener("change", () => { text.setAttribute("aria-invalid", "false"); mark(); });
  const sum = h("output.sum", { "aria-live": "off" });
  const doing = (key, onclick, needs = 1, sample = null, leaves = null) => h("button", { type: "button", onclick, "data-needs": needs, "data-leaves": leaves, title: t(`${key}_title`) }, sample ? icon(sample) : null, t(key));
  const acts = h("div.acts", { role: "toolbar", "aria-label": t("selection_acts") },
    h("div", {}, h("div.group", {}, amount, how, h("button", { type: "button", onclick: setDelay }, t("set_delay"))),
      h("div.group", {}, doing("slower", () => delayed("*1.25"), 0), doing("faster", () => delayed("*0.8"), 0))),
    h("div", {}, h("div.group", {}, doing("drop", drop, 1, null, "some"), doing("keep", () => act("frames", { keep: spansOf(chosen()) }))),
    h("div.group", {}, h("button", { type: "button", title: t("thin_title"), onclick: () => act("frames", { every: nth.value, ...(selection.size > 1 ? { of: spansOf(chosen()) } : {}) }) }, t("thin")), nth),
    h("div.group", {}, doing("reverse", () => act("frames", { order: reversed(chosen(), count()) }), 2, "reverse"), doing("loop_here", () => { const order = loopedAt(chosen()[0], count()); if (order) act("frames", { order }); }))));
  const equal = h("input", { type: "checkbox", onchange: () => { isEqual = equal.checked; measure(); cells.clear(); list.replaceChildren(); fill(); } });
  const head = h("div.timeline-head", {}, h("h2", {}, t("timeline")), text, sum, h("label.check", {}, equal, t("equal_width")));

  return {
    element: h("section.timeline", { "aria-label": t("timeline") }, head, track, acts),
    // Take another clip; a selection of numbers that are still there stays.
    set: (next) => {
      clip = next;
      measure();
      cells.clear();
      list.replaceChildren();
      focus = clamp(focus, 1, Math.max(1, count()));
      select(chosen(), false);
      fill();
    },
    at: (number) => { if (number !== current) { current = number; mark(); } },
    select: (numbers) => select(numbers, false),
    end: (which) => { const numbers = chosen(); const edge = current + 1; select(which === "from" ? range(edge, Math.max(edge, numbers.at(-1) ?? edge)) : range(Math.min(edge, numbers[0] ?? edge), edge)); },
    drop, focus: () => list.focus(), get selection() { return chosen(); },
  };
};
