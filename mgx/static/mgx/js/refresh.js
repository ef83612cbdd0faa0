// Keeps the regions of a page true. A region says what it is about and where it comes from:
//
//   data-live-region="steps"  data-live-url="/executions/…/"  data-live-match="execution:…"
//
// When an event is about it, the region is fetched again and morphed in place, so that focus, caret,
// scroll and what was typed survive. With `data-live-hold` nothing changes under pointer or focus:
// the region waits, and says in [data-live-held] how many events it holds back.

const PATIENCE = 150; // milliseconds that events are gathered
const PAUSE = 1_000; // at least so long between two fetches of one region

const isApproval = (event) => Boolean(event.approval_id);
const kinds = {
  approval: (event, id) => (id ? event.approval_id === id : isApproval(event)),
  execution: (event, id) => (id ? event.workflow_execution_id === id : Boolean(event.workflow_execution_id)),
  workflow: (event, id) => (id ? event.workflow_id === id : Boolean(event.workflow_id)),
  run: (event) => event.event_type.startsWith("workflow_") || isApproval(event),
  agent: (event) => Boolean(event.agent_id),
};
const states = new WeakMap();

function concerns(region, event) {
  return (region.dataset.liveMatch || "").split("|").some((part) => {
    const [kind, id] = part.split(":");
    return kinds[kind]?.(event, id) ?? false;
  });
}

function isHeld(region) {
  return "liveHold" in region.dataset && region.matches(":hover, :focus-within");
}

function stateOf(region) {
  if (!states.has(region)) states.set(region, { timer: 0, last: 0, isBusy: false, isStale: false, held: 0 });
  return states.get(region);
}

function mark(region) {
  const state = stateOf(region);
  if (isHeld(region)) {
    state.held += 1;
    for (const note of region.querySelectorAll("[data-live-held]")) {
      note.hidden = false;
      note.querySelector("[data-live-held-count]").textContent = state.held;
    }
    return;
  }
  schedule(region);
}

function schedule(region, wait = PATIENCE) {
  const state = stateOf(region);
  state.isStale = true;
  if (state.timer || state.isBusy) return;
  const due = Math.max(wait, state.last + PAUSE - Date.now());
  state.timer = setTimeout(() => refresh(region), due);
}

async function refresh(region) {
  const state = stateOf(region);
  Object.assign(state, { timer: 0, isBusy: true, isStale: false, held: 0 });
  const url = new URL(region.dataset.liveUrl || location.href, location.href);
  region.dispatchEvent(new CustomEvent("mgx:refreshing", { bubbles: true, detail: { url } }));
  try {
    const answer = await fetch(url, { headers: { "X-MGX-Region": region.dataset.liveRegion } });
    if (answer.ok && !answer.redirected) morph(region, await answer.text());
  } catch {
    // The line is down; live.js tells the reader, and the events that follow bring this back.
  }
  state.isBusy = false;
  state.last = Date.now();
  if (state.isStale) schedule(region);
}

function isDirty(field) {
  if (field.matches("input[type=checkbox], input[type=radio]")) return field.checked !== field.defaultChecked;
  if (field.matches("input:not([type=hidden]), textarea")) return field.value !== field.defaultValue;
  if (field.matches("select")) return [...field.options].some((o) => o.selected !== o.defaultSelected);
  return false;
}

function morph(region, html) {
  const name = CSS.escape(region.dataset.liveRegion);
  const fresh = new DOMParser()
    .parseFromString(html, "text/html")
    .querySelector(`[data-live-region="${name}"]`);
  if (!fresh || !region.isConnected) return;
  const before = region.dataset.say;
  Idiomorph.morph(region, fresh, {
    ignoreActiveValue: true,
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
    if (!region || !stateOf(region).held) return;
    setTimeout(() => isHeld(region) || schedule(region, 0), PATIENCE);
  });
}
document.addEventListener("mgx:refreshed", countInTitle);
document.addEventListener("htmx:afterSettle", countInTitle);
