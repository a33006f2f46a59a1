// The runs that follow from what is wished: one question at a time, the last wish counts, and its result is what
// is shown.

const PAUSE_MS = 120; // after the last move of a slider, until a run begins
const SLOW_MS = 400; // after a run as slow as this, one image is shown first

// page: the name under which the server knows this page. host: wish(), the job and the ids of its cards in order,
// or null; began(job); progress(image, total), with null for none; still(revision); load(revision, report), a
// promise of what can be closed or shown; show(made, {revision, report, job, order}); failed(error, order);
// stopped(isWhole); is(state).
export const makeRuns = (transport, page, host) => {
  // wanted, shown: jobs as texts. isWhole: no part of a large clip will do. early: ends of runs of which nobody
  // knew yet. isAsking: 1 while a question is on its way, 2 where another follows it.
  let [timer, wanted, shown, running, current, tookMs, isWhole, isAsking, isOver] = ["", "", "", null, null, 0, false, 0, false];
  const early = new Map();
  const cancel = () => transport.call("cancel", { page }).catch(() => {});

  const run = async () => {
    clearTimeout(timer);
    timer = 0;
    const wish = isOver ? null : host.wish();
    if (!wish) return;
    if (isAsking) { isAsking = 2; return; }
    const { job, order } = wish;
    const text = JSON.stringify(job);
    if (text === wanted) { if (text === shown) host.is("ready"); return; }
    host.is("busy");
    wanted = text;
    const began = performance.now();
    host.began(job);
    early.clear();
    isAsking = 1;
    let answer = null;
    try { answer = await transport.call("run", job); } catch (error) { if (text === wanted) fail(error, order); }
    const isAgain = isAsking === 2;
    isAsking = 0;
    if (isAgain) run();
    if (answer && !wanted) cancel(); // stopped before the server had heard of it
    if (!answer || text !== wanted) return;
    running = { revision: answer.revision, order, job, text, began };
    const known = early.get(answer.revision); // its event may be quicker than the answer
    if (answer.report ?? known?.report) { finish(answer.report ?? known.report); return; }
    if (known) { fail(known.error, order); return; }
    host.progress(0, null);
    if (tookMs > SLOW_MS) host.still(answer.revision);
  };
  const finish = async (report) => {
    const { revision, order, began, job, text } = running;
    running = null;
    tookMs = performance.now() - began;
    host.progress(null);
    const made = await host.load(revision, report);
    if (text !== wanted) { made.close(); return; }
    [current, shown] = [{ revision, report, job, order }, text];
    if (!timer) host.is("ready"); // else something newer is wished already
    host.show(made, current);
  };
  const fail = (error, order) => {
    running = null;
    host.is("failed");
    host.progress(null);
    host.failed(error, order);
  };
  const stop = () => {
    cancel();
    clearTimeout(timer); // the press has ended what was being typed, which is the same wish
    const wasWhole = isWhole;
    [timer, running, wanted, isWhole] = [0, null, "", false];
    isAsking &&= 1;
    host.progress(null);
    if (!wasWhole) host.is("stopped");
    host.stopped(wasWhole);
    if (wasWhole) run(); // back to the part, which is there already
  };
  transport.listen((message) => {
    if (message.ended) { host.ended(message.ended); return; }
    if (message.again) { if (running) { wanted = ""; run(); } return; } // events may have been missed
    if (message.revision !== running?.revision) {
      if (message.report || message.error) early.set(message.revision, message);
      return;
    }
    if (message.report) finish(message.report);
    else if (message.error) fail(message.error, running.order);
    else if (message.image) host.progress(message.image, message.total);
  });

  return {
    run, stop,
    // Something is wished: at once, or once it has rested for a moment.
    soon: (isLast) => { host.is("busy"); clearTimeout(timer); timer = setTimeout(run, isLast ? 0 : PAUSE_MS); },
    // What is dragged is seen anyway: it waits for its end.
    later: () => { host.is("busy"); clearTimeout(timer); timer = 0; },
    again: (makesWhole) => { [isWhole, wanted] = [makesWhole, ""]; run(); },
    forget: () => { [wanted, running, isWhole] = ["", null, false]; },
    onlyPart: () => { isWhole = false; },
    // How it stands, after something else was tried.
    tell: () => host.is(running || isAsking || timer ? "busy" : wanted && wanted === shown ? "ready" : "failed"),
    isShown: (job) => current !== null && JSON.stringify(job) === shown,
    isWanted: (job) => JSON.stringify(job) === wanted,
    end: () => { isOver = true; },
    get current() { return current; },
    get running() { return running; },
    get isWhole() { return isWhole; },
  };
};
