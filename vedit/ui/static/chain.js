// The chain as cards, one per stage. A card knows nothing of stages but what the server's tables say.

import { dragged, h, icon, sign } from "./dom.js";
import { makeControl } from "./controls.js";
import { rectText } from "./crop.js";
import { named, t } from "./words.js";

const SHOWN = 4; // options beside the ways that a card shows before "More"

// What a stage begins with, so that adding it is no mistake yet, and changes little.
const beginning = (stage, way, { width, height }) => ({
  crop: { rect: { rect: rectText({ x: 0, y: 0, w: width, h: height }) }, left: { left: "0" }, centre: { centre: `${width}x${height}` } },
  resize: { width: { width: `${width}` }, size: { size: `${width}x${height}` }, scale: { scale: "1" }, fit: { fit: `${width}x${height}` }, fill: { fill: `${width}x${height}` } },
  pad: { size: { size: `${width}x${height}` }, aspect: { aspect: "1:1" } },
  speed: { factor: { factor: "1" } },
  watermark: { text: { text: t("sample_text") } },
  blur: { "": { rect: rectText({ x: Math.floor(width / 3), y: Math.floor(height / 3), w: Math.ceil(width / 3), h: Math.ceil(height / 3) }) } },
  delay: { "": { rules: "all=10" } },
  rotate: { "": { angle: "90" } },
  fade: { "": { in: "0.5" } },
  frames: { "": { "drop-equal": "true" } },
})[stage]?.[way] ?? {};
const FIRST_WAY = { resize: "width" };

const firstOf = (way) => way.options[0];
const isGiven = (options, name) => options[name] !== undefined && options[name] !== "false";
// The way of a group that is in use, by its first option, or "".
const wayOf = (group, options) => firstOf(group.ways.find((way) => way.options.some((name) => isGiven(options, name))) ?? { options: [""] });

export const newCard = (spec, id, canvas) => {
  const needed = spec.ways.find((group) => group.needs_one);
  const way = needed ? FIRST_WAY[spec.name] ?? firstOf(needed.ways[0]) : "";
  const first = { ...beginning(spec.name, way, canvas), ...(spec.name === "speed" ? beginning("speed", "factor", canvas) : {}) };
  return { id, stage: spec.name, options: first, on: true };
};

const wayTitle = (spec, way) => (way.options.length > 2 ? t("sides") : way.options.map((name) => named("option", name)).join(" / "));

