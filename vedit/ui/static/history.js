// What was done: the state of the page, its steps back and forth, and what a reload finds again.

const STEPS = 200; // of undo
const KEPT = "vedit-editor";

// store: sessionStorage, or null. more(): what else is kept for a reload.
export const makeHistory = (store, more) => {
  const kept = JSON.parse(store?.getItem(KEPT) ?? "{}");
  let state = { chain: [], output: {}, selection: [] };
  let [past, future, gesture, ids] = [[], [], null, 0];

  const snapshot = () => JSON.stringify(state);
  const write = (steps) => store?.setItem(KEPT, JSON.stringify({ ...steps, state, ...more() }));
  const keep = () => {
    try { write({ past, future }); } catch { write({ past: [], future: [] }); } // a browser gives a page 5 MB
  };
  const remember = () => {
    past = [...past, gesture ?? snapshot()].slice(-STEPS);
    future = [];
  };
  // Change the state. A gesture, such as the moves of one slider, is one step, which its last change ends.
  const change = (work, isLast) => {
    gesture ??= snapshot();
    work(state);
    if (!isLast) return;
    if (gesture !== snapshot()) remember();
    gesture = null;
  };
  const go = (from, to) => {
    if (!from.length) return false;
    to.push(snapshot());
    state = JSON.parse(from.pop());
    gesture = null;
    return true;
  };
  return {
    kept, change, keep,
    undo: () => go(past, future),
    redo: () => go(future, past),
    nextId: () => { ids += 1; return ids; },
    // What is being typed has no end yet.
    close: () => { if (gesture && gesture !== snapshot()) remember(); keep(); },
    // Go on where a page was before it was loaded again.
    resume: () => {
      [state, past, future] = [kept.state, kept.past ?? [], kept.future ?? []];
      const all = [state, ...[...past, ...future].map((one) => JSON.parse(one))];
      ids = Math.max(0, ...all.flatMap(({ chain }) => chain.map(({ id }) => id)));
    },
    get state() { return state; },
    get canUndo() { return past.length > 0; },
    get canRedo() { return future.length > 0; },
  };
};
