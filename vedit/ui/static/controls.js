// A control for each kind of option. Every one holds a text, as it would stand on the command line; an option
// that is left out has its default.

import { clamp, h, sign } from "./dom.js";
import { has, named, t } from "./words.js";

const AS_SLIDER = 1000; // a wider range than this is typed
const POSITIONS = ["top-left", "top-center", "top-right", "center-left", "center", "center-right", "bottom-left", "bottom-center", "bottom-right"];
const FEW = 5;
const ASPECTS = ["1:1", "4:3", "16:9", "3:4", "9:16"];

const tidy = (number, step) => {
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)));
  return String(Number(number.toFixed(digits)));
};
const asNumber = (text) => (/%$/.test(text) ? Number(text.slice(0, -1)) / 100 : Number(text));
const hex = (text) => {
  const digits = /^#?([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(text ?? "")?.[1];
  return digits ? `#${digits.length === 3 ? [...digits].map((one) => one + one).join("") : digits}`.toLowerCase() : null;
};

// What a slider offers: [low, high, step, whether it is logarithmic], or null for a number that is typed.
export const slides = (spec) => {
  const [low, high] = [spec.low ?? 0, spec.high ?? 0];
  const isLog = spec.kind === "log-range";
  if (spec.usual) return [...spec.usual, isLog];
  if (isLog) return [0.1, Math.min(high || 4, 4), 0.01, true];
  if (high - low > AS_SLIDER || high <= low) return null;
  return [low, high, high - low <= 10 ? 0.05 : 1, false];
};

// A logarithmic slider goes from -1 to 1 with the factor 1 in its middle.
export const fromLog = (place, low, high) => (place < 0 ? low ** -place : high ** place);
export const toLog = (value, low, high) => clamp(value < 1 ? -Math.log(value) / Math.log(low) : Math.log(value) / Math.log(high), -1, 1);

const box = (id, value, tell, more = {}) => {
  const input = h("input", { id, type: "text", value: value ?? "", autocomplete: "off", spellcheck: "false", ...more });
  input.addEventListener("input", () => tell(input.value, false));
  input.addEventListener("change", () => tell(input.value, true));
  return input;
};

// Arrow keys step through a number that is typed.
const steppable = (input, step) => input.addEventListener("keydown", (event) => {
  const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  const number = asNumber(input.value || input.placeholder);
  if (!way || Number.isNaN(number)) return;
  event.preventDefault();
  input.value = tidy(number + way * step * (event.shiftKey ? 10 : 1), step);
  input.dispatchEvent(new Event("input"));
  input.dispatchEvent(new Event("change"));
});

const segments = (id, label, choices, value, pick, extra = "") => {
  const radios = choices.map(([name, words, title]) => h("label", title ? { title } : {}, h("input", { type: "radio", name: id, id: `${id}-${name}`, value: name, checked: name === value, onchange: () => pick(name) }), h("span", {}, words)));
  const element = h(`div.segments${extra}`, { role: "radiogroup", "aria-label": label }, ...radios);
  return { element, update: (next) => { for (const radio of element.querySelectorAll("input")) radio.checked = radio.value === next; } };
};