// host: state(), specs(stage), edit(change, {isLast, key}), canvasOf(card), act(card, what, value), and what the
// controls ask for.
export const makeChain = (host) => {
  const list = h("ol.cards");
  let made = new Map(); // by card: {controls by option, element}
  let output = null;
  const folded = new Set();
  const stash = new Map(); // options of ways that are not in use, by card
  const ways = new Map(); // ways that are chosen and have no option yet

  const card = (entry, i, chain) => {
    const spec = host.specs(entry.stage);
    const title = named("stage", entry.stage);
    const controls = new Map();
    const control = (name) => {
      const option = spec.options.find((one) => one.name === name);
      const one = makeControl({
        ...host.services, spec: option, id: `card-${entry.id}-${name}`, value: entry.options[name],
        canvas: () => host.canvasOf(entry), act: (what, value) => host.act(entry.id, what, value, name),
        tell: (text, isLast) => host.edit((state) => write(state, entry.id, name, text), { isLast, key: `${entry.id}-${name}` }),
      });
      controls.set(name, one);
      return one.element;
    };
    const grouped = new Set(spec.ways.flatMap((group) => group.ways.flatMap((way) => way.options)));
    const groups = spec.ways.map((group, place) => {
      const chosen = wayOf(group, entry.options) || ways.get(`${entry.id}-${place}`) || "";
      const way = group.ways.find((one) => firstOf(one) === chosen);
      const isSwitch = (one) => one.options.length === 1 && spec.options.find(({ name }) => name === one.options[0])?.kind === "switch";
      const pick = (next) => switchWay(entry, group, place, chosen, next, isSwitch);
      const radio = (value, words) => h("label", {}, h("input", { type: "radio", id: `card-${entry.id}-way-${place}-${value}`, name: `way-${entry.id}-${place}`, value, checked: value === chosen, onchange: () => pick(value) }), h("span", {}, words));
      const what = group.what ? named("what", group.what) : "";
      return h("div.ways", {}, h("span.label", {}, what), h("div.segments.tabs", { role: "radiogroup", "aria-label": what },
        group.needs_one ? null : radio("", t("none")), ...group.ways.map((one) => radio(firstOf(one), wayTitle(spec, one)))),
        ...(way && !isSwitch(way) ? way.options.map(control) : []));
    });
    const rest = spec.options.map(({ name }) => name).filter((name) => !grouped.has(name));
    const [first, more] = [rest.slice(0, SHOWN), rest.slice(SHOWN)];
    const behind = more.length > 1 ? h("details.more", { open: more.some((name) => entry.options[name] !== undefined) }, h("summary", {}, t("more", { count: more.length })), ...more.map(control)) : null;
    const wrong = h("p.error.of-card", { hidden: true });
    const notes = h("div.notes");
    const badge = h("span.badge-small", { hidden: true });
    const body = h("div.card-body", { id: `card-${entry.id}-body`, hidden: folded.has(entry.id) }, ...groups, ...first.map(control), ...(behind ? [behind] : more.map(control)));
    const fold = () => { folded.has(entry.id) ? folded.delete(entry.id) : folded.add(entry.id); body.hidden = folded.has(entry.id); head.setAttribute("aria-expanded", !body.hidden); };
    const head = h("button.card-title", { type: "button", id: `card-${entry.id}-title`, onclick: fold, "aria-expanded": !folded.has(entry.id), "aria-controls": `card-${entry.id}-body`, title: spec.summary }, title);
    const on = h("input.switch", { type: "checkbox", role: "switch", id: `card-${entry.id}-on`, checked: entry.on, "aria-label": t("stage_on", { name: title }), onchange: () => host.edit((state) => { find(state, entry.id).on = on.checked; }, { isLast: true, isNew: true }) });
    const grip = h("span.grip", { "aria-hidden": "true", title: t("drag_title") }, icon("drag"));
    const element = h(`li.card${entry.on ? "" : ".off"}`, { "data-card": entry.id, "data-stage": entry.stage, "aria-label": title },
      h("div.card-head", {}, grip, head, badge, on),
      wrong, notes, body,
      h("div.card-foot", {},
        sign("up", t("move_up", { name: title }), () => shift(entry.id, -1), { id: `card-${entry.id}-up`, disabled: i === 0 }),
        sign("down", t("move_down", { name: title }), () => shift(entry.id, 1), { id: `card-${entry.id}-down`, disabled: i === chain.length - 1 }),
        sign("copy", t("duplicate", { name: title }), () => duplicate(entry.id), { id: `card-${entry.id}-copy` }),
        sign("remove", t("remove", { name: title }), () => remove(entry.id), { id: `card-${entry.id}-remove` })));
    element.addEventListener("keydown", (event) => {
      const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!event.altKey || !by || event.target.closest(".box")) return;
      event.preventDefault();
      event.stopPropagation();
      shift(entry.id, by);
    });
    return { element, controls, wrong, notes, badge };
  };
  // The list has the pointer, not the grip: an element that moves loses it.
  dragged(list, (down) => {
    const element = down.target.closest(".grip")?.closest(".card");
    if (!element) return null;
    element.classList.add("dragging");
    return (event, isLast) => {
      for (const other of list.children) {
        const area = other.getBoundingClientRect();
        if (other === element || event.clientY < area.top || event.clientY > area.bottom) continue;
        const isAfter = event.clientY > area.top + area.height / 2;
        other[isAfter ? "after" : "before"](element);
      }
      if (!isLast) return;
      element.classList.remove("dragging");
      const order = [...list.children].map((one) => Number(one.dataset.card));
      host.edit((state) => { state.chain.sort((one, two) => order.indexOf(one.id) - order.indexOf(two.id)); }, { isLast: true, isNew: true });
    };
  });
  const find = (state, id) => state.chain.find((entry) => entry.id === id);
  // Places that exclude each other though no `ways` says so: a free point and a named position.
  const write = (state, id, name, text) => {
    const { options } = find(state, id);
    if (text === undefined) delete options[name]; else options[name] = text;
    if (name === "at" && text !== undefined) { delete options.position; delete options.margin; }
    if (["position", "margin"].includes(name)) delete options.at;
    const others = made.get(id)?.controls;
    for (const other of ["at", "position", "margin"]) if (other !== name) others?.get(other)?.update(options[other]);
  };
  const switchWay = (entry, group, place, from, to, isSwitch) => {
    const kept = stash.get(entry.id) ?? {};
    stash.set(entry.id, kept);
    ways.set(`${entry.id}-${place}`, to);
    host.edit((state) => {
      const { options } = find(state, entry.id);
      for (const way of group.ways) for (const name of way.options) if (options[name] !== undefined) { kept[name] = options[name]; delete options[name]; }
      const way = group.ways.find((one) => firstOf(one) === to);
      if (!way) return;
      const before = Object.fromEntries(way.options.filter((name) => kept[name] !== undefined).map((name) => [name, kept[name]]));
      Object.assign(options, isSwitch(way) ? { [to]: "true" } : Object.keys(before).length ? before : beginning(entry.stage, to, host.canvasOf(entry)));
    }, { isLast: true, isNew: true });
  };
  const shift = (id, by) => host.edit((state) => {
    const from = state.chain.findIndex((entry) => entry.id === id);
    const [entry] = state.chain.splice(from, 1);
    state.chain.splice(Math.max(0, from + by), 0, entry);
  }, { isLast: true, isNew: true, announce: "moved" });
  const duplicate = (id) => host.edit((state) => {
    const from = state.chain.findIndex((entry) => entry.id === id);
    state.chain.splice(from + 1, 0, { ...structuredClone(state.chain[from]), id: host.nextId() });
  }, { isLast: true, isNew: true });
  const remove = (id) => {
    const place = host.state().chain.findIndex((entry) => entry.id === id);
    host.edit((state) => { state.chain = state.chain.filter((entry) => entry.id !== id); }, { isLast: true, isNew: true });
    const next = host.state().chain[Math.min(place, host.state().chain.length - 1)];
    (next ? list.querySelector(`#card-${next.id}-title`) : add).focus();
  };

  const add = h("button.add", { type: "button", "aria-haspopup": "menu", "aria-expanded": "false", onclick: () => toggle() }, icon("add"), t("add_stage"));
  const menu = h("div.menu", { role: "menu", "aria-label": t("add_stage"), hidden: true });
  const toggle = (shows = menu.hidden) => {
    menu.hidden = !shows;
    add.setAttribute("aria-expanded", shows);
    if (shows) menu.querySelector("button")?.focus();
  };
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.querySelectorAll("button")];
    const now = items.indexOf(menu.getRootNode().activeElement);
    const to = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) { items[(to + items.length) % items.length].focus(); event.preventDefault(); event.stopPropagation(); }
    if (event.key === "Escape") { toggle(false); add.focus(); event.stopPropagation(); }
  });
  menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget) && event.relatedTarget !== add) toggle(false); });

  const empty = h("p.empty", {}, t("chain_empty"));
  const outputBox = h("div.output");
  const element = h("section.chain", { "aria-label": t("chain") }, h("div.panel-head", {}, h("h2", {}, t("chain"))), empty, list, h("div.adding", {}, add, menu), outputBox);

  return {
    element,
    // The tables have come.
    offer: (stages, outputs, formats) => {
      menu.replaceChildren(...stages.map((spec) => h("button", { type: "button", role: "menuitem", onclick: () => { toggle(false); host.add(spec); } }, h("b", {}, named("stage", spec.name)), h("small", {}, spec.summary))));
      const rows = outputs.map((spec) => ({ name: spec.name, one: makeControl({
        ...host.services, spec, id: `output-${spec.name}`, value: host.state().output[spec.name], canvas: () => null, act: () => {},
        tell: (text, isLast) => host.edit((state) => { if (text === undefined) delete state.output[spec.name]; else state.output[spec.name] = text; }, { isLast, key: `output-${spec.name}` }),
      }) }));
      output = new Map(rows.map(({ name, one }) => [name, one]));
      outputBox.replaceChildren(h("details.card", {}, h("summary.card-title", {}, t("output")), h("div.card-body", {}, ...rows.map(({ one }) => one.element))));
    },
    render: () => {
      const { chain, output: values } = host.state();
      const root = list.getRootNode();
      const focused = list.contains(root.activeElement) ? root.activeElement.id : "";
      made = new Map(chain.map((entry, i) => [entry.id, card(entry, i, chain)]));
      list.replaceChildren(...[...made.values()].map((one) => one.element));
      empty.hidden = chain.length > 0;
      output?.forEach((one, name) => one.update(values[name]));
      if (focused) {
        const again = root.getElementById(focused);
        (again && !again.disabled ? again : again?.closest(".card")?.querySelector(".card-title") ?? add).focus({ preventScroll: true });
      }
    },
    // Texts have changed elsewhere, such as on the picture: show them.
    refresh: (id) => { const entry = find(host.state(), id); made.get(id)?.controls.forEach((one, name) => one.update(entry.options[name])); },
    reveal: (id) => { const one = made.get(id); one?.element.scrollIntoView({ block: "nearest" }); one?.element.querySelector(".card-body input:not(.unseen), .card-body select, .card-title")?.focus(); },
    fail: (id, option, text) => {
      const one = made.get(id);
      const control = option && (one ? one.controls.get(option) : id === null ? output?.get(option) : null);
      if (control) { control.fail(text); control.element.closest("details")?.setAttribute("open", ""); } else if (one) { one.wrong.textContent = text; one.wrong.hidden = false; }
      return Boolean(control || one);
    },
    clear: () => {
      for (const one of made.values()) { one.controls.forEach((control) => control.fail("")); one.wrong.hidden = true; one.notes.replaceChildren(); }
      output?.forEach((control) => control.fail(""));
    },
    warn: (id, text) => { made.get(id)?.notes.append(h("p.note", {}, text)); },
    badge: (id, words) => { const one = made.get(id); if (one) { one.badge.textContent = words; one.badge.hidden = !words; } },
  };
};
