// What is asked and told in front of the page: a question, the keys, the presets.

import { h } from "./dom.js";
import { t } from "./words.js";

const KEYS = { play: "Space", step: ", .", ends: "Home End", select: "[ ]", drop: "Del", blink: "B", fit: "0 1", zoom: "+ −", crop: "C", undo: "Ctrl+Z Ctrl+Shift+Z", copy: "K", download: "Ctrl+S", keys: "?" };

const button = ([words, onclick, isFirst]) => h(`button${isFirst ? ".primary" : ""}`, { type: "button", onclick }, words);

// app: where dialogs go. buttons: [words, what it does, whether it is the first choice].
const makeDialog = (app, title, content, buttons) => {
  const dialog = h("dialog", { "aria-label": title || t("question") }, title ? h("h2", {}, title) : null, ...content, h("div.dialog-foot", {}, ...buttons.map(button)));
  dialog.addEventListener("close", () => dialog.remove());
  app.append(dialog);
  return dialog;
};

export const ask = (app, text, words, yes) => {
  const dialog = makeDialog(app, "", [h("p", {}, text)], [[t("cancel"), () => dialog.close()], [words, () => { dialog.close(); yes(); }, true]]);
  dialog.showModal();
};

export const showKeys = (app) => {
  const rows = Object.entries(KEYS).flatMap(([what, keys]) => [h("dt", {}, ...keys.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, t(`k_${what}`))]);
  const dialog = makeDialog(app, t("keys"), [h("dl.keys", {}, ...rows)], [[t("close"), () => dialog.close(), true]]);
  dialog.showModal();
};

// chain(): what would be saved. take(steps): a preset was chosen.
export const showPresets = async (app, transport, { chain, take }) => {
  const name = h("input.grow", { type: "text", id: "preset-name", spellcheck: "false" });
  const said = h("p", { role: "status" });
  const list = h("ul.presets");
  const tell = (kind, words) => { said.className = kind; said.textContent = words; };
  const row = (one) => h("li", {},
    h("div", {}, h("b", {}, one.name), one.is_own ? h("span.badge-small", {}, t("preset_own")) : null, h("small", {}, one.summary ?? "")),
    h("button", { type: "button", "aria-label": `${t("preset_load")}: ${one.name}`, onclick: () => load(one) }, t("preset_load")));
  const fill = async () => {
    const found = await transport.call("presets").catch(() => []);
    list.replaceChildren(...(found.length ? found.map(row) : [h("li", {}, t("preset_none"))]));
  };
  const save = async (overwrite) => {
    const wanted = name.value.trim();
    try {
      await transport.call("preset", { name: wanted, chain: chain(), overwrite });
      tell("good", t("saved", { name: wanted }));
      await fill();
    } catch (error) {
      tell("error", error.message);
      if (error.status === 409) said.append(" ", h("button", { type: "button", onclick: () => save(true) }, t("replace")));
    }
  };
  const load = async (one) => {
    try {
      const { chain: steps } = await transport.call(`preset/${encodeURIComponent(one.name)}`);
      dialog.close();
      take(steps);
    } catch (error) { tell("error", error.message); }
  };
  name.addEventListener("keydown", (event) => { if (event.key === "Enter") save(false); });
  const store = h("button.primary", { type: "button", onclick: () => save(false) }, t("preset_save"));
  const dialog = makeDialog(app, t("preset"), [h("div.fields", {}, h("label", { htmlFor: "preset-name" }, t("preset_name")), name, store), said, list], [[t("close"), () => dialog.close()]]);
  await fill();
  dialog.showModal();
};
