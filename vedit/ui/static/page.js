// The editor: what there is (source, chain, output, selection), its history, and the runs that follow from it.

import { h, icon, sign } from "./dom.js";
import { makeChain, newCard } from "./chain.js";
import { makeBox, ofAspect, rectOf, rectText } from "./crop.js";
import { decoderOf, makeClip, makePlayer } from "./player.js";
import { changed, makeTimeline } from "./timeline.js";
import { bytes, has, languageCode, named, setLanguage, t } from "./words.js";

const PAUSE_MS = 120; // after the last move of a slider, until a run begins
const SLOW_MS = 400; // after a run as slow as this, one image is shown first
const STEPS = 200; // of undo
const [BIG_BYTES, BIG_PIXELS, PART] = [200e6, 2e9, 60]; // beyond these only the first images are made at first
const KEPT = "vedit-editor";
const PLACES = ["top-left", "top-center", "top-right", "center-left", "center", "center-right", "bottom-left", "bottom-center", "bottom-right"];
const TEXT_INPUTS = new Set(["text", "number", "search", "url", "email"]);
const KEYS = { play: "Space", step: ", .", ends: "Home End", select: "[ ]", drop: "Del", blink: "B", fit: "0 1", zoom: "+ −", crop: "C", undo: "Ctrl+Z Ctrl+Shift+Z", copy: "K", download: "Ctrl+S", keys: "?" };

