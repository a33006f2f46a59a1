// The command line that makes the same: always in sight, in several forms.

import { h, icon, sign } from "./dom.js";
import { t } from "./words.js";

const FORMS = ["command", "file", "preset", "folder"];
const SHELLS = ["posix", "powershell"];

const options = (names, words) => names.map((name) => h("option", { value: name }, words(name)));

export const makeCommand = (transport, announce) => {
  let command = null;
  const line = h("code.line", { tabindex: 0, role: "textbox", "aria-readonly": "true", "aria-label": t("command") });
  const form = h("select", { "aria-label": t("form"), onchange: () => show() }, ...options(FORMS, (name) => t(`form_${name}`)));
  const shell = h("select", { "aria-label": t("shell"), onchange: () => show() }, ...options(SHELLS, t));
  shell.value = /Win/.test(navigator.platform) ? "powershell" : "posix";
  const copied = sign("copy", t("copy_command"), () => copy());
  const contents = h("details.command-text", { hidden: true }, h("summary", {}), h("pre", { tabindex: 0 }));
  const show = () => {
    if (!command) return;
    const one = command.forms[form.value];
    line.textContent = one?.[shell.value] ?? "";
    line.title = [line.textContent, ...command.notes].join("\n");
    contents.hidden = !one?.text;
    contents.firstChild.textContent = t("text_of", { name: one?.file ?? one?.name ?? "" });
    contents.lastChild.textContent = one?.text ?? "";
  };
  const copy = async () => {
    try { await navigator.clipboard.writeText(line.textContent); } catch { // no secure context, or not allowed
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
  return {
    element: h("footer", {}, h("div.command", {}, h("span.prompt", { "aria-hidden": "true" }, "$"), line, copied, form, shell), contents),
    copy,
    // Ask for the lines of a job, and show them while that is still wished.
    tell: async ({ source, chain, output }, isWanted) => {
      try {
        command = await transport.call("command", { source, chain, output });
        if (isWanted()) show();
      } catch { /* the run says what is wrong */ }
    },
    get value() { return command; },
  };
};
