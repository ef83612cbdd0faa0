// The inbox asks for the rows that it shows, so that nothing moves: the server greys what was decided
// and counts what is new. Decided rows leave once nobody points at the list any more.

const STAY = 20_000;
const decidedAt = new Map();

const list = () => document.querySelector("[data-live-keep]");
const rows = () => [...(list()?.querySelectorAll("[data-row]") ?? [])];
const isLeaving = (row) => Date.now() - (decidedAt.get(row.dataset.row) ?? Date.now()) >= STAY;
const isTouched = () => list().matches(":hover, :focus-within");

function remember() {
  for (const row of rows()) {
    const id = row.dataset.row;
    if ("decided" in row.dataset && !decidedAt.has(id)) {
      decidedAt.set(id, Date.now());
      setTimeout(leave, STAY + 100);
    }
  }
}

function leave() {
  if (!list() || !rows().some(isLeaving)) return;
  if (isTouched()) setTimeout(leave, 5_000);
  else list().dispatchEvent(new CustomEvent("mgx:stale", { bubbles: true }));
}

document.addEventListener("mgx:refreshing", ({ target, detail }) => {
  if (!target.matches("[data-live-keep]")) return;
  const shown = rows().filter((row) => !isLeaving(row) || isTouched());
  detail.url.searchParams.set("shown", shown.map((row) => row.dataset.row).join(","));
});
document.addEventListener("mgx:refreshed", remember);
remember();

// A list that is being filtered stays where it is, paler; one that could not be loaded says so.
const failed = () => document.querySelector("[data-list-failed]");

document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  detail.target.setAttribute("aria-busy", "true");
  if (failed()) failed().hidden = true;
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  detail.target.removeAttribute("aria-busy");
  if (failed()) failed().hidden = detail.successful;
});
