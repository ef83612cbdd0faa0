// On wide screens a link with `data-beside` shows its page's first part beside the list: the regions
// of this page are asked for anew at that address. Elsewhere, and without a script, it leads there.

const isWide = matchMedia("(min-width: 1100px)");

function show(address) {
  for (const region of document.querySelectorAll("[data-live-region]")) {
    if (new URL(region.dataset.liveUrl, location.href).pathname !== location.pathname) continue;
    region.dataset.liveUrl = address;
    region.dispatchEvent(new CustomEvent("mgx:stale", { bubbles: true }));
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-beside]");
  const isPlain = !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || !isWide.matches) return;
  event.preventDefault();
  history.pushState({ beside: true }, "", link.dataset.beside);
  show(location.href);
});
addEventListener("popstate", () => {
  if (document.querySelector("[data-beside]")) show(location.href);
});
