"use strict";

// Light, dark, or as the system has it; remembered where the browser allows that to a file.
const root = document.documentElement;
const remembered = { get() { try { return localStorage.getItem("yolor-theme"); } catch { return null; } },
                     set(value) { try { localStorage.setItem("yolor-theme", value); } catch { } } };
function isDark() {
  const chosen = root.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
const themeButton = document.getElementById("theme");
function showTheme() { themeButton.textContent = isDark() ? "Light" : "Dark"; }
if (["light", "dark"].includes(remembered.get())) root.dataset.theme = remembered.get();
themeButton.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  remembered.set(root.dataset.theme);
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();

// A click on the heading of a column sorts by it; what is no number comes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const rising = heading.getAttribute("aria-sort") === "descending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const [m, n] = [parseFloat(x), parseFloat(y)];
        if (isNaN(m) && isNaN(n)) return rising ? x.localeCompare(y) : y.localeCompare(x);
        if (isNaN(m) || isNaN(n)) return isNaN(m) - isNaN(n);
        return rising ? m - n : n - m;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

// What is shown over the images, and which of them.
for (const box of document.querySelectorAll("input[data-hides]")) {
  const show = () => box.closest("section").classList.toggle(box.dataset.hides, !box.checked);
  box.addEventListener("change", show);
  show();
}
for (const choice of document.querySelectorAll("input[data-shows]")) {
  const show = () => {
    const all = document.querySelectorAll(`input[name="${choice.name}"]`);
    for (const one of all) document.getElementById(one.dataset.shows).hidden = !one.checked;
  };
  choice.addEventListener("change", show);
  show();
}

// The part of the page that is being read, in the bar.
const links = new Map([...document.querySelectorAll(".bar nav a")].map((a) => [a.hash.slice(1), a]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.classList.remove("here");
    const link = links.get(entry.target.id);
    link.classList.add("here");
    const bar = link.parentElement;
    bar.scrollTo({ left: link.offsetLeft - bar.offsetLeft - 40, behavior: "smooth" });
  }
}, { rootMargin: "-15% 0px -75% 0px" });
for (const id of links.keys()) seen.observe(document.getElementById(id));
