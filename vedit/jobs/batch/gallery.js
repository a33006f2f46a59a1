// The gallery: cells of a batch in rows and columns. The pictures are read when they are seen, the strips of frames
// when they are played. Everything that somebody typed becomes text, never markup.
const batch = JSON.parse(document.getElementById("batch").textContent);
const STATES = ["done", "failed", "open", "running"];
const SAID = { done: "done", failed: "failed", open: "not made yet", running: "at work" };
const ROWS = 200; // of a page
const byId = (id) => document.getElementById(id);
const made = (kind, about = {}, ...children) => {
  const element = document.createElement(kind);
  for (const [key, value] of Object.entries(about)) {
    if (key === "class") element.className = value;
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
};
const dimensions = batch.dimensions;
const valueOf = (cell, d) => dimensions[d].values[cell.v[d]];
const seconds = (value) => (value >= 100 ? `${Math.floor(value / 60)}:${String(Math.round(value % 60)).padStart(2, "0")}` : `${Number(value).toPrecision(3)} s`);
batch.cells.forEach((cell, i) => {
  cell.at = i;
  cell.state = STATES[cell.s];
  const source = batch.sources[cell.c];
  cell.words = [cell.name, cell.prompt, source.name, source.prompt, cell.why ?? "", ...dimensions.map((d, n) => valueOf(cell, n)), ...Object.entries(cell.asked ?? {}).flat()].join("\n").toLowerCase();
});

// --- what is shown, and how: kept in the address, so that a reload and a link find it again
const state = { rows: [0], columns: dimensions.map((_, d) => d).slice(1), find: "", hidden: new Set(), sort: "list", page: 0 };
const keep = () => {
  const words = new URLSearchParams();
  words.set("rows", state.rows.map((d) => dimensions[d].name).join(","));
  words.set("columns", state.columns.map((d) => dimensions[d].name).join(","));
  if (state.find) words.set("find", state.find);
  if (state.hidden.size) words.set("hide", [...state.hidden].join(","));
  if (state.sort !== "list") words.set("sort", state.sort);
  if (state.page) words.set("page", state.page + 1);
  try { history.replaceState(null, "", `#${words}`); } catch { /* a page without an address of its own */ }
};
const restore = () => {
  const words = new URLSearchParams(location.hash.slice(1));
  const places = (name) => (words.get(name) ?? "").split(",").map((one) => dimensions.findIndex((d) => d.name === one)).filter((d) => d >= 0);
  if (words.has("rows") && words.has("columns")) {
    const [rows, columns] = [places("rows"), places("columns")];
    if (new Set([...rows, ...columns]).size === dimensions.length) Object.assign(state, { rows, columns });
  }
  state.find = words.get("find") ?? "";
  state.hidden = new Set((words.get("hide") ?? "").split(",").filter((one) => STATES.includes(one)));
  state.sort = words.get("sort") ?? "list";
  state.page = Math.max(0, (Number(words.get("page")) || 1) - 1);
};

// --- pictures
const picture = (about, alt) => {
  const view = made("span", { class: "view" });
  if (about.w) view.style.aspectRatio = `${about.w} / ${about.h}`;
  if (about.poster) {
    const image = made("img", { "data-src": about.poster, alt, decoding: "async", draggable: false });
    if (Math.max(about.w, about.h) <= 128) image.classList.add("small");
    view.append(image);
  }
  return view;
};
// Posters are read when they come near the window: browsers' own laziness reads hundreds ahead.
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    target.src = target.dataset.src;
    near.unobserve(target);
  }
}, { rootMargin: "300px" });
const strips = new Map(); // address -> promise of a picture
const stripOf = (about) => {
  if (!about.strip) return Promise.resolve(null);
  if (!strips.has(about.strip)) {
    if (strips.size > 64) strips.delete(strips.keys().next().value);
    strips.set(about.strip, new Promise((found) => {
      const image = new Image();
      image.onload = () => found({ picture: image, width: about.w, height: about.h, columns: 6, count: about.ms.length });
      image.onerror = () => found(null);
      image.src = about.strip;
    }));
  }
  return strips.get(about.strip);
};