// root: an element or a shadow root. store: sessionStorage, or null. keysOn: what hears the keys.
// told({revision, report, blob, chain, command}): after each result.
export const createEditor = async ({ root, transport, store = null, keysOn = document, told = () => {} }) => {
  const kept = JSON.parse(store?.getItem(KEPT) ?? "{}");
  setLanguage(kept.language ?? navigator.language);
  if (root === document.body) document.documentElement.lang = languageCode();
  const [tables, session] = await Promise.all([transport.call("controls"), transport.call("session")]);
  const page = Math.random().toString(36).slice(2);
  const specs = new Map(tables.stages.map((spec) => [spec.name, spec]));
  const uploads = new Map(Object.entries(kept.uploads ?? {}));
  const sources = new Map(session.sources.map((one) => [one.source, one]));
  const early = new Map(); // ends of runs by revision, of which nobody knew yet
  let state = { chain: [], output: {}, selection: [] };
  let [ids, source, history, future, gesture] = [0, null, [], [], null];
  let [timer, wanted, running, shownJob, tookMs, current, isWhole, placing, isOver, command, isAsking] = [0, "", null, "", 0, null, false, null, false, null, 0];

  // History. A gesture, such as the moves of one slider, is one step.
  const snapshot = () => JSON.stringify(state);
  const nextId = () => { ids += 1; return ids; };
  const keepAll = () => store?.setItem(KEPT, JSON.stringify({ source: source?.source, state, history: history.slice(-STEPS), future, uploads: Object.fromEntries(uploads), language: kept.language }));
  const remember = () => { history.push(gesture ?? snapshot()); history = history.slice(-STEPS); future = []; };
  const edit = (change, { isLast = true, isNew = false, key = "", announce: words = "" } = {}) => {
    gesture ??= snapshot();
    change(state);
    if (isLast) {
      if (gesture !== snapshot()) remember();
      gesture = null;
      isWhole = false;
    }
    if (isNew) chain.render();
    after(isLast, key);
    if (words) announce(t(words));
  };
  const after = (isLast, key) => {
    undoButton.disabled = !history.length;
    redoButton.disabled = !future.length;
    if (isLast) keepAll();
    clearTimeout(timer);
    app.dataset.state = "busy";
    if (isLast || key !== "place") timer = setTimeout(run, isLast ? 0 : PAUSE_MS); // what is dragged is seen anyway
    if (isLast) followPlacing();
  };
  const back = (from, to, words) => {
    if (!from.length) return;
    to.push(snapshot());
    state = JSON.parse(from.pop());
    gesture = null;
    chain.render();
    timeline.select(state.selection);
    after(true);
    announce(t(words));
  };
  const undo = () => back(history, future, "undone");
  const redo = () => back(future, history, "redone");

  // What is asked of the server.
  const active = () => state.chain.filter((entry) => entry.on);
  const specsOf = (entries) => entries.map(({ stage, options }) => [stage, options]);
  const isBig = () => source && !isWhole && (source.bytes > BIG_BYTES || source.facts.width * source.facts.height * (source.facts.images ?? source.facts.frames ?? 1) > BIG_PIXELS);
  const jobOf = (entries) => ({ source: source.source, chain: specsOf(entries), output: state.output, page, ...(isBig() ? { first: PART } : {}) });

  const run = async () => {
    clearTimeout(timer);
    timer = 0;
    if (!source || isOver) return;
    if (isAsking) { isAsking = 2; return; } // one question at a time; the last wish follows
    const entries = active();
    const text = JSON.stringify(jobOf(entries));
    if (text === wanted) { if (text === shownJob) app.dataset.state = "ready"; return; }
    app.dataset.state = "busy";
    wanted = text;
    const [job, order, began] = [JSON.parse(text), entries.map(({ id }) => id), performance.now()];
    tellCommand(job);
    chain.clear();
    let answer = null;
    isAsking = 1;
    early.clear();
    try { answer = await transport.call("run", job); } catch (error) { if (text === wanted) fail(error, order); }
    const isAgain = isAsking === 2;
    isAsking = 0;
    if (isAgain) run();
    if (answer && !wanted) transport.call("cancel", { page }).catch(() => {}); // stopped before it was heard
    if (!answer || text !== wanted) return;
    running = { revision: answer.revision, order, job, text, began };
    const known = early.get(answer.revision); // its event may be quicker than the answer
    if (answer.report ?? known?.report) { finish(answer.report ?? known.report); return; }
    if (known) { fail(known.error, order); return; }
    progress(0, null);
    if (tookMs > SLOW_MS) showStill(answer.revision);
  };
  const showStill = async (revision) => {
    try {
      const number = (player.clip("result")?.at(player.time) ?? 0) + 1;
      const bitmap = await transport.picture(revision, number);
      if (running?.revision === revision && player.mode !== "base") player.showStill(bitmap, t("one_frame"));
    } catch { /* the whole is on its way */ }
  };
  transport.listen((message) => {
    if (message.ended) { over(t(message.ended === "done" ? "done_told" : "ended", { name: session.output_name })); return; }
    if (message.again) { if (running) { wanted = ""; run(); } return; } // events may have been missed
    if (message.revision !== running?.revision) {
      if (message.report || message.error) early.set(message.revision, message);
      return;
    }
    if (message.report) finish(message.report); else if (message.error) fail(message.error, running.order);
    else if (message.image) progress(message.image, message.total);
  });
  const finish = async (report) => {
    const { revision, order, began, job, text: asked } = running;
    running = null;
    tookMs = performance.now() - began;
    progress(null);
    const blob = await transport.blob(revision, true);
    const clip = await open(revision, report.facts, blob, true);
    if (asked !== wanted) { clip.close(); return; }
    current = { revision, report, job };
    shownJob = asked;
    if (!timer) app.dataset.state = "ready"; // else something newer is wished already
    player.show("result", clip);
    timeline.set(clip);
    timeline.select(state.selection);
    for (const entry of state.chain) chain.badge(entry.id, "");
    const words = { copy: "lossless", index: "lossless", recolour: "lossless", full: "requantised" }[report.path];
    const isDrawn = (id) => report.path === "recolour" && state.chain.find((entry) => entry.id === id)?.stage === "watermark";
    for (const id of words === "requantised" ? order.slice(-1) : words ? order : []) chain.badge(id, t(isDrawn(id) ? "lossless_outside" : words));
    showReport(report);
    for (const { text, stage } of report.warnings) { if (stage === null || !order[stage]) notes.append(h("p.note", {}, text)); else chain.warn(order[stage], text); }
    told({ revision, report, blob, job, command });
  };
  const fail = (error, order) => {
    running = null;
    app.dataset.state = "failed";
    progress(null);
    const text = error.text ?? error.message;
    const id = error.stage === null || error.stage === undefined ? null : order[error.stage];
    const isPlaced = id !== undefined && chain.fail(id, error.option, text);
    if (!isPlaced) notes.replaceChildren(h("p.error", {}, text));
    announce(text);
  };

  // Clips: by the browser's decoder where it has one for the file, else image by image from the server.
  const delaysOf = async (id, facts) => facts.delays_cs ?? (await transport.call(`timeline/${id}`)).delays_cs;
  const open = async (id, facts, blob, isResult) => {
    const delays = await delaysOf(id, facts);
    const shape = { width: facts.width, height: facts.height, delays: delays.length ? delays : [10] };
    const decoder = blob && await decoderOf(blob, facts.format).catch(() => null);
    if (decoder?.count === shape.delays.length) return makeClip(shape, decoder.decode, decoder.close);
    decoder?.close();
    return makeClip(shape, (number) => transport.picture(id, number + 1));
  };
  const use = async (next) => {
    if (next.error) { fail(next.error, []); return; }
    source = next;
    sources.set(next.source, next);
    app.dataset.state = "busy";
    notes.replaceChildren();
    leavePlacing();
    [wanted, running, isWhole] = ["", null, false];
    drop.hidden = true;
    app.classList.add("has-source");
    showSources();
    const blob = next.bytes < BIG_BYTES ? await transport.blob(next.source, false) : null;
    const clip = Object.assign(await open(next.source, next.facts, blob, false), { keeps: true });
    if (source !== next) { clip.close(); return; }
    player.clip("source")?.close();
    player.show("source", clip);
    if (!player.clip("result")) timeline.set(clip);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.play(true);
    keepAll();
    run();
  };
  const take = async (file) => {
    if (!file) return;
    const before = app.dataset.state ?? "";
    try {
      app.dataset.state = "busy";
      const told = (share) => announce(t("sending", { name: file.name, percent: Math.round(share * 100) }), share);
      await use(await transport.addSource(file, told));
    } catch (error) { // what was there stays
      app.dataset.state = before;
      announceError(error.message);
    }
    meter.hidden = true;
  };
  const upload = async (file) => {
    const { file: id } = await transport.addFile(file);
    uploads.set(id, file.name);
    return id;
  };

  // Places on the picture: what is shown is what goes into the stage, or for a watermark what comes out of it.
  const add = (spec) => {
    const entry = newCard(spec, nextId(), canvasOf());
    edit((next) => next.chain.push(entry), { isNew: true });
    chain.reveal(entry.id);
    if (entry.stage === "crop") place(entry.id, "rect");
  };
  const canvasOf = (entry) => {
    if (placing && entry?.id === placing.id) return placing.canvas;
    const own = source?.facts ?? { width: 100, height: 100 };
    const [width, height] = entry === active()[0] ? [own.width, own.height] : current?.report.size_out ?? [own.width, own.height];
    return { width, height };
  };
  const act = (id, what, value, name) => {
    if (what === "draw") placing?.id === id ? leavePlacing() : place(id, value);
    if (what === "aspect" && value) setAspect(id, value, name);
    if (what === "aspect" && !value) placing?.box.setAspect(0);
  };
  const setAspect = async (id, value) => {
    if (placing?.id !== id) await place(id, "rect");
    const { width, height } = placing.canvas;
    const [x, y] = value === "own" ? [width, height] : value.split(":").map(Number);
    placing.box.setAspect(x / y);
  };
  const place = async (id, option, isAsked = true) => {
    const entries = active();
    const at = entries.findIndex((entry) => entry.id === id);
    if (at < 0) return;
    const entry = entries[at];
    const before = app.getRootNode().activeElement;
    const isDrawing = entry.stage === "watermark";
    const shown = entries.slice(0, isDrawing ? at + 1 : at);
    if (isAsked) tab("view"); // at once: who goes back to the steps while this is measured stays there
    try {
      const measured = await transport.call("measure", { ...jobOf(entries), stage: at });
      const canvas = { width: measured.width, height: measured.height };
      const base = await baseOf(shown);
      const [x, y, w, tall] = measured.boxes.at(-1) ?? [0, 0, canvas.width, canvas.height];
      leavePlacing(false);
      player.show("base", base);
      const wasPlaying = placing?.wasPlaying ?? player.isPlaying;
      player.setMode("base");
      player.play(false);
      player.done.hidden = false;
      const edges = { x: [0, canvas.width], y: [0, canvas.height] };
      const margin = Number(entry.options.margin ?? 10);
      const snaps = isDrawing ? { x: [margin, canvas.width - margin], y: [margin, canvas.height - margin] } : edges;
      const box = makeBox({
        layer: player.overlay, canvas, label: t(has(`box_${entry.stage}`) ? `box_${entry.stage}` : "stage"), rect: { x, y, w, h: tall },
        hasHandles: !isDrawing, isLoose: isDrawing, isDimming: entry.stage === "crop", snaps,
        changed: (rect, isLast) => edit(() => write(entry.id, rect, canvas, margin), { isLast, key: "place" }),
      });
      placing = { id, option, box, canvas, wasPlaying, shown: JSON.stringify(specsOf(shown.filter((one) => one.id !== id))), own: JSON.stringify(entry.options) };
      const now = app.getRootNode().activeElement; // who has gone on meanwhile keeps the focus
      if (now === before || !app.contains(now) || now === app || now.closest(".card, .viewport")) box.element.focus({ preventScroll: true });
      if (entry.stage === "crop") findBorder(entries, at, box, edges);
    } catch (error) { fail({ ...error, text: error.message }, entries.map((one) => one.id)); }
  };
  const baseOf = async (entries) => {
    if (!entries.length) return player.clip("source");
    if (entries.length === active().length && current?.job && JSON.stringify(jobOf(entries)) === shownJob) return Object.assign(player.clip("result"), { keeps: true });
    const plan = await transport.call("plan", jobOf(entries));
    const [width, height] = plan.size_out;
    return open(plan.revision, { width, height }, null, true);
  };
  const findBorder = async (entries, at, box, edges) => {
    const job = { ...jobOf(entries), chain: [...specsOf(entries.slice(0, at)), ["crop", { auto: "true" }]], stage: at };
    const found = await transport.call("measure", job).catch(() => null);
    if (!found?.boxes.length) return;
    const [x, y, w, tall] = found.boxes[0];
    box.setSnaps({ x: [...edges.x, x, x + w], y: [...edges.y, y, y + tall] });
  };
  const write = (id, rect, canvas, margin) => {
    const entry = state.chain.find((one) => one.id === id);
    const { options } = entry;
    if (entry.stage === "watermark") {
      const near = PLACES.find((name) => {
        const [x, y] = cornerOf(name, rect, canvas, margin);
        return Math.abs(x - rect.x) <= 1 && Math.abs(y - rect.y) <= 1;
      });
      delete options.at;
      if (near) options.position = near; else { options.at = `${rect.x},${rect.y}`; delete options.position; delete options.margin; }
    } else if (entry.stage === "crop" && ["left", "right", "top", "bottom"].some((name) => options[name] !== undefined)) {
      const share = (part, whole) => `${Number(((part / whole) * 100).toFixed(2))}%`;
      const { width, height } = canvas;
      Object.assign(options, { left: share(rect.x, width), right: share(width - rect.x - rect.w, width), top: share(rect.y, height), bottom: share(height - rect.y - rect.h, height) });
    } else if (entry.stage === "blur") {
      const regions = (options.rect ?? "").split(/\s+/).filter(Boolean);
      const when = /@.*/.exec(regions.at(-1) ?? "")?.[0] ?? "";
      options.rect = [...regions.slice(0, -1), rectText(rect) + when].join(" ");
    } else {
      const isNewWay = options.rect === undefined;
      for (const name of ["centre", "auto"]) delete options[name];
      options.rect = rectText(rect);
      if (isNewWay) chain.render();
    }
    if (placing) placing.own = JSON.stringify(options);
    chain.refresh(id);
  };
  const cornerOf = (name, { w, h: tall }, { width, height }, margin) => {
    const [vertical, horizontal] = name === "center" ? ["center", "center"] : name.split("-");
    const on = (end, length, whole) => Math.max(0, Math.min({ left: margin, top: margin, right: whole - length - margin, bottom: whole - length - margin }[end] ?? Math.floor((whole - length) / 2), whole - length));
    return [on(horizontal, w, width), on(vertical, tall, height)];
  };
  // The chain has changed elsewhere while something is placed: the picture under it, or the box, is another one.
  const followPlacing = async () => {
    if (!placing) return;
    const { id, box, shown, own, option } = placing;
    const entries = active();
    const at = entries.findIndex((entry) => entry.id === id);
    if (at < 0) { leavePlacing(); return; }
    const entry = entries[at];
    const before = entries.slice(0, at);
    if (JSON.stringify(specsOf(before)) !== shown) { place(id, option, false); return; }
    const isSame = JSON.stringify(entry.options) === own;
    if (entry.stage === "watermark") player.show("base", await baseOf([...before, entry]).catch(() => player.clip("base")));
    if (isSame && entry.stage !== "watermark") return;
    placing.own = JSON.stringify(entry.options);
    const measured = await transport.call("measure", { ...jobOf(entries), stage: at }).catch(() => null);
    if (!measured?.boxes.length || placing?.box !== box) return;
    const [x, y, w, tall] = measured.boxes.at(-1);
    box.set({ x, y, w, h: tall });
  };
  const leavePlacing = (isBack = true) => {
    if (!placing) return;
    placing.box.close();
    const { id, wasPlaying } = placing;
    player.done.hidden = true;
    if (!isBack) return;
    placing = null;
    player.setMode(player.wanted);
    if (wasPlaying) player.play(true);
    const button = app.querySelector(`[data-card="${id}"] .draw`);
    button?.focus({ preventScroll: true });
    if (button?.getRootNode().activeElement !== button) player.viewport.focus({ preventScroll: true }); // its tab may be hidden
  };

  // The timeline writes cards.
  const write_time = async (stage, options) => {
    const entries = active();
    const last = entries.at(-1);
    const isOwn = last?.stage === stage;
    const input = isOwn && stage === "frames" ? (await delaysOf(...(entries.length > 1 ? [(await transport.call("plan", jobOf(entries.slice(0, -1)))).revision, {}] : [source.source, source.facts]))).length : 0;
    const next = changed(entries, stage, options, input);
    if (stage === "frames" && (options.drop || options.keep || options.every || options.order)) timeline.select([]);
    edit((now) => {
      if (stage === "frames") now.selection = [];
      if (next.merged) now.chain.find((entry) => entry.id === last.id).options = next.options;
      else now.chain.push({ id: nextId(), stage, options: next.options, on: true });
    }, { isNew: true });
  };

  // Parts of the page.
  const services = { upload, selected: () => timeline.element.querySelector(".spans").value, nameOf: (id) => uploads.get(id) ?? id };
  const chain = makeChain({ state: () => state, specs: (name) => specs.get(name) ?? { name, summary: "", options: [], ways: [] }, edit, canvasOf, act, add, nextId, services });
  const player = makePlayer(({ number, clip }) => { if (clip === player.clip("result") || !player.clip("result")) timeline.at(number); });
  player.done.addEventListener("click", () => leavePlacing());
  const timeline = makeTimeline({
    picked: (numbers) => { state.selection = numbers; keepAll(); }, act: write_time, seen: (number) => player.goTo(number),
    thumb: async (clip, number) => clip.ready(number) ?? clip.frame(number),
  });

  const live = h("p.unseen", { role: "status", "aria-live": "polite" });
  const meter = h("div.meter", { hidden: true }, h("progress", { max: 1, value: 0, "aria-label": t("making") }), h("span", {}));
  const announce = (text, share = null) => {
    if (live.textContent !== text) live.textContent = text;
    if (share === null) return;
    meter.hidden = share >= 1;
    meter.firstChild.value = share;
    meter.lastChild.textContent = text;
  };
  const cancel = h("button", { type: "button", onclick: () => stop() }, t("cancel"));
  const stop = () => {
    transport.call("cancel", { page }).catch(() => {});
    [running, wanted] = [null, ""];
    isAsking &&= 1;
    progress(null);
    announce(t("cancelled"));
    if (isWhole) { isWhole = false; run(); return; } // back to the part, which is there already
    app.dataset.state = "stopped";
    offer(t("cancelled"), t("make_again"), false);
  };
  const bar = h("progress", { "aria-label": t("making") });
  const made = h("span.made");
  const working = h("div.working", { hidden: true }, bar, made, cancel);
  let showWorking = 0;
  const progress = (image, total) => {
    result.setAttribute("aria-busy", image !== null);
    if (image === null) { clearTimeout(showWorking); showWorking = 0; working.hidden = true; return; }
    showWorking ||= setTimeout(() => { working.hidden = !running; }, 250); // what is quick flashes nothing
    if (total) { bar.max = total; bar.value = image; } else bar.removeAttribute("value");
    const left = total && image > 1 && running ? ((performance.now() - running.began) / 1000 / image) * (total - image) : 0;
    made.textContent = [image ? t(total ? "making_of" : "making_at", { image, total }) : t("making"), left > 2 ? t("time_left", { time: Math.round(left) }) : ""].filter(Boolean).join(" · ");
  };

  // The result: what it is, and what to do with it.
  const size = h("strong.size", {}, "–");
  const change = h("span.change");
  const facts = h("dl.facts");
  const notes = h("div.notes");
  const part = h("div.part", { hidden: true }, h("p"), h("button", { type: "button" }));
  // What is shown is not all that is wished: what would make it so.
  const offer = (words, doing, makesWhole) => {
    part.firstChild.textContent = words;
    part.lastChild.textContent = doing;
    part.lastChild.onclick = () => { [isWhole, wanted, part.hidden] = [makesWhole, "", true]; run(); };
    part.hidden = false;
  };
  const download = h(`a.button${session.mode === "file" ? "" : ".primary"}.download`, { "aria-disabled": "true", role: "button", tabindex: 0 }, icon("save"), t("download"));
  const showReport = (report) => {
    const [before, now] = [report.bytes_in ?? source.bytes, report.bytes_out];
    const percent = Math.round(Math.abs(1 - now / before) * 100);
    const words = !percent ? t("as_large") : t(now < before ? "smaller" : "larger", { percent });
    size.textContent = bytes(now);
    change.textContent = words;
    change.className = `change ${!percent ? "" : now < before ? "less" : "more"}`;
    const rows = [["f_size", report.size_out.join(" × ")], ["f_images", report.images], ["f_duration", `${Number(report.duration_s.toFixed(2))} s`], ["f_colours", report.facts?.palettes?.max_colors], ["f_path", has(`path_${report.path}`) ? t(`path_${report.path}`) : report.path], ["f_took", `${report.took_s.toFixed(2)} s`]];
    facts.replaceChildren(...rows.filter(([, value]) => value !== undefined && value !== null).flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, String(value))]));
    if (report.is_part) offer(t("part", { count: PART }), t("whole"), true); else part.hidden = true;
    notes.replaceChildren();
    const address = transport.address(current.revision, true);
    if (address && !report.is_part) { download.href = address; download.download = report.name; download.removeAttribute("aria-disabled"); } else { download.removeAttribute("href"); download.setAttribute("aria-disabled", "true"); }
    for (const button of [save, finishButton]) button.disabled = Boolean(report.is_part);
    announce(t("announce", { size: bytes(now), change: words }));
  };
  const named_file = h("input.grow", { type: "text", value: session.output_name || "", "aria-label": t("file_name"), spellcheck: "false" });
  const ask = (text, yes) => { const dialog = makeDialog("", [h("p", {}, text)], [[t("cancel"), () => dialog.close()], [t("replace"), () => { dialog.close(); yes(); }, true]]); dialog.showModal(); };
  const trying = async (work, name, again) => { try { await work(); } catch (error) { if (error.status === 409 && again) ask(t("in_the_way", { name }), again); else announceError(error.message); } };
  const announceError = (text) => { notes.replaceChildren(h("p.error", {}, text)); announce(text); };
  const saveAs = (overwrite = false) => {
    const name = named_file.value.trim() || current.report.name;
    return trying(async () => { await transport.call("save", { revision: current.revision, name, overwrite }); notes.replaceChildren(h("p.good", {}, t("saved", { name }))); announce(t("saved", { name })); }, name, overwrite ? null : () => saveAs(true));
  };
  const save = h("button.primary", { type: "button", disabled: true, onclick: () => saveAs() }, t("save"));
  const finish_it = (overwrite = false) => trying(async () => {
    const { name } = await transport.call("done", { revision: current.revision, overwrite });
    over(t("done_told", { name }));
  }, session.output_name, overwrite ? null : () => finish_it(true));
  const finishButton = h("button.primary", { type: "button", disabled: true, onclick: () => finish_it() }, icon("tick"), `${t("done")}: ${session.output_name}`);
  const discard = h("button", { type: "button", onclick: () => transport.call("close").catch(() => {}) }, t("discard"));
  const over = (text) => {
    if (isOver) return; // the answer and the event both tell of it
    isOver = true;
    player.play(false);
    app.inert = true;
    const told_it = h("div.over", { role: "alertdialog", "aria-label": text, tabindex: -1 }, icon("tick"), h("p", {}, text));
    app.after(told_it);
    told_it.focus();
  };
  const result = h("section.result", { "aria-label": t("result") }, h("div.panel-head", {}, h("h2", {}, t("result"))),
    h("p.headline", {}, size, change), working, facts, part, notes,
    h("div.actions", {}, session.mode === "file" ? finishButton : null, transport.address("x", true) ? download : null,
      session.mode === "folder" ? h("div.fields", {}, named_file, save) : null, session.mode === "file" ? discard : null,
      h("button", { type: "button", onclick: () => presets() }, t("preset"))));

  // The command line.
  const line = h("code.line", { tabindex: 0, role: "textbox", "aria-readonly": "true", "aria-label": t("command") });
  const form = h("select", { "aria-label": t("form"), onchange: () => showCommand() }, ...["command", "file", "preset", "folder"].map((name) => h("option", { value: name }, t(`form_${name}`))));
  const shell = h("select", { "aria-label": t("shell"), onchange: () => showCommand() }, ...["posix", "powershell"].map((name) => h("option", { value: name }, t(name))));
  shell.value = /Win/.test(navigator.platform) ? "powershell" : "posix";
  const copied = sign("copy", t("copy_command"), () => copyCommand());
  const text_of = h("details.command-text", { hidden: true }, h("summary", {}), h("pre", { tabindex: 0 }));
  const tellCommand = async (job) => {
    try {
      command = await transport.call("command", { source: job.source, chain: job.chain, output: job.output });
      if (JSON.stringify(job) === wanted) showCommand();
    } catch { /* the run says what is wrong */ }
  };
  const showCommand = () => {
    if (!command) return;
    const one = command.forms[form.value];
    line.textContent = one?.[shell.value] ?? "";
    line.title = [line.textContent, ...command.notes].join("\n");
    text_of.hidden = !one?.text;
    text_of.firstChild.textContent = t("text_of", { name: one?.file ?? one?.name ?? "" });
    text_of.lastChild.textContent = one?.text ?? "";
  };
  const copyCommand = async () => {
    const text = line.textContent;
    try { await navigator.clipboard.writeText(text); } catch {
      const range = document.createRange();
      range.selectNodeContents(line);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    copied.replaceChildren(icon("tick"));
    setTimeout(() => copied.replaceChildren(icon("copy")), 1500);
    announce(t("copied"));
  };

  // Dialogs.
  const makeDialog = (title, content, buttons) => {
    const dialog = h("dialog", { "aria-label": title || t("preset") }, title ? h("h2", {}, title) : null, ...content, h("div.dialog-foot", {}, ...buttons.map(([words, onclick, isFirst]) => h(`button${isFirst ? ".primary" : ""}`, { type: "button", onclick }, words))));
    dialog.addEventListener("close", () => dialog.remove());
    app.append(dialog);
    return dialog;
  };
  const presets = async () => {
    const name = h("input.grow", { type: "text", id: "preset-name", spellcheck: "false" });
    const said = h("p", { role: "status" });
    const list = h("ul.presets");
    const fill = async () => {
      const found = await transport.call("presets").catch(() => []);
      list.replaceChildren(...(found.length ? found.map(row) : [h("li", {}, t("preset_none"))]));
    };
    const row = (one) => h("li", {}, h("div", {}, h("b", {}, one.name), one.is_own ? h("span.badge-small", {}, t("preset_own")) : null, h("small", {}, one.summary ?? "")),
      h("button", { type: "button", "aria-label": `${t("preset_load")}: ${one.name}`, onclick: () => load(one) }, t("preset_load")));
    const tell = (kind, words) => { said.className = kind; said.textContent = words; };
    const store_it = async (overwrite) => {
      const wanted_name = name.value.trim();
      try {
        await transport.call("preset", { name: wanted_name, chain: specsOf(active()), overwrite });
        tell("good", t("saved", { name: wanted_name }));
        await fill();
      } catch (error) {
        tell("error", error.message);
        if (error.status === 409) said.append(" ", h("button", { type: "button", onclick: () => store_it(true) }, t("replace")));
      }
    };
    const load = async (one) => {
      try {
        const { chain: steps } = await transport.call(`preset/${encodeURIComponent(one.name)}`);
        dialog.close();
        edit((now) => { now.chain = cardsOf(steps); }, { isNew: true });
      } catch (error) { tell("error", error.message); }
    };
    name.addEventListener("keydown", (event) => { if (event.key === "Enter") store_it(false); });
    const dialog = makeDialog(t("preset"), [
      h("div.fields", {}, h("label", { htmlFor: "preset-name" }, t("preset_name")), name, h("button.primary", { type: "button", onclick: () => store_it(false) }, t("preset_save"))), said, list,
    ], [[t("close"), () => dialog.close()]]);
    await fill();
    dialog.showModal();
  };
  const showKeys = () => {
    const dialog = makeDialog(t("keys"), [h("dl.keys", {}, ...Object.entries(KEYS).flatMap(([what, keys]) => [h("dt", {}, ...keys.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, t(`k_${what}`))]))], [[t("close"), () => dialog.close(), true]]);
    dialog.showModal();
  };
  const cardsOf = (steps) => steps.map(([stage, options]) => ({ id: nextId(), stage, options: { ...options }, on: true }));

  // The head, and the whole.
  const picker = h("input.unseen", { type: "file", id: "pick-source", accept: "image/*,video/*", onchange: () => { take(picker.files[0]); picker.value = ""; } });
  const shownSource = h("span.source-facts");
  const choose = h("select", { "aria-label": t("source"), hidden: true, onchange: () => use(sources.get(choose.value)) });
  const showSources = () => {
    const images = source.facts.images ?? source.facts.frames;
    choose.hidden = sources.size < 2;
    choose.replaceChildren(...[...sources.values()].map((one) => h("option", { value: one.source }, one.name)));
    choose.value = source.source;
    shownSource.replaceChildren(...(choose.hidden ? [h("b", {}, source.name)] : []), h("span", {}, [`${source.facts.width} × ${source.facts.height}`, images ? t("images_short", { count: images }) : "", bytes(source.bytes)].filter(Boolean).join(" · ")));
  };
  const undoButton = sign("undo", `${t("undo")} (Ctrl+Z)`, undo, { disabled: true });
  const redoButton = sign("redo", `${t("redo")} (Ctrl+Shift+Z)`, redo, { disabled: true });
  const otherLanguage = () => { kept.language = languageCode() === "en" ? "zh" : "en"; keepAll(); location.reload(); };
  const tabs = ["chain", "view", "result"].map((name) => h("button", { type: "button", "aria-pressed": name === "view", "data-tab": name, onclick: () => tab(name) }, t(`tab_${name}`)));
  const tab = (name) => { app.dataset.tab = name; for (const one of tabs) one.setAttribute("aria-pressed", one.dataset.tab === name); };
  const drop = h("section.drop", { "aria-label": t("open") }, icon("open"), h("h2", {}, t("drop_here")), h("label.button.primary", { htmlFor: "pick-source" }, t("or_pick")), h("p", {}, t(transport.address("x", true) ? "or_paste" : "or_paste_there")));
  const app = h("main.editor", { "data-tab": "view" },
    h("header", {}, h("h1", {}, "vedit"), h("div.source", {}, choose, shownSource), h("div.head-acts", {},
      h("label.button.quiet", { htmlFor: "pick-source" }, icon("open"), h("span.words", {}, t("open"))), undoButton, redoButton,
      store ? h("button.quiet.language", { type: "button", lang: languageCode() === "en" ? "zh" : "en", onclick: otherLanguage }, t("language")) : null, sign("help", `${t("keys")} (?)`, showKeys))),
    picker, meter,
    h("div.left", {}, chain.element),
    h("div.middle", {}, drop, player.element, timeline.element),
    h("div.right", {}, result),
    h("footer", {}, h("div.command", {}, h("span.prompt", { "aria-hidden": "true" }, "$"), line, copied, form, shell), text_of),
    h("nav.nav", { "aria-label": t("view") }, ...tabs), live);

  // Files by drop and paste.
  const hasFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  app.addEventListener("dragover", (event) => { if (hasFile(event)) { event.preventDefault(); app.classList.add("dropping"); } });
  app.addEventListener("dragleave", (event) => { if (!app.contains(event.relatedTarget)) app.classList.remove("dropping"); });
  app.addEventListener("drop", (event) => { app.classList.remove("dropping"); if (hasFile(event)) { event.preventDefault(); take(event.dataTransfer.files[0]); } });
  keysOn.addEventListener("paste", (event) => { if (event.clipboardData?.files.length) take(event.clipboardData.files[0]); });

  // Keys; text boxes keep theirs, and controls keep those that work them.
  const crop = () => {
    if (placing) { leavePlacing(); return; }
    const card = active().find((entry) => entry.stage === "crop");
    if (card) place(card.id, "rect"); else if (source && specs.has("crop")) add(specs.get("crop"));
  };
  const acts = {
    " ": () => player.play(), ",": () => player.step(-1), ".": () => player.step(1), Home: () => player.goTo(0), End: () => player.goTo(-1), "[": () => timeline.end("from"), "]": () => timeline.end("to"),
    Delete: () => timeline.drop(), b: () => player.blink(true), 0: () => player.zoomTo(1, true), 1: () => player.zoomTo(1), "+": () => player.zoomBy(1), "=": () => player.zoomBy(1), "-": () => player.zoomBy(-1), c: crop, k: copyCommand, "?": showKeys,
  };
  const keyed = (event) => {
    const target = event.composedPath()[0];
    if (app.inert || target.closest?.("dialog")) return;
    const isText = target.matches?.("textarea, select, [contenteditable]") || (target.matches?.("input") && TEXT_INPUTS.has(target.type));
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) {
      const act_now = { z: event.shiftKey ? redo : undo, y: redo, s: () => { if (download.href) download.click(); } }[key];
      if (act_now && !(isText && key !== "s")) { act_now(); event.preventDefault(); }
      return;
    }
    if (placing && ["Enter", "Escape"].includes(event.key) && !isText) { leavePlacing(); event.preventDefault(); return; }
    if (isText || event.altKey || event.repeat && key === "b") return;
    if (target.matches?.("button, a, summary, input") && [" ", "Home", "End"].includes(event.key)) return;
    if (!acts[key]) return;
    acts[key]();
    event.preventDefault();
  };
  keysOn.addEventListener("keydown", keyed);
  keysOn.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") player.blink(false); });
  window.addEventListener("blur", () => player.blink(false));
  window.addEventListener("pagehide", () => {
    if (gesture && gesture !== snapshot()) remember(); // what is being typed has no end yet
    keepAll();
  });
  download.addEventListener("keydown", (event) => { if (event.key === " ") { download.click(); event.preventDefault(); } });

  // Where it begins: as it was before a reload, else as the command line says.
  const was = kept.state && (sources.has(kept.source) || !session.sources.length) ? kept : null;
  if (was) [state, history, future] = [was.state, was.history ?? [], was.future ?? []];
  else Object.assign(state, { chain: cardsOf(session.chain ?? []), output: { ...session.output } });
  ids = Math.max(ids, 0, ...[state, ...[...history, ...future].map((one) => JSON.parse(one))].flatMap((one) => one.chain.map(({ id }) => id)));
  root.append(app);
  chain.offer(tables.stages, tables.output, tables.formats);
  chain.render();
  undoButton.disabled = !history.length;
  redoButton.disabled = !future.length;
  for (const one of session.sources) if (one.error) fail(one.error, []);
  const first = [sources.get(was?.source), ...session.sources].find((one) => one && !one.error);
  if (first) await use(first); else drop.hidden = false;
  return { take, use, get state() { return state; }, setChain: (steps) => edit((now) => { now.chain = cardsOf(steps); }, { isNew: true }), close: () => keysOn.removeEventListener("keydown", keyed), player, timeline };
};
