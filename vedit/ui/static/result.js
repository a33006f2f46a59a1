// The result: what it is, how far it is, and what to do with it.

import { h, icon } from "./dom.js";
import { ask } from "./dialogs.js";
import { played } from "./player.js";
import { bytes, has, t } from "./words.js";

const PATIENCE_MS = 250; // what is quick flashes nothing

// As it is written, and as it is played where browsers hold to other times.
const durationOf = ({ images, duration_s, facts }) => {
  if (images < 2) return null;
  const played_s = (facts?.delays_cs ?? []).reduce((sum, delay) => sum + played(delay), 0) / 100;
  const short = (seconds) => `${Number(seconds.toFixed(2))} s`;
  return played_s > duration_s + 0.005 ? t("plays_for", { time: short(duration_s), played: short(played_s) }) : short(duration_s);
};

// How much smaller or larger, in words.
const changeOf = (before, now) => {
  const percent = Math.round(Math.abs(1 - now / before) * 100);
  if (!percent) return t("as_large");
  if (now < before) return t("smaller", { percent });
  return now < 3 * before ? t("larger", { percent }) : t("times_larger", { times: Math.round(now / before) });
};

const factsOf = (report) => [
  ["f_size", report.size_out.join(" × ")],
  ["f_images", report.images],
  ["f_duration", durationOf(report)],
  ["f_colours", report.facts?.palettes?.max_colors],
  ["f_path", has(`path_${report.path}`) ? t(`path_${report.path}`) : report.path],
  ["f_took", `${report.took_s.toFixed(2)} s`],
];

// session: its mode, and the name behind -o. part: how many images of a large clip are shown at first.
// host: app(), announce(words), stop(), again(makesWhole), presets(), over(words).
export const makeResult = (session, transport, part, host) => {
  let current = null;

  // How far it is.
  const bar = h("progress", { "aria-label": t("making") });
  const made = h("span.made");
  const working = h("div.working", { hidden: true }, bar, made, h("button", { type: "button", onclick: host.stop }, t("cancel")));
  let [shows, began] = [0, 0];
  const progress = (image, total) => {
    element.setAttribute("aria-busy", image !== null);
    if (image === null) { clearTimeout(shows); shows = 0; working.hidden = true; return; }
    if (!shows) { began = performance.now(); shows = setTimeout(() => { working.hidden = false; }, PATIENCE_MS); }
    if (total) { bar.max = total; bar.value = image; } else bar.removeAttribute("value");
    const left_s = total && image > 1 ? ((performance.now() - began) / 1000 / image) * (total - image) : 0;
    const far = image ? t(total ? "making_of" : "making_at", { image, total }) : t("making");
    made.textContent = [far, left_s > 2 ? t("time_left", { time: Math.round(left_s) }) : ""].filter(Boolean).join(" · ");
  };

  // What it is.
  const size = h("strong.size", {}, "–");
  const change = h("span.change");
  const facts = h("dl.facts");
  const notes = h("div.notes");
  const rest = h("div.part", { hidden: true }, h("p"), h("button", { type: "button" }));
  // What is shown is not all that is wished: what would make it so.
  const offer = (words, doing, makesWhole) => {
    rest.firstChild.textContent = words;
    rest.lastChild.textContent = doing;
    rest.lastChild.onclick = () => { rest.hidden = true; host.again(makesWhole); };
    rest.hidden = false;
  };
  const note = (kind, text) => notes.append(h(`p.${kind}`, {}, text));
  const tellOne = (kind, text) => { notes.replaceChildren(); note(kind, text); host.announce(text); };
  const show = (next, sourceBytes) => {
    current = next;
    const { revision, report } = next;
    const [before, now] = [report.bytes_in ?? sourceBytes, report.bytes_out];
    const words = changeOf(before, now);
    size.textContent = bytes(now);
    change.textContent = words;
    change.className = `change ${words === t("as_large") ? "" : now < before ? "less" : "more"}`;
    const rows = factsOf(report).filter(([, value]) => value !== undefined && value !== null);
    facts.replaceChildren(...rows.flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, String(value))]));
    if (report.is_part) offer(t("part", { count: part }), t("whole"), true); else rest.hidden = true;
    notes.replaceChildren();
    fileName.placeholder = report.name;
    link(report.is_part ? null : transport.address(revision, true), report.name);
    for (const button of [save, finish]) button.disabled = Boolean(report.is_part);
    host.announce(t("announce", { size: bytes(now), change: words }));
  };

  // What to do with it.
  const [hasFile, hasFolder] = [session.mode === "file", session.mode === "folder"];
  const download = h(`a.button${session.mode ? "" : ".primary"}.download`, { "aria-disabled": "true", role: "button", tabindex: 0 }, icon("save"), t("download"));
  download.addEventListener("keydown", (event) => { if (event.key === " ") { download.click(); event.preventDefault(); } });
  const link = (address, name) => {
    if (address) { download.href = address; download.download = name; } else download.removeAttribute("href");
    if (address) download.removeAttribute("aria-disabled"); else download.setAttribute("aria-disabled", "true");
  };
  // Write it; where a file is in the way, ask first.
  const writing = async (work, name, overwrite) => {
    try { await work(overwrite); } catch (error) {
      const isInTheWay = error.status === 409 && !overwrite && !current.report.is_part;
      if (isInTheWay) ask(host.app(), t("in_the_way", { name }), t("replace"), () => writing(work, name, true));
      else tellOne("error", error.message);
    }
  };
  const fileName = h("input.grow", { type: "text", value: session.output_name || "", "aria-label": t("file_name"), spellcheck: "false" });
  const saveAs = () => {
    const name = fileName.value.trim() || current.report.name;
    return writing(async (overwrite) => {
      await transport.call("save", { revision: current.revision, name, overwrite });
      tellOne("good", t("saved", { name }));
    }, name, false);
  };
  const done = () => writing(async (overwrite) => {
    const { name } = await transport.call("done", { revision: current.revision, overwrite });
    host.over(t("done_told", { name }));
  }, session.output_name, false);
  const save = h("button.primary", { type: "button", disabled: true, onclick: saveAs }, t("save"));
  const finish = h("button.primary", { type: "button", disabled: true, onclick: done }, icon("tick"), `${t("done")}: ${session.output_name}`);
  const discard = h("button", { type: "button", onclick: () => transport.call("close").catch(() => {}) }, t("discard"));
  const element = h("section.result", { "aria-label": t("result") }, h("div.panel-head", {}, h("h2", {}, t("result"))),
    h("p.headline", {}, size, change), working, facts, rest, notes,
    h("div.actions", {}, hasFile ? finish : null, hasFolder ? h("div.saving", {}, fileName, save) : null,
      transport.address("x", true) ? download : null, hasFile ? discard : null,
      h("button", { type: "button", onclick: host.presets }, t("preset"))));

  return {
    element, progress, show, offer, note, tellOne,
    clear: () => notes.replaceChildren(),
    download: () => { if (download.href) download.click(); },
  };
};
