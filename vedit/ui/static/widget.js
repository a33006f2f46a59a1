// The editor in a cell of a notebook: the same page in a shadow root, so that neither's style reaches the other.

import { h, place } from "./dom.js";
import { createEditor } from "./page.js";
import { overModel } from "./transport.js";
import { setLanguage, t } from "./words.js";

const PATIENCE_MS = 5000;

// What a notebook shows that is opened to be read: the result, and its command.
const still = (model) => {
  const picture = model.get("_picture");
  const image = h("img", { alt: t("result"), hidden: !picture.byteLength });
  if (picture.byteLength) image.src = URL.createObjectURL(new Blob([picture]));
  return h("main.editor.still", { "aria-label": t("result") }, image, h("code.line", {}, model.get("command")), h("p", {}, t("run_again")));
};

const render = async ({ model, el }) => {
  const root = (el.shadowRoot ?? el.attachShadow({ mode: "open" }));
  const style = document.createElement("style");
  style.textContent = model.get("_style");
  setLanguage(navigator.language);
  root.replaceChildren(style);
  place(el, { "--height": `${model.get("height")}px` });
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
  el.addEventListener("keydown", (event) => event.stopPropagation());
  const before = still(model); // stays where no kernel answers
  const late = setTimeout(() => root.append(before), model.get("command") ? 0 : PATIENCE_MS); // a new one has nothing yet
  const transport = overModel(model);
  try { await transport.call("session"); } catch { return undefined; }
  clearTimeout(late);
  before.remove();
  const editor = await createEditor({ root, transport, keysOn: root });
  const wished = (message) => { if (message.chain) editor.setChain(message.chain); if (message.source) editor.use(message.source); };
  model.on("msg:custom", wished);
  return () => { model.off("msg:custom", wished); editor.close(); };
};

export default { render };