const KINDS = {
  range: (o) => {
    const offer = slides(o.spec);
    const shown = (text) => text ?? o.spec.default ?? "";
    const number = box(o.id, o.value, (text, isLast) => { o.tell(text.trim() || undefined, isLast); if (slider) slider.value = at(text); }, { inputmode: "decimal", placeholder: shown(undefined), class: "number" });
    if (!offer) { steppable(number, 1); return { element: h("div.fields", {}, number, unit(o)), update: (text) => { number.value = text ?? ""; } }; }
    const [low, high, step, isLog] = offer;
    const at = (text) => { const value = asNumber(shown(text) || NaN); return Number.isNaN(value) ? (isLog ? 0 : low) : isLog ? toLog(value, low, high) : clamp(value, low, high); };
    const slider = h("input", { type: "range", min: isLog ? -1 : low, max: isLog ? 1 : high, step: isLog ? 0.01 : step, value: at(o.value), "aria-label": o.label });
    const said = () => { const value = isLog ? fromLog(Number(slider.value), low, high) : Number(slider.value); return tidy(value, isLog ? (value < 1 ? 0.01 : 0.05) : step); };
    const spoken = () => slider.setAttribute("aria-valuetext", number.value || shown(undefined));
    const slide = (isLast) => { number.value = said(); spoken(); o.tell(number.value, isLast); };
    slider.addEventListener("input", () => slide(false));
    slider.addEventListener("change", () => slide(true));
    steppable(number, step);
    spoken();
    return { element: h("div.slider", {}, slider, number, unit(o)), update: (text) => { number.value = text ?? ""; slider.value = at(text); spoken(); } };
  },
  choice: (o) => {
    const { names } = o.spec;
    const value = (text) => text ?? o.spec.default;
    const pick = (name) => o.tell(name === o.spec.default ? undefined : name, true);
    if (names.includes("center") && names.includes("top-left")) {
      const grid = segments(o.id, o.label, POSITIONS.filter((name) => names.includes(name)).map((name) => [name, "", named("position", name)]), value(o.value), pick, ".places");
      for (const radio of grid.element.querySelectorAll("input")) radio.setAttribute("aria-label", named("position", radio.value));
      return { element: grid.element, update: (text) => grid.update(value(text)) };
    }
    if (names.length <= FEW) {
      const group = segments(o.id, o.label, names.map((name) => [name, named("choice", name)]), value(o.value), pick);
      return { element: group.element, update: (text) => group.update(value(text)) };
    }
    const select = h("select", { id: o.id, value: value(o.value), onchange: () => pick(select.value) }, ...(o.spec.default ? [] : [h("option", { value: "" }, t("none"))]), ...names.map((name) => h("option", { value: name }, named("choice", name))));
    return { element: select, update: (text) => { select.value = value(text) ?? ""; } };
  },
  switch: (o) => {
    if (o.spec.negatable) {
      const group = segments(o.id, o.label, [["", t("automatic")], ["true", t("on")], ["false", t("off")]], o.value ?? "", (name) => o.tell(name || undefined, true));
      return { element: group.element, update: (text) => group.update(text ?? "") };
    }
    const input = h("input.switch", { id: o.id, type: "checkbox", role: "switch", checked: o.value === "true", onchange: () => o.tell(input.checked ? "true" : undefined, true) });
    return { element: input, update: (text) => { input.checked = text === "true"; } };
  },
  text: (o) => {
    const input = box(o.id, o.value, (text, isLast) => o.tell(text || undefined, isLast), { placeholder: o.spec.default ?? o.spec.metavar ?? "" });
    return { element: input, update: (text) => { input.value = text ?? ""; } };
  },
  lines: (o) => {
    const real = (text) => (text ?? "").replaceAll("\\n", "\n");
    const input = h("textarea", { id: o.id, rows: 2, value: real(o.value), spellcheck: "true" });
    const tell = (isLast) => o.tell(input.value.replaceAll("\n", "\\n") || undefined, isLast);
    input.addEventListener("input", () => tell(false));
    input.addEventListener("change", () => tell(true));
    return { element: input, update: (text) => { input.value = real(text); } };
  },
  colour: (o) => {
    const text = (value) => value ?? o.spec.default ?? "";
    const input = box(o.id, o.value, (value, isLast) => { o.tell(value.trim() || undefined, isLast); well.value = hex(value) ?? well.value; }, { placeholder: text(undefined), class: "number wide" });
    const well = h("input", { type: "color", value: hex(text(o.value)) ?? "#000000", "aria-label": `${o.label}: ${t("pick_colour")}` });
    const pick = (isLast) => { input.value = well.value; o.tell(well.value, isLast); };
    well.addEventListener("input", () => pick(false));
    well.addEventListener("change", () => pick(true));
    const words = o.spec.kind === "ground" ? ["transparent", "blurred"].map((word) => h("button", { type: "button", onclick: () => { input.value = word; o.tell(word, true); } }, named("choice", word))) : [];
    return { element: h("div.fields", {}, well, input, ...words), update: (value) => { input.value = value ?? ""; well.value = hex(text(value)) ?? well.value; } };
  },
  length: (o) => {
    const split = (text) => [(text ?? "").replace("%", ""), /%$/.test(text ?? "") ? "%" : "px"];
    const [amount, how] = split(o.value);
    const number = box(o.id, amount, (text, isLast) => { if (/%$/.test(text)) { unitBox.value = "%"; number.value = text.slice(0, -1); } say(isLast); }, { inputmode: "decimal", placeholder: "0", class: "number" });
    const unitBox = h("select.unit", { value: how, "aria-label": `${o.label}: ${t("unit")}`, onchange: () => say(true) }, h("option", { value: "px" }, "px"), h("option", { value: "%" }, "%"));
    const say = (isLast) => o.tell(number.value.trim() ? `${number.value.trim()}${unitBox.value === "%" ? "%" : ""}` : undefined, isLast);
    steppable(number, 1);
    return { element: h("div.fields", {}, number, unitBox), update: (text) => { const [next, unitNow] = split(text); number.value = next; if (next) unitBox.value = unitNow; } };
  },
  size: (o) => {
    const split = (text) => /^(-?\d*)[x×](-?\d*)$/i.exec(text ?? "")?.slice(1) ?? ["", ""];
    const [first, second] = split(o.value);
    let isLocked = false;
    const ratio = () => { const [wide, high] = [width, height].map((input) => Number(input.value)); return wide > 0 && high > 0 ? wide / high : (o.canvas()?.width ?? 1) / (o.canvas()?.height ?? 1); };
    let locked = 1;
    const tell = (isLast) => o.tell(width.value && height.value ? `${width.value.trim()}x${height.value.trim()}` : undefined, isLast);
    const width = box(o.id, first, (text, isLast) => { if (isLocked && Number(text)) height.value = Math.max(1, Math.round(Number(text) / locked)); tell(isLast); }, { inputmode: "numeric", class: "number", "aria-label": `${o.label}: ${t("width")}`, placeholder: t("width_short") });
    const height = box(`${o.id}-h`, second, (text, isLast) => { if (isLocked && Number(text)) width.value = Math.max(1, Math.round(Number(text) * locked)); tell(isLast); }, { inputmode: "numeric", class: "number", "aria-label": `${o.label}: ${t("height")}`, placeholder: t("height_short") });
    [width, height].forEach((input) => steppable(input, 1));
    const lock = sign("lock", t("lock"), () => { isLocked = !isLocked; locked = ratio(); lock.setAttribute("aria-pressed", isLocked); }, { "aria-pressed": "false" });
    return { element: h("div.fields", {}, width, h("span.times", { "aria-hidden": "true" }, "×"), height, lock), update: (text) => { [width.value, height.value] = split(text); } };
  },
  rectangle: (o) => {
    const split = (text) => { const match = /^(\d*)x(\d*)\+?(-?\d*)\+?(-?\d*)$/.exec(text ?? ""); return match ? [match[3], match[4], match[1], match[2]] : ["", "", "", ""]; };
    const tell = (isLast) => { const [x, y, w, tall] = inputs.map((input) => input.value.trim()); if ([x, y, w, tall].every((part) => /^-?\d+$/.test(part))) o.tell(`${w}x${tall}${x < 0 ? "" : "+"}${x}${y < 0 ? "" : "+"}${y}`, isLast); };
    const inputs = ["left", "top", "width", "height"].map((name, i) => box(i ? `${o.id}-${name}` : o.id, split(o.value)[i], (text, isLast) => tell(isLast), { inputmode: "numeric", class: "number", "aria-label": t(name) }));
    inputs.forEach((input) => steppable(input, 1));
    const aspect = h("select", { "aria-label": t("aspect"), onchange: () => o.act("aspect", aspect.value) }, h("option", { value: "" }, t("aspect_free")), h("option", { value: "own" }, t("aspect_own")), ...ASPECTS.map((value) => h("option", { value }, value)));
    return {
      element: h("div.rectangle", {}, ...inputs.map((input, i) => h("label", {}, h("span", {}, t(["left", "top", "width", "height"][i])), input)), h("label.whole", {}, h("span", {}, t("aspect")), aspect)),
      update: (text) => split(text).forEach((part, i) => { inputs[i].value = part; }),
    };
  },
  spans: (o) => {
    const plain = KINDS.text(o);
    const take = h("button", { type: "button", onclick: () => { const text = o.selected(); if (text) { plain.update(text); o.tell(text, true); } }, title: t("use_selection_title") }, t("use_selection"));
    return { element: h("div.fields", {}, plain.element, take), update: plain.update };
  },
  file: (o) => {
    const accept = { font: ".ttf,.otf,.ttc", picture: "image/*", captions: ".srt,.txt" }[o.spec.holds] ?? "";
    const name = h("span.filename", {}, o.value ? o.nameOf(o.value) : t("no_file"));
    const input = h("input.unseen", { id: o.id, type: "file", accept, onchange: async () => {
      const [file] = input.files;
      if (!file) return;
      name.textContent = t("uploading", { name: file.name });
      try { o.tell(await o.upload(file), true); name.textContent = file.name; } catch (error) { name.textContent = t("no_file"); o.fail(error.message); }
      input.value = "";
    } });
    const clear = sign("remove", t("remove_file"), () => { o.tell(undefined, true); name.textContent = t("no_file"); });
    return { element: h("div.fields", {}, h("label.button", {}, t("choose_file"), input), name, clear), update: (text) => { name.textContent = text ? o.nameOf(text) : t("no_file"); } };
  },
  words: (o) => {
    const chosen = () => names.filter((input) => input.checked).map((input) => input.value).join(",") || undefined;
    const names = o.spec.names.map((name, i) => h("input", { type: "checkbox", id: i ? `${o.id}-${name}` : o.id, value: name, onchange: () => o.tell(chosen(), true) }));
    const update = (text) => { const given = (text ?? "").split(","); for (const input of names) input.checked = given.includes(input.value); };
    update(o.value);
    return { element: h("div.checks", { role: "group", "aria-label": o.label }, ...names.map((input) => h("label.check", {}, input, input.value))), update };
  },
  loop: (o) => {
    const words = ["keep", "forever", "once"];
    const kind = (text) => (text === undefined ? o.spec.default ?? "keep" : words.includes(text) ? text : "n");
    const select = h("select", { id: o.id, value: kind(o.value), onchange: () => { number.hidden = select.value !== "n"; o.tell(select.value === "n" ? number.value : select.value === o.spec.default ? undefined : select.value, true); } },
      ...words.map((value) => h("option", { value }, named("choice", value))), h("option", { value: "n" }, t("times")));
    const number = box(`${o.id}-n`, words.includes(o.value) || !o.value ? "3" : o.value, (text, isLast) => o.tell(text, isLast), { inputmode: "numeric", class: "number", "aria-label": t("times") });
    number.hidden = select.value !== "n";
    return { element: h("div.fields", {}, select, number), update: (text) => { select.value = kind(text); number.hidden = select.value !== "n"; if (select.value === "n") number.value = text; } };
  },
  aspect: (o) => {
    const plain = KINDS.text(o);
    return { element: h("div.fields", {}, plain.element, ...["1:1", "4:3", "16:9", "9:16"].map((value) => h("button", { type: "button", onclick: () => { plain.update(value); o.tell(value, true); } }, value))), update: plain.update };
  },
};
Object.assign(KINDS, { "log-range": KINDS.range, ground: KINDS.colour });
const ON_PICTURE = new Set(["rectangle", "regions", "point"]);
const UNITS = { seconds: "s", cs: "cs" };