// One clock for a row: each picture shows the frame of its own time, so that a change of speed can be seen.
let playing = null;
const stopRow = () => {
  if (!playing) return;
  cancelAnimationFrame(playing.timer);
  playing.canvases.forEach((canvas) => canvas.remove());
  playing = null;
};
const playRow = async (row) => {
  if (playing?.row === row || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  stopRow();
  const now = { row, canvases: [], timer: 0 };
  playing = now;
  const views = [...row.querySelectorAll("[data-plays]")];
  const tracks = (await Promise.all(views.map(async (view) => {
    const about = view.dataset.plays[0] === "s" ? batch.sources[view.dataset.plays.slice(1)] : batch.cells[view.dataset.plays.slice(1)];
    const strip = await stripOf(about);
    if (!strip) return null;
    const ends = [];
    about.ms.reduce((at, ms) => (ends.push(at + ms), at + ms), 0);
    return { view, strip, ends };
  }))).filter(Boolean);
  if (playing !== now) return;
  for (const track of tracks) {
    track.canvas = made("canvas", { width: track.strip.width, height: track.strip.height });
    if (Math.max(track.strip.width, track.strip.height) <= 128) track.canvas.className = "small";
    track.view.append(track.canvas);
    now.canvases.push(track.canvas);
  }
  const began = performance.now();
  const draw = (time) => {
    for (const { canvas, strip, ends } of tracks) {
      const at = Math.max(0, time - began) % ends.at(-1);
      const place = Math.max(0, ends.findIndex((end) => at < end));
      if (canvas.dataset.place === String(place)) continue;
      canvas.dataset.place = place;
      canvas.getContext("2d").drawImage(strip.picture, (place % strip.columns) * strip.width, Math.floor(place / strip.columns) * strip.height, strip.width, strip.height, 0, 0, strip.width, strip.height);
    }
    if (playing === now) now.timer = requestAnimationFrame(draw);
  };
  draw(began);
};

// --- cells, rows, pages
const caption = (cell) => {
  if (state.sort.startsWith("score:")) {
    const value = cell.scores?.[state.sort.slice(6)];
    return value === undefined ? "" : Number(value).toPrecision(4);
  }
  return cell.s === 0 && cell.t !== undefined ? seconds(cell.t) : "";
};
const narrow = matchMedia("(max-width: 40rem)");
// What tells a cell from those around it where no heading says so.
const variantOf = (cell) => {
  const headed = narrow.matches ? state.rows : [...state.rows, ...state.columns];
  return dimensions.map((d, n) => (n && !headed.includes(n) ? `${d.name} ${valueOf(cell, n)}` : "")).filter(Boolean).join(" · ");
};
const cellOf = (cell) => {
  const view = picture(cell, "");
  if (!cell.w) {
    const like = batch.sources[cell.c];
    if (like.w) view.style.aspectRatio = `${like.w} / ${like.h}`;
  }
  if (cell.s === 1) view.append(made("span", { class: "why" }, made("b", {}, "failed"), cell.why ?? ""));
  else if (cell.s) view.append(made("span", { class: "why soft" }, SAID[cell.state]));
  else if (!cell.poster) view.append(made("span", { class: "why soft" }, "no picture"));
  if (cell.strip) view.dataset.plays = `c${cell.at}`;
  const title = made("span", {}, cell.prompt || cell.name);
  const variant = variantOf(cell);
  const element = made("button", { type: "button", class: `cell ${cell.state}`, title: `${cell.name}\n${cell.prompt}` }, view, made("span", { class: "what" }, title, made("span", {}, caption(cell))), variant ? made("span", { class: "variant" }, variant) : "");
  element.dataset.at = cell.at;
  element.setAttribute("aria-label", `${cell.name}, ${SAID[cell.state]}${cell.why ? `: ${cell.why}` : ""}`);
  return element;
};
const keyOf = (cell, places) => places.map((d) => cell.v[d]).join(",");
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const weight = (cell) => { // what a cell is sorted by: a missing value stands last
  if (state.sort === "slow") return -(cell.t ?? -Infinity);
  if (state.sort === "failed") return [1, 0, 3, 2][cell.s];
  if (state.sort.startsWith("score:")) {
    const name = state.sort.slice(6);
    const value = cell.scores?.[name];
    return value === undefined ? Infinity : batch.lower.includes(name) ? value : -value;
  }
  return cell.at;
};
const arranged = () => {
  const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
  const cells = batch.cells.filter((cell) => !state.hidden.has(cell.state) && words.every((word) => cell.words.includes(word)));
  const rows = new Map();
  const columns = new Map();
  for (const cell of cells) {
    const [row, column] = [keyOf(cell, state.rows), keyOf(cell, state.columns)];
    if (!rows.has(row)) rows.set(row, { first: cell, cells: [] });
    rows.get(row).cells.push(cell);
    if (!columns.has(column)) columns.set(column, cell);
  }
  const order = [...rows.values()];
  if (state.sort === "name") order.sort((a, b) => valueText(a.first).localeCompare(valueText(b.first), undefined, { numeric: true }));
  else if (state.sort !== "list") {
    for (const row of order) row.weight = Math.min(...row.cells.map(weight));
    order.sort((a, b) => compare(a.weight, b.weight));
    if (!state.columns.length) order.forEach((row) => row.cells.sort((a, b) => compare(weight(a), weight(b))));
  }
  const heads = [...columns.entries()].sort(([, a], [, b]) => state.columns.reduce((found, d) => found || a.v[d] - b.v[d], 0));
  return { cells, rows: order, heads };
};
const valueText = (cell) => state.rows.map((d) => valueOf(cell, d)).join(" · ");
// A name that may be broken behind what joins its words.
const breakable = (text) => text.split(/(?<=[_./-])/).flatMap((part) => [part, made("wbr")]);
const rowOf = (row, heads) => {
  const first = row.first;
  const who = made("div", { class: "who" });
  const isClip = state.rows.includes(0);
  if (isClip) {
    const source = batch.sources[first.c];
    const view = picture(source, "source");
    if (source.strip) view.dataset.plays = `s${first.c}`;
    who.append(view);
  }
  who.append(made("h2", {}, ...breakable(valueText(first) || "all")));
  if (isClip && batch.sources[first.c].prompt) who.append(made("p", { title: batch.sources[first.c].prompt }, batch.sources[first.c].prompt));
  const cells = made("div", { class: "cells" });
  if (!state.columns.length) cells.append(...row.cells.map(cellOf));
  else {
    const places = new Map(heads.map(([key], place) => [key, place]));
    const stacks = new Map();
    for (const cell of row.cells) {
      const place = places.get(keyOf(cell, state.columns));
      if (!stacks.has(place)) stacks.set(place, []);
      stacks.get(place).push(cell);
    }
    for (const [place, group] of [...stacks].sort(([a], [b]) => a - b)) {
      const element = group.length === 1 ? cellOf(group[0]) : made("div", { class: "stack" }, ...group.map(cellOf));
      element.style.gridColumn = place + 1;
      element.style.gridRow = 1;
      cells.append(element);
    }
    cells.style.gridTemplateColumns = narrow.matches ? "" : `repeat(${heads.length}, var(--cell))`;
  }
  return made("section", { class: "row" }, who, cells);
};
const draw = () => {
  stopRow();
  const board = byId("board");
  const found = arranged();
  const count = Math.max(1, Math.ceil(found.rows.length / ROWS));
  state.page = Math.min(state.page, count - 1);
  board.classList.toggle("flow", !state.columns.length);
  fit(found.heads.length);
  const parts = [];
  if (state.columns.length) {
    const heads = found.heads.map(([, cell], place) => {
      const words = state.columns.map((d) => made("div", {}, `${dimensions[d].name} `, made("b", {}, valueOf(cell, d))));
      const head = made("div", {}, ...words);
      head.style.gridColumn = place + 1;
      return head;
    });
    const cells = made("div", { class: "cells" }, ...heads);
    cells.style.gridTemplateColumns = `repeat(${heads.length}, var(--cell))`;
    parts.push(made("div", { class: "row heads" }, made("div", { class: "who" }), cells));
  }
  parts.push(...found.rows.slice(state.page * ROWS, (state.page + 1) * ROWS).map((row) => rowOf(row, found.heads)));
  if (!found.cells.length) parts.push(made("p", { class: "nothing" }, "Nothing is like that. ", "Clear the search, or show more states."));
  near.disconnect();
  board.replaceChildren(...parts);
  board.querySelectorAll("img[data-src]").forEach((image) => near.observe(image));
  drawPages(count);
  tell(found.cells.length);
  keep();
};
// Until somebody chooses a size, all columns are put into the window if they can be.
let isChosen = false;
const fit = (columns) => {
  if (isChosen || narrow.matches) return;
  const room = document.documentElement.clientWidth - 240;
  const side = state.columns.length ? Math.max(112, Math.min(224, Math.floor(room / Math.max(1, columns)) - 10)) : 176;
  document.documentElement.style.setProperty("--cell", `${side}px`);
  byId("size").value = side;
};
const drawPages = (count) => {
  const turn = (page) => () => { state.page = page; draw(); scrollTo({ top: 0 }); };
  byId("pages").replaceChildren(...(count < 2 ? [] : Array.from({ length: count }, (_, page) => {
    const button = made("button", { type: "button" }, String(page + 1));
    if (page === state.page) button.setAttribute("aria-current", "page");
    button.addEventListener("click", turn(page));
    return button;
  })));
};

// --- the top
const counts = STATES.map((_, s) => batch.cells.filter((cell) => cell.s === s).length);
const tell = (shown) => {
  const times = batch.cells.filter((cell) => cell.t !== undefined).map((cell) => cell.t).sort((a, b) => a - b);
  const parts = [`${batch.out}: ${counts[0]} of ${batch.cells.length} done`];
  if (counts[1]) parts.push(`${counts[1]} failed`);
  if (counts[3]) parts.push(`${counts[3]} at work`);
  if (times.length) parts.push(`${seconds(times[Math.floor(times.length / 2)])} each`);
  parts.push(`written ${new Date(batch.written * 1000).toLocaleString()}`);
  if (shown < batch.cells.length) parts.push(`${shown} shown`);
  if (batch.left) parts.push(`${batch.left} pictures were too large to put into this page`);
  byId("sum").textContent = parts.join(" · ");
};
const drawTop = () => {
  byId("bar").replaceChildren(...STATES.map((name, s) => {
    const part = made("i", { class: name });
    part.style.width = `${(100 * counts[s]) / batch.cells.length}%`;
    return part;
  }));
  byId("states").replaceChildren(...STATES.flatMap((name, s) => {
    if (!counts[s]) return [];
    const chip = made("button", { type: "button", class: `chip ${name}` }, `${SAID[name]} ${counts[s]}`);
    chip.setAttribute("aria-pressed", String(!state.hidden.has(name)));
    chip.addEventListener("click", () => {
      state.hidden.has(name) ? state.hidden.delete(name) : state.hidden.add(name);
      chip.setAttribute("aria-pressed", String(!state.hidden.has(name)));
      state.page = 0;
      draw();
    });
    return [chip];
  }));
  const orders = [["list", "as listed"], ["name", "by name"], ["slow", "slowest first"], ["failed", "failed first"], ...batch.scores.map((name) => [`score:${name}`, `best ${name}`])];
  byId("sort").replaceChildren(...orders.map(([value, text]) => made("option", { value }, text)));
  if (!orders.some(([value]) => value === state.sort)) state.sort = "list";
  byId("sort").value = state.sort;
  byId("find").value = state.find;
  byId("reload").hidden = !(counts[2] || counts[3]);
};
const moveTo = (d, zone, before = null) => {
  for (const name of ["rows", "columns"]) state[name] = state[name].filter((one) => one !== d);
  const place = before === null ? -1 : state[zone].indexOf(before);
  state[zone].splice(place < 0 ? state[zone].length : place, 0, d);
  state.page = 0;
  drawPivot();
  draw();
  document.querySelector(`.zone .chip[data-d="${d}"]`)?.focus();
};
const drawPivot = () => {
  byId("pivot").hidden = dimensions.length < 2;
  for (const zone of document.querySelectorAll(".zone")) {
    const name = zone.dataset.zone;
    const other = name === "rows" ? "columns" : "rows";
    zone.querySelectorAll(".chip").forEach((chip) => chip.remove());
    for (const d of state[name]) {
      const chip = made("button", { type: "button", class: "chip", draggable: true, "data-d": String(d), title: `drag, or press to move to the ${other}` }, `${dimensions[d].name} ${dimensions[d].values.length}`);
      chip.setAttribute("aria-label", `${dimensions[d].name}, in the ${name}: press to move to the ${other}`);
      chip.addEventListener("click", () => moveTo(d, other));
      chip.addEventListener("dragstart", (event) => { event.dataTransfer.setData("text/plain", String(d)); event.dataTransfer.effectAllowed = "move"; });
      zone.append(chip);
    }
  }
};
for (const zone of document.querySelectorAll(".zone")) {
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const d = Number(event.dataTransfer.getData("text/plain"));
    const on = event.target.closest?.(".chip");
    if (dimensions[d]) moveTo(d, zone.dataset.zone, on ? Number(on.dataset.d) : null);
  });
}
let typing = 0;
byId("find").addEventListener("input", (event) => {
  state.find = event.target.value;
  state.page = 0;
  clearTimeout(typing);
  typing = setTimeout(draw, batch.cells.length > 500 ? 150 : 0);
});
byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; draw(); });
byId("size").addEventListener("input", (event) => { isChosen = true; document.documentElement.style.setProperty("--cell", `${event.target.value}px`); });
byId("reload").addEventListener("click", () => location.reload());
narrow.addEventListener("change", draw);

