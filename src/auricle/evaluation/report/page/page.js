// Tables sort by a click on a header; worst cases are filtered; one sound plays at a time. Without this all still reads.
"use strict";

const number = (text) => {
  const found = text.replace("−", "-").match(/-?\d+(\.\d+)?/);
  return found ? Number(found[0]) : null;
};

// Words of a cell without its interval, which stands in <small>.
const words = (cell) => [...cell.childNodes].filter((one) => one.nodeName !== "SMALL").map((one) => one.textContent).join("").trim();

const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (a === "–" || b === "–") return (a === "–") - (b === "–");
  if (x !== null && y !== null && x !== y) return x - y;
  return a.localeCompare(b, "en", { numeric: true });
};

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th:not(.unsorted)").forEach((head) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const place = head.cellIndex;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((a, b) => compare(words(a.cells[place]), words(b.cells[place])) * (up ? 1 : -1));
      body.append(...rows);
    });
  });
}

const form = document.querySelector(".filter");
if (form) {
  const run = form.querySelector("#filter-run");
  const text = form.querySelector("#filter-text");
  const count = form.querySelector("#filter-count");
  const rows = [...document.querySelectorAll("#mistakes tbody tr")];
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden = (run.value && row.dataset.run !== run.value) || !row.textContent.toLowerCase().includes(wanted);
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
}

document.addEventListener("play", (event) => {
  for (const player of document.querySelectorAll("audio")) if (player !== event.target) player.pause();
}, true);
