// The editor in a cell of a notebook: the same page in a shadow root, so that neither's style reaches the other.

import { h, place } from "./dom.js";
import { createEditor } from "./page.js";
import { overModel } from "./transport.js";

const PATIENCE_MS = 5000;

// Where no kernel answers, as in a notebook that is opened to be read: a picture of the result, and its command.
const still = (model) => {
  const picture = model.get("_still");
  const image = h("img", { alt: "", hidden: !picture.byteLength });
  if (picture.byteLength) image.src = URL.createObjectURL(new Blob([picture], { type: "image/webp" }));
  return h("main.editor.still", {}, image, h("code.line", {}, model.get("command")));
};

const render = async ({ model, el }) => {
  const root = (el.shadowRoot ?? el.attachShadow({ mode: "open" }));
  const style = document.createElement("style");
  style.textContent = model.get("_style");
  root.replaceChildren(style);
  place(el, { "--height": `${model.get("height")}px` });
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
  el.addEventListener("keydown", (event) => event.stopPropagation());
  const transport = overModel(model);
  const late = new Promise((resolve) => setTimeout(() => resolve(null), PATIENCE_MS));
  const isAlive = await Promise.race([transport.call("session").then(() => true, () => true), late]);
  if (!isAlive) { root.append(still(model)); return undefined; }
  const editor = await createEditor({ root, transport, keysOn: root });
  const wished = (message) => { if (message.chain) editor.setChain(message.chain); if (message.source) editor.use(message.source); };
  model.on("msg:custom", wished);
  return () => { model.off("msg:custom", wished); editor.close(); };
};

export default { render };
