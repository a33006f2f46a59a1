"use strict";
document.documentElement.classList.add("js");

// A player: every picture in it shows the same frame. A picture is an <img data-frames=NAME>, whose frames are a
// list of addresses, or a <canvas data-frames=NAME>, whose frames lie in one picture, a strip
// {picture, width, height, columns, count}. The frames come from the player's script.frames, or by take().
// moved: called with the number of the frame that is shown, from 0.
const makePlayer = (player, moved = () => {}) => {
  const find = (name) => player.querySelector(`[data-do=${name}]`);
  const panes = [...player.querySelectorAll("[data-frames]")];
  const clips = [...player.querySelectorAll("video")];
  const [seek, play, rate, stage] = [find("seek"), find("play"), find("rate"), player.querySelector(".stage")];
  let count = Number(player.dataset.count) || 1;
  let frames = null;
  let delays = null; // milliseconds of each frame, for the clip's own speed
  let now = 0;
  let timer = 0;

  const fill = (given) => {
    frames = panes.map((pane) => given[pane.dataset.frames]);
    frames.forEach((list, i) => {
      if (Array.isArray(list) && !panes[i].closest("details.map")) list.forEach((address) => { new Image().src = address; });
    });
  };
  // The posters stand until the player is seen or used: a page of a hundred clips need not decode them all.
  const load = () => {
    if (!frames) fill(JSON.parse(player.querySelector("script.frames").textContent));
  };
  if (window.IntersectionObserver && player.querySelector("script.frames")) {
    const watch = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) { load(); watch.disconnect(); }
    });
    watch.observe(player);
  }
  const paint = (pane, list) => {
    if (!list) return;
    if (Array.isArray(list)) { pane.src = list[Math.min(now, list.length - 1)]; return; }
    if (pane.width !== list.width || pane.height !== list.height) Object.assign(pane, { width: list.width, height: list.height });
    const place = Math.min(now, list.count - 1);
    const [x, y] = [(place % list.columns) * list.width, Math.floor(place / list.columns) * list.height];
    pane.getContext("2d").drawImage(list.picture, x, y, list.width, list.height, 0, 0, list.width, list.height);
  };
  const tell = () => { find("place").value = `frame ${now + 1} of ${count}`; };
  const show = (place) => {
    load();
    now = (place + count) % count;
    panes.forEach((pane, i) => paint(pane, frames[i]));
    seek.value = now;
    tell();
    moved(now);
  };
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    clips.forEach((clip) => clip.pause());
    play.textContent = "Play";
  };
  const wait = () => (rate.value === "own" && delays ? delays[now] : 1000 / (Number(rate.value) || 8));
  const step = () => { show(now + 1); timer = setTimeout(step, wait()); };
  const start = () => {
    timer = setTimeout(step, wait());
    clips.forEach((clip) => { clip.currentTime = 0; clip.play(); });
    play.textContent = "Pause";
  };
  play.addEventListener("click", () => (timer ? stop() : start()));
  rate.addEventListener("change", () => { if (timer) { stop(); start(); } });
  find("back").addEventListener("click", () => { stop(); show(now - 1); });
  find("next").addEventListener("click", () => { stop(); show(now + 1); });
  seek.addEventListener("input", () => { stop(); show(Number(seek.value)); });
  find("mode").addEventListener("change", (event) => { stage.dataset.mode = player.dataset.mode = event.target.value; });
  find("cut").addEventListener("input", (event) => stage.style.setProperty("--cut", `${event.target.value}%`));
  find("gain").addEventListener("input", (event) => stage.style.setProperty("--gain", event.target.value));
  find("zoom")?.addEventListener("change", (event) => { player.dataset.zoom = event.target.value; player.style.setProperty("--zoom", event.target.value); });
  // In the split view the line goes where a pointer that is held down is.
  const split = (event) => {
    if (stage.dataset.mode !== "split" || !(event.buttons & 1)) return;
    const box = stage.querySelector(".edited :is(img, canvas)")?.getBoundingClientRect();
    if (!box || !box.width) return;
    const share = Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100));
    find("cut").value = share;
    stage.style.setProperty("--cut", `${share}%`);
    event.preventDefault();
  };
  stage.addEventListener("pointerdown", split);
  stage.addEventListener("pointermove", split);
  player.tabIndex = 0;
  player.addEventListener("keydown", (event) => {
    if (event.target !== player) return;
    const act = { ArrowLeft: () => { stop(); show(now - 1); }, ArrowRight: () => { stop(); show(now + 1); }, " ": () => play.click() }[event.key];
    if (act) { act(); event.preventDefault(); }
  });
  seek.max = count - 1;
  tell();

  // Show another clip. given: frames by the name of a pane; times: milliseconds of each.
  const take = (given, times) => {
    stop();
    fill(given);
    count = Math.max(1, ...frames.filter(Boolean).map((list) => list.count ?? list.length));
    delays = times;
    seek.max = count - 1;
    show(0);
  };
  return { show, start, stop, take };
};
