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

// Players: the charts of a video mark the frame that is shown.
for (const player of document.querySelectorAll(".player")) {
  const section = player.closest("section");
  makePlayer(player, (now) => {
    for (const mark of section.querySelectorAll(".now")) {
      const places = JSON.parse(mark.dataset.places);
      const x = places[Math.min(now, places.length - 1)];
      mark.setAttribute("x1", x);
      mark.setAttribute("x2", x);
    }
  });
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
      const groups = JSON.parse(section.dataset.groups || "[]");
      const fits = texts[i].includes(wanted) && (!control("group")?.value || groups.includes(control("group").value)) && (!control("flagged").checked || section.querySelector(".flag") !== null);
      section.hidden = !fits;
      if (rows.has(section.id)) rows.get(section.id).hidden = !fits;
      count += fits;
    });
    control("count").value = count < sections.length ? `${count} of ${sections.length} videos` : "";
  };
  control("filter").addEventListener("input", filter);
  control("flagged").addEventListener("change", filter);
  control("group")?.addEventListener("change", filter);
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

