"use strict";
(() => {
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

// Sorting: a header's button sorts by data-v where a cell has it, else by text; a second press turns the order round.
for (const table of all("table.sortable")) {
  all("thead th[data-sort]", table).forEach((header) => {
    const column = header.cellIndex, numbers = header.dataset.sort === "number";
    const button = make("button", {type: "button", className: "sort"});
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending" ||
        (numbers && header.getAttribute("aria-sort") !== "descending" && column > 0);
      const value = (row) => {
        const cell = row.cells[column], key = cell.dataset.v ?? cell.textContent.trim();
        return !numbers ? key.toLowerCase() : key === "" ? NaN : Number(key);
      };
      const compare = (a, b) => {
        const x = value(a), y = value(b);
        if (x !== x || y !== y) return (x !== x) - (y !== y); // rows without a number stay last
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
      all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
}

// Filtering: a box above every long list hides what does not hold all words that are typed.
const filterable = (box, items, what) => {
  if (items.length < 8) return;
  const line = make("div", {className: "filter"});
  const input = make("input", {type: "search", placeholder: `filter ${what}`, ariaLabel: `filter ${what}`});
  const shown = make("span", {className: "soft", role: "status"});
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const item of items) {
      const fits = words.every((word) => item.dataset.filter.toLowerCase().includes(word));
      item.hidden = !fits;
      count += fits;
    }
    shown.textContent = words.length ? `${count} of ${items.length}` : "";
  });
  line.append(input, shown);
  box.before(line);
};
all(".scroll").forEach((box) => filterable(box, all("tbody tr[data-filter]", box), "rows"));
all(".films").forEach((box) => filterable(box, all(".film", box), "films"));

// Films: a press plays the frames once; another press stops.
let stop = () => {};
for (const reel of all(".reel")) {
  const player = reel.querySelector(".player"), frames = Number(reel.dataset.frames);
  reel.addEventListener("click", () => {
    const playing = reel.classList.contains("playing");
    stop();
    if (playing) return;
    let frame = 0;
    const show = () => player.style.setProperty("--i", frame);
    const timer = setInterval(() => { frame += 1; frame < frames ? show() : frame > frames + 6 && stop(); }, 140);
    stop = () => { clearInterval(timer); reel.classList.remove("playing"); stop = () => {}; };
    reel.classList.add("playing");
    show();
  });
}

// Folding: one button for all, links into folded parts, and everything open on paper.
const folds = all("main details");
const bar = make("div", {className: "bar"});
const toggle = make("button", {type: "button", textContent: "Unfold all"});
toggle.addEventListener("click", () => {
  const open = toggle.textContent === "Unfold all";
  folds.forEach((fold) => { fold.open = open; });
  toggle.textContent = open ? "Fold all" : "Unfold all";
});
bar.append(toggle);
(document.querySelector("main > .remarks") ?? document.querySelector("main > .why"))?.after(bar);
const reveal = () => {
  let place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (const target = place; place; place = place.parentElement) {
    if (place.tagName === "DETAILS") place.open = true;
    if (place === document.body) target.scrollIntoView();
  }
};
addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => folds.forEach((fold) => { fold.open = true; }));
reveal();
})();
