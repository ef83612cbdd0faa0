// Single-key shortcuts. None decides anything, none acts while one types, and one switch turns all
// of them off.

const dialog = document.getElementById("keys");
const links = { u: "[data-key-up]", a: "approved", c: "request_changes", r: "rejected" };

function areOn() {
  try {
    return localStorage.getItem("mgx-keys") !== "off";
  } catch {
    return true;
  }
}

function turn(isOn) {
  try {
    localStorage.setItem("mgx-keys", isOn ? "on" : "off");
  } catch {
    // Where storage is forbidden the switch holds for this page only.
  }
  show(isOn);
}

function show(isOn) {
  for (const box of document.querySelectorAll("[data-keys-switch]")) box.checked = isOn;
  for (const button of document.querySelectorAll("[data-keys-toggle]")) {
    button.textContent = isOn ? "Switch shortcuts off" : "Switch shortcuts on";
  }
  document.documentElement.dataset.keys = isOn ? "on" : "off";
}

const rowLinks = () => [...document.querySelectorAll("[data-row] [data-row-link]")];
const rowAt = () => document.activeElement?.closest?.("[data-row]");

function move(step) {
  const next = document.querySelector(step > 0 ? "[data-key-next]" : "[data-key-previous]");
  if (next) return next.click();
  const all = rowLinks();
  if (!all.length) return undefined;
  const at = all.findIndex((link) => rowAt()?.contains(link));
  const target = all[at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step))];
  target.focus();
  return target.scrollIntoView({ block: "nearest" });
}

function open(outcome) {
  if (document.getElementById("decision")) {
    document.dispatchEvent(new CustomEvent("mgx:choose", { detail: outcome }));
    return;
  }
  const link = rowAt()?.querySelector("[data-row-link]");
  if (!link) return;
  const url = new URL(link.href);
  url.searchParams.set("choice", outcome);
  url.hash = "decision";
  location.assign(url);
}

const acts = {
  j: () => move(1),
  k: () => move(-1),
  x: () => rowAt()?.querySelector("input[type=checkbox]:not(:disabled)")?.click(),
  a: () => open(links.a),
  c: () => open(links.c),
  r: () => open(links.r),
  u: () => document.querySelector(links.u)?.click(),
  "/": () => document.querySelector("[data-key-search]")?.focus(),
  "?": () => dialog?.showModal(),
};

function isTyping(target) {
  return target.isContentEditable || (target.matches("input, textarea, select") && !target.matches("[type=checkbox], [type=radio]"));
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (!acts[event.key] || !areOn() || dialog?.open || isTyping(event.target)) return;
  event.preventDefault();
  acts[event.key]();
});
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-keys-open]")) dialog.showModal();
  if (event.target.closest?.("[data-keys-close]") || event.target === dialog) dialog.close();
  if (event.target.closest?.("[data-keys-toggle]")) turn(!areOn());
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-keys-switch]")) turn(event.target.checked);
});
document.addEventListener("htmx:afterSettle", () => show(areOn()));
show(areOn());
