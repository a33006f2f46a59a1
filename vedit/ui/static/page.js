// The editor: what there is (source, chain, output, selection), and the parts of the page that show and change it.

import { makeChain, newCard } from "./chain.js";
import { clipsOf } from "./clips.js";
import { makeCommand } from "./command.js";
import { showKeys, showPresets } from "./dialogs.js";
import { h, icon, sign } from "./dom.js";
import { makeHistory } from "./history.js";
import { makePlacing } from "./placing.js";
import { makePlayer } from "./player.js";
import { makeResult } from "./result.js";
import { makeRuns } from "./runs.js";
import { changed, makeTimeline } from "./timeline.js";
import { bytes, languageCode, setLanguage, t } from "./words.js";

const [BIG_BYTES, BIG_PIXELS, PART] = [200e6, 2e9, 60]; // beyond these only the first images are made at first
const TEXT_INPUTS = new Set(["text", "number", "search", "url", "email"]);
const WORDS_OF_PATH = { copy: "lossless", index: "lossless", recolour: "lossless", full: "requantised" };

const pixelsOf = ({ width, height, images, frames }) => width * height * (images ?? frames ?? 1);
const isMoving = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;

// root: an element or a shadow root. store: sessionStorage, or null. keysOn: what hears the keys.
export const createEditor = async ({ root, transport, store = null, keysOn = document }) => {
  const history = makeHistory(store, () => ({ source: source?.source, uploads: Object.fromEntries(uploads), language }));
  const { kept } = history;
  let language = kept.language;
  setLanguage(language ?? navigator.language);
  if (root === document.body) document.documentElement.lang = languageCode();
  const [tables, session] = await Promise.all([transport.call("controls"), transport.call("session")]);
  const page = Math.random().toString(36).slice(2);
  const specs = new Map(tables.stages.map((spec) => [spec.name, spec]));
  const uploads = new Map(Object.entries(kept.uploads ?? {}));
  const sources = new Map(session.sources.map((one) => [one.source, one]));
  const { delaysOf, open } = clipsOf(transport);
  let source = null;

  // What is changed, and what follows from it.
  const edit = (change, { isLast = true, isNew = false, key = "", announce: words = "" } = {}) => {
    history.change(change, isLast);
    if (isLast) runs.onlyPart();
    if (isNew) chain.render();
    after(isLast, key);
    if (words) announce(t(words));
  };
  const after = (isLast, key) => {
    showHistory();
    if (isLast) history.keep();
    if (isLast || key !== "place") runs.soon(isLast); else runs.later();
    if (isLast) placing.follow();
  };
  const back = (go, words) => {
    if (!go()) return;
    chain.render();
    timeline.select(history.state.selection);
    after(true, "");
    announce(t(words));
  };
  const undo = () => back(history.undo, "undone");
  const redo = () => back(history.redo, "redone");
  const showHistory = () => { [undoButton.disabled, redoButton.disabled] = [!history.canUndo, !history.canRedo]; };

  // What is asked of the server.
  const active = () => history.state.chain.filter((entry) => entry.on);
  const find = (id) => history.state.chain.find((entry) => entry.id === id);
  const specsOf = (entries) => entries.map(({ stage, options }) => [stage, options]);
  const isBig = () => !runs.isWhole && (source.bytes > BIG_BYTES || pixelsOf(source.facts) > BIG_PIXELS);
  const jobOf = (entries) => ({ source: source.source, chain: specsOf(entries), output: history.state.output, page, ...(isBig() ? { first: PART } : {}) });
  const wish = () => source && { job: jobOf(active()), order: active().map(({ id }) => id) };
  const still = async (revision) => {
    try {
      const number = (player.clip("result")?.at(player.time) ?? 0) + 1;
      const bitmap = await transport.picture(revision, number);
      if (runs.running?.revision === revision && player.mode !== "base") player.showStill(bitmap, t("one_frame"));
    } catch { /* the whole is on its way */ }
  };
  const load = async (revision, report) => open(revision, report.facts, await transport.blob(revision, true));
  const show = (clip, current) => {
    player.show("result", clip);
    timeline.set(clip);
    timeline.select(history.state.selection);
    showBadges(current);
    result.show(current, source.bytes);
    for (const { text, stage } of current.report.warnings) {
      if (stage === null || !current.order[stage]) result.note("note", text); else chain.warn(current.order[stage], text);
    }
  };
  const showBadges = ({ report, order }) => {
    for (const { id } of history.state.chain) chain.badge(id, "");
    const words = WORDS_OF_PATH[report.path];
    const isDrawn = (id) => report.path === "recolour" && find(id)?.stage === "watermark";
    const told = words === "requantised" ? order.slice(-1) : words ? order : [];
    for (const id of told) chain.badge(id, t(isDrawn(id) ? "lossless_outside" : words));
  };
  const failed = (error, order) => {
    const text = error.text ?? error.message;
    const id = (error.stage ?? null) === null ? null : order[error.stage];
    if (id !== undefined && chain.fail(id, error.option, text)) announce(text); else result.tellOne("error", text);
  };

  // Sources.
  const use = async (next) => {
    if (next.error) { result.tellOne("error", next.error.text); return; }
    source = next;
    sources.set(next.source, next);
    app.dataset.state = "busy";
    result.clear();
    placing.leave();
    runs.forget();
    drop.hidden = true;
    app.classList.add("has-source");
    showSources();
    const blob = next.bytes < BIG_BYTES ? await transport.blob(next.source, false) : null;
    const clip = Object.assign(await open(next.source, next.facts, blob), { keeps: true });
    if (source !== next) { clip.close(); return; }
    player.clip("source")?.close();
    player.show("source", clip);
    if (!player.clip("result")) timeline.set(clip);
    if (isMoving()) player.play(true);
    history.keep();
    runs.run();
  };
  // Take files; the first one is shown, and the others can be chosen.
  const take = async (files) => {
    let first = null;
    for (const file of files) {
      app.dataset.state = "busy";
      try {
        const told = (share) => announce(t("sending", { name: file.name, percent: Math.round(share * 100) }), share);
        const next = await transport.addSource(checked(file), told);
        sources.set(next.source, next);
        if (first) showSources(); else await use(first = next);
      } catch (error) { // what was there stays
        runs.tell();
        result.tellOne("error", error.message);
      }
    }
    meter.hidden = true;
  };
  const checked = (file) => {
    const most = session.max_upload;
    if (file.size > most) throw new Error(t("too_large", { name: file.name, most: bytes(most) }));
    return file;
  };
  const upload = async (file) => {
    const { file: id } = await transport.addFile(checked(file));
    uploads.set(id, file.name);
    return id;
  };

  // Cards.
  const add = (spec) => {
    const entry = newCard(spec, history.nextId(), canvasOf());
    edit((next) => next.chain.push(entry), { isNew: true });
    chain.reveal(entry.id);
    if (entry.stage === "crop") placing.begin(entry.id, "rect");
  };
  const cardsOf = (steps) => steps.map(([stage, options]) => ({ id: history.nextId(), stage, options: { ...options }, on: true }));
  const setChain = (steps) => edit((now) => { now.chain = cardsOf(steps); }, { isNew: true });
  const canvasOf = (entry) => {
    if (entry && placing.id === entry.id) return placing.canvas;
    const { width, height } = source?.facts ?? { width: 100, height: 100 };
    const size = entry === active()[0] ? null : runs.current?.report.size_out;
    return size ? { width: size[0], height: size[1] } : { width, height };
  };
  const baseOf = async (entries) => {
    if (!entries.length) return player.clip("source");
    if (entries.length === active().length && runs.isShown(jobOf(entries))) return Object.assign(player.clip("result"), { keeps: true });
    const { revision, size_out: [width, height] } = await transport.call("plan", jobOf(entries));
    return open(revision, { width, height }, null);
  };
  // The timeline writes cards: into the last one where that says the same, else into a new one.
  const imagesInto = async (entries) => {
    if (!entries.length) return delaysOf(source.source, source.facts);
    return delaysOf((await transport.call("plan", jobOf(entries))).revision, {});
  };
  const writeTime = async (stage, options) => {
    const entries = active();
    const last = entries.at(-1);
    const needsCount = stage === "frames" && last?.stage === stage;
    const input = needsCount ? (await imagesInto(entries.slice(0, -1))).length : 0;
    const next = changed(entries, stage, options, input);
    if (stage === "frames") timeline.select([]);
    edit((now) => {
      if (stage === "frames") now.selection = [];
      if (next.merged) now.chain.find((entry) => entry.id === last.id).options = next.options;
      else now.chain.push(...cardsOf([[stage, next.options]]));
    }, { isNew: true });
  };

  // What is said: in one line for those who hear it, and while a file is sent beside a bar.
  const live = h("p.unseen", { role: "status", "aria-live": "polite" });
  const meter = h("div.meter", { hidden: true }, h("progress", { max: 1, value: 0, "aria-label": t("making") }), h("span", {}));
  const announce = (text, share = null) => {
    if (live.textContent !== text) live.textContent = text;
    if (share === null) return;
    meter.hidden = share >= 1;
    meter.firstChild.value = share;
    meter.lastChild.textContent = text;
  };
  let isOver = false;
  const over = (text) => {
    if (isOver) return; // the answer and the event both tell of it
    isOver = true;
    runs.end();
    player.play(false);
    app.inert = true;
    const told = h("div.over", { role: "alertdialog", "aria-label": text, tabindex: -1 }, icon("tick"), h("p", {}, text));
    app.after(told);
    told.focus();
  };

  // The parts.
  const services = { upload, selected: () => timeline.element.querySelector(".spans").value, nameOf: (id) => uploads.get(id) ?? id };
  const chain = makeChain({
    state: () => history.state, specs: (name) => specs.get(name) ?? { name, summary: "", options: [], ways: [] },
    edit, canvasOf, act: (...given) => placing.act(...given), add, nextId: history.nextId, services,
  });
  const player = makePlayer(({ number, clip }) => { if (clip === player.clip("result") || !player.clip("result")) timeline.at(number); });
  const timeline = makeTimeline({
    picked: (numbers) => { history.state.selection = numbers; history.keep(); }, act: writeTime, seen: (number) => player.goTo(number),
    thumb: async (clip, number) => clip.ready(number) ?? clip.frame(number),
  });
  const placing = makePlacing({
    app: () => app, hasSource: () => source !== null, player, chain, transport, active, find, jobOf, edit, baseOf, view: () => tab("view"),
    failed: (error, entries) => { app.dataset.state = "failed"; failed({ ...error, text: error.message }, entries.map(({ id }) => id)); },
  });
  const command = makeCommand(transport, announce);
  const presets = () => showPresets(app, transport, { chain: () => specsOf(active()), take: setChain });
  const result = makeResult(session, transport, PART, {
    app: () => app, announce, presets, over, stop: () => runs.stop(), again: (makesWhole) => runs.again(makesWhole),
  });
  const runs = makeRuns(transport, page, {
    wish, still, load, show, failed, progress: result.progress, is: (state) => { app.dataset.state = state; },
    began: (job) => { chain.clear(); command.tell(job, () => runs.isWanted(job)); },
    stopped: (wasWhole) => { announce(t("cancelled")); if (!wasWhole) result.offer(t("cancelled"), t("make_again"), false); },
    ended: (how) => over(t(how === "done" ? "done_told" : "ended", { name: session.output_name })),
  });
  player.done.addEventListener("click", () => placing.leave());

  // The head, and the whole.
  const picker = h("input.unseen", { type: "file", id: "pick-source", accept: "image/*,video/*", multiple: true, onchange: () => { take([...picker.files]); picker.value = ""; } });
  const shownSource = h("span.source-facts");
  const choose = h("select", { "aria-label": t("source"), hidden: true, onchange: () => use(sources.get(choose.value)) });
  const showSources = () => {
    const { width, height, images, frames } = source.facts;
    const count = images ?? frames;
    choose.hidden = sources.size < 2;
    choose.replaceChildren(...[...sources.values()].map((one) => h("option", { value: one.source }, one.name)));
    choose.value = source.source;
    const facts = [`${width} × ${height}`, count ? t("images_short", { count }) : "", bytes(source.bytes)].filter(Boolean).join(" · ");
    shownSource.replaceChildren(...(choose.hidden ? [h("b", {}, source.name)] : []), h("span", {}, facts));
  };
  const undoButton = sign("undo", `${t("undo")} (Ctrl+Z)`, undo, { disabled: true });
  const redoButton = sign("redo", `${t("redo")} (Ctrl+Shift+Z)`, redo, { disabled: true });
  const otherLanguage = () => { language = languageCode() === "en" ? "zh" : "en"; history.keep(); location.reload(); };
  const tabs = ["chain", "view", "result"].map((name) => h("button", { type: "button", "aria-pressed": name === "view", "data-tab": name, onclick: () => tab(name) }, t(`tab_${name}`)));
  const tab = (name) => { app.dataset.tab = name; for (const one of tabs) one.setAttribute("aria-pressed", one.dataset.tab === name); };
  const drop = h("section.drop", { "aria-label": t("open") }, icon("open"), h("h2", {}, t("drop_here")), h("label.button.primary", { htmlFor: "pick-source" }, t("or_pick")),
    h("p", {}, t(transport.address("x", true) ? "or_paste" : "or_paste_there")));
  const app = h("main.editor", { "data-tab": "view" },
    h("header", {}, h("h1", {}, "vedit"), h("div.source", {}, choose, shownSource), h("div.head-acts", {},
      h("label.button.quiet", { htmlFor: "pick-source" }, icon("open"), h("span.words", {}, t("open"))), undoButton, redoButton,
      store ? h("button.quiet.language", { type: "button", lang: languageCode() === "en" ? "zh" : "en", onclick: otherLanguage }, t("language")) : null,
      sign("help", `${t("keys")} (?)`, () => showKeys(app)))),
    picker, meter,
    h("div.left", {}, chain.element),
    h("div.middle", {}, drop, player.element, timeline.element),
    h("div.right", {}, result.element),
    command.element,
    h("nav.nav", { "aria-label": t("view") }, ...tabs), live);

  // Files by drop and paste.
  const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const dropped = ({ items, files }) => {
    const folder = [...items].map((item) => item.webkitGetAsEntry?.()).find((entry) => entry?.isDirectory);
    if (folder) result.tellOne("error", t("is_folder", { name: folder.name })); else take([...files]);
  };
  app.addEventListener("dragover", (event) => { if (hasFile(event)) { event.preventDefault(); app.classList.add("dropping"); } });
  app.addEventListener("dragleave", (event) => { if (!app.contains(event.relatedTarget)) app.classList.remove("dropping"); });
  app.addEventListener("drop", (event) => { app.classList.remove("dropping"); if (hasFile(event)) { event.preventDefault(); dropped(event.dataTransfer); } });
  keysOn.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) take([...event.clipboardData.files]); });

  // Keys; text boxes keep theirs, and controls keep those that work them.
  const crop = () => {
    if (placing.id !== null) { placing.leave(); return; }
    const card = active().find((entry) => entry.stage === "crop");
    if (card) placing.begin(card.id, "rect"); else if (source && specs.has("crop")) add(specs.get("crop"));
  };
  const acts = {
    " ": () => player.play(), ",": () => player.step(-1), ".": () => player.step(1), Home: () => player.goTo(0), End: () => player.goTo(-1), "[": () => timeline.end("from"), "]": () => timeline.end("to"),
    Delete: () => timeline.drop(), b: () => player.blink(true), 0: () => player.zoomTo(1, true), 1: () => player.zoomTo(1), "+": () => player.zoomBy(1), "=": () => player.zoomBy(1), "-": () => player.zoomBy(-1),
    c: crop, k: command.copy, "?": () => showKeys(app),
  };
  const withControl = { y: () => redo, z: (event) => (event.shiftKey ? redo : undo), s: () => result.download };
  const keyed = (event) => {
    const target = event.composedPath()[0];
    if (app.inert || target.closest?.("dialog")) return;
    const isText = target.matches?.("textarea, select, [contenteditable]") || (target.matches?.("input") && TEXT_INPUTS.has(target.type));
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      const doing = withControl[key]?.(event);
      if (doing && !(isText && key !== "s")) { doing(); event.preventDefault(); }
      return;
    }
    if (placing.id !== null && ["Enter", "Escape"].includes(event.key) && !isText) { placing.leave(); event.preventDefault(); return; }
    if (isText || event.altKey || (event.repeat && key === "b")) return;
    if (target.matches?.("button, a, summary, input") && [" ", "Home", "End"].includes(event.key)) return;
    if (!acts[key]) return;
    acts[key]();
    event.preventDefault();
  };
  keysOn.addEventListener("keydown", keyed);
  keysOn.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") player.blink(false); });
  window.addEventListener("blur", () => player.blink(false));
  window.addEventListener("pagehide", history.close);

  // Where it begins: as it was before a reload, else as the command line says.
  const isAgain = kept.state && (sources.has(kept.source) || !session.sources.length);
  if (isAgain) history.resume();
  else Object.assign(history.state, { chain: cardsOf(session.chain ?? []), output: { ...session.output } });
  root.append(app);
  chain.offer(tables.stages, tables.output, tables.formats);
  chain.render();
  showHistory();
  const first = [isAgain ? sources.get(kept.source) : null, ...session.sources].find((one) => one && !one.error);
  if (first) await use(first); else drop.hidden = false;
  for (const one of session.sources) if (one.error) result.tellOne("error", one.error.text);
  return { take, use, setChain, player, timeline, close: () => keysOn.removeEventListener("keydown", keyed), get state() { return history.state; } };
};