const unit = (o) => {
  const word = o.spec.unit ?? UNITS[(o.spec.metavar ?? "").toLowerCase()];
  return word ? h("span.unit", {}, word) : null;
};

// A row: name, control, what is wrong with it.
// given: spec, value, id, tell(text or undefined, isLast), selected, nameOf, upload, canvas, act(what, value).
export const makeControl = (given) => {
  const { spec, id } = given;
  const label = named("option", spec.name);
  const wrong = h("p.error", { id: `${id}-error`, hidden: true });
  const about = h("p.unseen", { id: `${id}-help` }, spec.help ?? "");
  const fail = (text) => {
    wrong.textContent = text ?? "";
    wrong.hidden = !text;
    row.classList.toggle("wrong", Boolean(text));
    for (const input of row.querySelectorAll("input, select, textarea")) input.toggleAttribute("aria-invalid", Boolean(text));
  };
  const tell = (text, isLast) => { row.classList.toggle("given", text !== undefined); reset.hidden = text === undefined; given.tell(text, isLast); };
  const kind = spec.is_multiline ? "lines" : spec.kind;
  const control = (KINDS[kind] ?? KINDS.text)({ ...given, label, tell, fail });
  const isGroup = ["segments", "checks", "rectangle"].some((name) => control.element.classList.contains(name));
  const reset = sign("reset", t("reset", { name: label }), () => { control.update(undefined); tell(undefined, true); fail(""); });
  const draw = ON_PICTURE.has(spec.kind) ? h("button.draw", { type: "button", onclick: () => given.act("draw", spec.name) }, t(`draw_${spec.kind}`)) : null;
  const row = h(`div.row.kind-${kind}`, { title: spec.help, "data-option": spec.name },
    h("div.row-head", {}, isGroup ? h("span.label", {}, label) : h("label.label", { htmlFor: id }, label), draw, reset), control.element, wrong, about);
  const set = (text) => { row.classList.toggle("given", text !== undefined); reset.hidden = text === undefined; };
  set(given.value);
  for (const input of row.querySelectorAll("input, select, textarea")) input.setAttribute("aria-describedby", `${id}-help ${id}-error`);
  return { element: row, spec, fail, update: (text) => { set(text); if (!row.contains(row.getRootNode().activeElement)) control.update(text); } };
};
