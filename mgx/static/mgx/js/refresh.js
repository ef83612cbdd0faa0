// Keeps the regions of a page true. A region says what it is about and where it comes from:
//
//   data-live-region="steps"  data-live-url="/executions/…/"  data-live-match="execution:…"
//
// When an event is about it, the region is fetched again and morphed in place, so that focus, caret,
// scroll and what was typed survive. Regions of one address come in one answer. With `data-live-hold` nothing changes under pointer or focus:
// the region waits, and says in [data-live-held] how many events it holds back. How far attempts are
// is told often, and concerns only regions with `data-live-progress`.

const PATIENCE = 150; // milliseconds that events are gathered
const PAUSE = 1_000; // at least so long between two fetches of one region

const isApproval = (event) => Boolean(event.approval_id);
const kinds = {
  approval: (event, id) => (id ? event.approval_id === id : isApproval(event)),
  execution: (event, id) => (id ? event.workflow_execution_id === id : Boolean(event.workflow_execution_id)),
  workflow: (event, id) => (id ? event.workflow_id === id : Boolean(event.workflow_id)),
  run: (event) => event.event_type.startsWith("workflow_") || isApproval(event),
  agent: (event, id) => (id ? event.agent_id === id : Boolean(event.agent_id)),
  tools: (event) => Boolean(event.data?.tool_server),
};
const sources = new Map(); // by address: what is stale there, and when it was last asked
const held = new WeakMap(); // how many events a region holds back

function concerns(region, event) {
  if (event.data?.activity === "progress" && !("liveProgress" in region.dataset)) return false;
  return (region.dataset.liveMatch || "").split("|").some((part) => {
    const [kind, id] = part.split(":");
    return kinds[kind]?.(event, id) ?? false;
  });
}

function isHeld(region) {
  return "liveHold" in region.dataset && region.matches(":hover, :focus-within");
}

function sourceOf(region) {
  const address = region.dataset.liveUrl || location.href;
  if (!sources.has(address)) sources.set(address, { address, stale: new Set(), timer: 0, last: 0, isBusy: false });
  return sources.get(address);
}

function mark(region) {
  if (!isHeld(region)) {
    schedule(region);
    return;
  }
  held.set(region, (held.get(region) ?? 0) + 1);
  for (const note of region.querySelectorAll("[data-live-held]")) {
    note.hidden = false;
    note.querySelector("[data-live-held-count]").textContent = held.get(region);
  }
}

function schedule(region, wait = PATIENCE) {
  const source = sourceOf(region);
  source.stale.add(region);
  if (source.timer || source.isBusy) return;
  const due = Math.max(wait, source.last + PAUSE - Date.now());
  source.timer = setTimeout(() => refresh(source), due);
}

async function refresh(source) {
  const regions = [...source.stale].filter((region) => region.isConnected);
  source.stale.clear();
  Object.assign(source, { timer: 0, isBusy: regions.length > 0 });
  if (!regions.length) return;
  const url = new URL(source.address, location.href);
  for (const region of regions) {
    held.delete(region);
    region.dispatchEvent(new CustomEvent("mgx:refreshing", { bubbles: true, detail: { url } }));
  }
  const names = regions.map((region) => region.dataset.liveRegion).join(",");
  try {
    const answer = await fetch(url, { headers: { "X-MGX-Region": names } });
    if (answer.ok && !answer.redirected) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const region of regions) morph(region, fresh);
    }
  } catch {
    // The line is down; live.js tells the reader, and the events that follow bring this back.
  }
  Object.assign(source, { isBusy: false, last: Date.now() });
  for (const region of source.stale) schedule(region);
}

function isDirty(field) {
  if (field.matches("input[type=checkbox], input[type=radio]")) return field.checked !== field.defaultChecked;
  if (field.matches("input:not([type=hidden]), textarea")) return field.value !== field.defaultValue;
  if (field.matches("select")) return [...field.options].some((o) => o.selected !== o.defaultSelected);
  return false;
}

function morph(region, page) {
  const fresh = page.querySelector(`[data-live-region="${CSS.escape(region.dataset.liveRegion)}"]`);
  if (!fresh || !region.isConnected) return;
  const before = region.dataset.say;
  Idiomorph.morph(region, fresh, {
    callbacks: {
      beforeNodeMorphed: (old, made) =>
        !(old instanceof Element && !made.disabled && isDirty(old)),
      beforeAttributeUpdated: (attribute, element) =>
        !(attribute === "open" && element.matches("details, dialog")),
    },
  });
  if (region.dataset.say && region.dataset.say !== before) {
    document.dispatchEvent(new CustomEvent("mgx:say", { detail: region.dataset.say }));
  }
  region.dispatchEvent(new CustomEvent("mgx:refreshed", { bubbles: true }));
}

function countInTitle() {
  const counter = document.querySelector("[data-title-count]");
  if (!counter) return;
  const plain = document.title.replace(/^\(\d+\) /, "");
  const count = Number(counter.textContent);
  document.title = count ? `(${count}) ${plain}` : plain;
}

const regions = () => document.querySelectorAll("[data-live-region]");

document.addEventListener("mgx:event", ({ detail }) => {
  for (const region of regions()) if (concerns(region, detail)) mark(region);
});
document.addEventListener("mgx:reset", () => {
  for (const region of regions()) schedule(region);
});
document.addEventListener("mgx:stale", ({ target }) => schedule(target, 0));
for (const leaving of ["pointerout", "focusout"]) {
  document.addEventListener(leaving, ({ target }) => {
    const region = target.closest?.("[data-live-hold]");
    if (!region || !held.has(region)) return;
    setTimeout(() => isHeld(region) || schedule(region, 0), PATIENCE);
  });
}
document.addEventListener("mgx:refreshed", countInTitle);
document.addEventListener("htmx:afterSettle", countInTitle);
