"use strict";
document.documentElement.classList.add("js");

// Tables: a click on a heading sorts by it, numbers as numbers, empty cells last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    head.tabIndex = 0;
    const sort = () => {
      const isUp = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      const value = (row) => {
        const text = row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
        const number = Number.parseFloat(text);
        return [text === "" || text === "–", Number.isNaN(number) ? text : number];
      };
      const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
      rows.sort(([[emptyA, a]], [[emptyB, b]]) => {
        if (emptyA !== emptyB) return emptyA - emptyB;
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return isUp ? order : -order;
      });
      table.tBodies[0].append(...rows.map(([, row]) => row));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}

// Players: every picture of a video shows the same frame, and the charts mark it.
for (const player of document.querySelectorAll(".player")) {
  const section = player.closest("section");
  const find = (name) => player.querySelector(`[data-do=${name}]`);
  const images = [...player.querySelectorAll("img[data-frames]")];
  const count = Number(player.dataset.count);
  let lists = null;
  // The posters stand until the player is seen or used: a page of a hundred clips need not decode them all.
  const load = () => {
    if (lists) return;
    const frames = JSON.parse(player.querySelector("script.frames").textContent);
    lists = images.map((image) => frames[image.dataset.frames]);
    lists.forEach((list, i) => { if (!images[i].closest("details.map")) list.forEach((address) => { new Image().src = address; }); });
  };
  if (window.IntersectionObserver) {
    const watch = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) { load(); watch.disconnect(); } });
    watch.observe(player);
  }
  const clips = [...player.querySelectorAll("video")];
  const [seek, play, rate, stage] = [find("seek"), find("play"), find("rate"), player.querySelector(".stage")];
  let now = 0;
  let timer = 0;
  seek.max = count - 1;
  const tell = () => { find("place").value = `frame ${now + 1} of ${count}`; };
  const show = (place) => {
    load();
    now = (place + count) % count;
    images.forEach((image, i) => { image.src = lists[i][Math.min(now, lists[i].length - 1)]; });
    seek.value = now;
    tell();
    for (const mark of section.querySelectorAll(".now")) {
      const places = JSON.parse(mark.dataset.places);
      const x = places[Math.min(now, places.length - 1)];
      mark.setAttribute("x1", x);
      mark.setAttribute("x2", x);
    }
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    clips.forEach((clip) => clip.pause());
    play.textContent = "Play";
  };
  const start = () => {
    timer = setInterval(() => show(now + 1), 1000 / Number(rate.value));
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
  player.tabIndex = 0;
  player.addEventListener("keydown", (event) => {
    if (event.target !== player) return;
    const act = { ArrowLeft: () => { stop(); show(now - 1); }, ArrowRight: () => { stop(); show(now + 1); }, " ": () => play.click() }[event.key];
    if (act) { act(); event.preventDefault(); }
  });
  tell();
}

// Videos: a filter over names, prompts and flags, all open or closed at once, and a link opens what it leads to.
const sections = [...document.querySelectorAll("section")];
const control = (name) => document.querySelector(`.filter [data-do=${name}]`);
if (control("filter")) {
  const texts = sections.map((section) => [section.id, ...[...section.querySelectorAll("dd, .flag")].map((part) => part.textContent)].join(" ").toLowerCase());
  const rows = new Map([...document.querySelectorAll("tbody th a")].map((link) => [decodeURIComponent(link.hash.slice(1)), link.closest("tr")]));
  const filter = () => {
    const wanted = control("filter").value.trim().toLowerCase();
    let count = 0;
    sections.forEach((section, i) => {
      const fits = texts[i].includes(wanted) && (!control("flagged").checked || section.querySelector(".flag") !== null);
      section.hidden = !fits;
      if (rows.has(section.id)) rows.get(section.id).hidden = !fits;
      count += fits;
    });
    control("count").value = count < sections.length ? `${count} of ${sections.length} videos` : "";
  };
  control("filter").addEventListener("input", filter);
  control("flagged").addEventListener("change", filter);
  for (const [name, isOpen] of [["open", true], ["close", false]]) {
    control(name).addEventListener("click", () => document.querySelectorAll("details.video").forEach((video) => { video.open = isOpen; }));
  }
}
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.matches("section")) { target.querySelector("details.video").open = true; target.scrollIntoView(); }
};
window.addEventListener("hashchange", reveal);
reveal();