// --- pointer and keys on the board
const board = byId("board");
board.addEventListener("pointerover", (event) => {
  const row = event.target.closest(".row:not(.heads)");
  if (row && event.target.closest(".view, .cell")) playRow(row);
});
board.addEventListener("pointerleave", stopRow);
board.addEventListener("focusin", (event) => { const row = event.target.closest(".row"); if (row) playRow(row); });
board.addEventListener("focusout", (event) => { if (!event.relatedTarget?.closest?.(".row")) stopRow(); });
board.addEventListener("click", (event) => { const cell = event.target.closest(".cell"); if (cell) open(Number(cell.dataset.at)); });
board.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.(".cell");
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!cell || !way) return;
  const all = [...board.querySelectorAll(".cell")];
  const at = all.indexOf(cell);
  let next = way[0] ? all[at + way[0]] : null;
  if (way[1]) {
    const from = cell.getBoundingClientRect();
    const far = (other) => {
      const box = other.getBoundingClientRect();
      return (box.top - from.top) * way[1] > 4 ? Math.abs(box.top - from.top) * 4 + Math.abs(box.left - from.left) : Infinity;
    };
    const near = all.slice(Math.max(0, at - 300), at + 300);
    next = near.reduce((best, other) => (far(other) < far(best) ? other : best), cell);
  }
  if (next && next !== cell) { next.focus(); next.scrollIntoView({ block: "nearest", inline: "nearest" }); }
  event.preventDefault();
});

