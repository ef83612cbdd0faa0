// Small things of every page: what is said to those who listen, toasts, menus, the decision form.

const SAY_EVERY = 10_000;
const announcer = document.getElementById("announcer");
let sayings = [];
let saidAt = 0;
let saying = 0;

function speak() {
  saying = 0;
  saidAt = Date.now();
  announcer.textContent = sayings.slice(-3).join(" ");
  sayings = [];
}

document.addEventListener("mgx:say", ({ detail }) => {
  if (!sayings.includes(detail)) sayings.push(detail);
  saying ||= setTimeout(speak, Math.max(0, saidAt + SAY_EVERY - Date.now()));
});

document.addEventListener("click", (event) => {
  event.target.closest?.("[data-close-toast]")?.closest(".toast-note").remove();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// Links to the decision form choose an outcome on the way; no link and no key decides.
function choose(outcome) {
  const radio = document.querySelector(`#decision input[type=radio][value="${CSS.escape(outcome)}"]`);
  if (!radio || radio.disabled) return;
  radio.checked = true;
  radio.dispatchEvent(new Event("change", { bubbles: true }));
  document.getElementById("decision").scrollIntoView({ block: "start" });
  radio.focus({ preventScroll: true });
}

document.addEventListener("mgx:choose", ({ detail }) => choose(detail));
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-choose]");
  if (!link || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  choose(link.dataset.choose);
});

// How many of the fields that change the content are not as they came.
function countEdits(form) {
  const fields = [...form.querySelectorAll("[data-edit]")];
  const isEdited = (field) => field.querySelector("input, textarea, select").value !== field.dataset.edit;
  const count = fields.filter(isEdited).length;
  const note = form.querySelector("[data-edited]");
  if (note && count) note.textContent = `${count} edited`;
  return count;
}

// A line's number opens the form for a remark on it.
document.addEventListener("click", (event) => {
  const number = event.target.closest?.("[data-line-of]");
  const forms = number?.closest(".file").querySelector("details[id$='-remark']");
  if (!forms) return;
  const [side, line] = number.dataset.lineOf.split(":");
  forms.open = true;
  forms.querySelector("[data-line]").value = line;
  const choice = forms.querySelector("[data-side]");
  if (choice) choice.value = side;
  forms.querySelector("textarea").focus();
});

// The button names the outcome that was chosen, and the comment says whether it is needed.
function nameDecision() {
  const radio = document.querySelector("#decision input[type=radio]:checked");
  if (!radio) return;
  const form = radio.form;
  const edits = radio.value === "approved" ? countEdits(form) : 0;
  const words = edits ? ` with ${edits} edit${edits === 1 ? "" : "s"}` : "";
  form.querySelector("[data-decide-button]").textContent = radio.dataset.button + words;
  form.querySelector("[data-comment-label]").textContent = radio.dataset.comment;
  form.querySelector("[data-comment-need]").textContent = radio.dataset.need;
}
document.addEventListener("change", nameDecision);
document.addEventListener("mgx:refreshed", nameDecision);
nameDecision();

// Checking or unchecking rows keeps the bar's count true; a box in the head takes them all.
function countSelected() {
  const bar = document.querySelector("[data-selection]");
  if (!bar) return;
  const boxes = [...document.querySelectorAll("[data-row] input[type=checkbox]:not(:disabled)")];
  const count = boxes.filter((box) => box.checked).length;
  bar.dataset.count = count;
  bar.querySelector("[data-selection-count]").textContent = `${count} selected`;
  const all = document.querySelector("[data-select-all]");
  if (!all) return;
  all.checked = count > 0 && count === boxes.length;
  all.indeterminate = count > 0 && count < boxes.length;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-select-all]")) {
    for (const box of document.querySelectorAll("[data-row] input[type=checkbox]:not(:disabled)")) {
      box.checked = event.target.checked;
    }
  }
  countSelected();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[data-selection-clear]")) return;
  for (const box of document.querySelectorAll("[data-row] input:checked")) box.checked = false;
  countSelected();
});
document.addEventListener("mgx:refreshed", countSelected);
document.addEventListener("htmx:afterSettle", countSelected);
countSelected();

// A wide graph opens at the step that the page is about, or at the first that something happens in.
for (const frame of document.querySelectorAll(".graph-frame")) {
  const step =
    frame.querySelector(".is-selected, .is-current") ??
    frame.querySelector(":not(.graph-block) > .is-running, .is-retrying, .is-waiting, .is-failed");
  if (!step) continue;
  const [box, around] = [step.getBoundingClientRect(), frame.getBoundingClientRect()];
  frame.scrollLeft += box.left + box.width / 2 - around.left - around.width / 2;
  frame.scrollTop += box.top + box.height / 2 - around.top - around.height / 2;
}