// --- one cell, large
const dialog = byId("shown");
const player = makePlayer(dialog.querySelector(".player"));
const sequence = () => [...board.querySelectorAll(".cell")].map((element) => Number(element.dataset.at));
let opened = -1;
const entry = (term, ...content) => [made("dt", {}, term), made("dd", {}, ...content)];
const link = (href, text) => made("a", { href, target: "_blank", rel: "noopener" }, text);
const copied = (text) => {
  const button = made("button", { type: "button" }, "copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "copied"; } catch {
      getSelection().selectAllChildren(button.previousElementSibling); // a page from a file may have no clipboard
    }
  });
  return made("div", { class: "line" }, made("pre", {}, text), button);
};
const differences = (cell) => {
  const order = sequence();
  const at = order.indexOf(cell.at);
  const other = [order[at - 1], order[at + 1]].map((place) => batch.cells[place]).find((one) => one && one.c === cell.c) ?? batch.cells[order[at - 1] ?? order[at + 1]];
  const asked = (one) => ({ prompt: one.prompt, source: batch.sources[one.c].name, ...one.asked });
  const [here, there] = [asked(cell), other ? asked(other) : {}];
  const keys = [...new Set([...Object.keys(here), ...Object.keys(there)])].filter((key) => here[key] !== there[key]);
  if (!other || !keys.length) return [];
  const rows = keys.map((key) => made("tr", {}, made("th", { scope: "row" }, key), made("td", {}, here[key] ?? "–"), made("td", {}, there[key] ?? "–")));
  const head = made("tr", {}, made("th", {}, ""), made("th", {}, "here"), made("th", {}, other.name));
  return [made("h3", {}, "what differs from its neighbour"), made("div", { class: "scroll" }, made("table", {}, made("tbody", {}, head, ...rows)))];
};
const factsOf = (cell) => {
  const source = batch.sources[cell.c];
  const list = made("dl", {});
  list.append(...entry("prompt", cell.prompt || "–"), ...entry("source", source.href ? link(source.href, source.name) : source.name, source.prompt ? ` (${source.prompt})` : ""));
  for (const [key, value] of Object.entries(cell.asked ?? {})) list.append(...entry(key, value));
  if (cell.clip) list.append(...entry("clip", `${cell.clip[0]} x ${cell.clip[1]}, ${cell.clip[2]} frames`));
  if (cell.t !== undefined) list.append(...entry("made in", `${seconds(cell.t)}${cell.tries > 1 ? `, try ${cell.tries}` : ""}${cell.host ? `, on ${cell.host}` : ""}`));
  for (const [name, value] of Object.entries(cell.scores ?? {})) list.append(...entry(name, Number(value).toPrecision(4)));
  if (cell.href) list.append(...entry("file", link(cell.href, cell.name), ...(cell.record ? [" · ", link(cell.record, "run record")] : [])));
  if (cell.log) list.append(...entry("log", link(cell.log, cell.log_name)));
  const parts = [];
  if (cell.s === 1) parts.push(made("h3", {}, `failed${cell.exit ? ` with exit code ${cell.exit}` : ""}${cell.tries ? `, after ${cell.tries} ${cell.tries > 1 ? "tries" : "try"}` : ""}`), made("pre", { class: "bad" }, cell.why ?? ""));
  parts.push(list, ...differences(cell));
  if (cell.line) parts.push(made("h3", {}, "the same again"), copied(cell.line));
  return parts;
};
const open = async (place) => {
  const cell = batch.cells[place];
  const source = batch.sources[cell.c];
  opened = place;
  byId("shown-name").textContent = cell.name;
  byId("facts").replaceChildren(...factsOf(cell));
  const [before, after] = await Promise.all([stripOf(source), stripOf(cell)]);
  if (opened !== place) return;
  const box = dialog.querySelector(".player");
  box.hidden = !before && !after;
  box.classList.toggle("has-both", Boolean(before && after));
  for (const [name, strip] of [["source", before], ["edited", after]]) {
    const pane = box.querySelector(`.pane.${name}`);
    pane.hidden = !strip;
    pane.querySelector("canvas").classList.toggle("small", Boolean(strip) && Math.max(strip.width, strip.height) <= 128);
  }
  const largest = after ?? before;
  if (largest) {
    const side = Math.min(416, Math.max(largest.width, 320)) * Math.min(1, (1.2 * largest.width) / largest.height);
    box.style.setProperty("--shown", `${Math.round(side)}px`);
    if (!(before && after)) { const mode = box.querySelector("[data-do=mode]"); mode.value = "side"; mode.dispatchEvent(new Event("change")); }
    player.take({ source: before, edited: after }, (after ? cell : source).ms);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.start();
  }
  stopRow();
  if (!dialog.open) {
    dialog.showModal();
    (box.hidden ? dialog.querySelector("[data-go=close]") : box).focus(); // arrows step through the frames
  }
  dialog.scrollTop = 0;
};
const go = (way) => {
  const order = sequence();
  const next = order[order.indexOf(opened) + way];
  if (next !== undefined) open(next);
};
dialog.querySelector("[data-go=before]").addEventListener("click", () => go(-1));
dialog.querySelector("[data-go=behind]").addEventListener("click", () => go(1));
dialog.querySelector("[data-go=close]").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const way = { j: -1, k: 1 }[event.key.toLowerCase()];
  if (way) { go(way); event.preventDefault(); }
});
dialog.addEventListener("close", () => {
  player.stop();
  board.querySelector(`.cell[data-at="${opened}"]`)?.focus({ preventScroll: false });
  opened = -1;
});

restore();
drawTop();
drawPivot();
draw();
