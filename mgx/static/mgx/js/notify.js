// Browser notifications: for who has switched them on in this browser, what the socket tells while the
// page is hidden, as the reader has chosen it. No service of anybody else's takes part.

const KEY = "mgx-notify";
const GATHER = 1_000; // events that come together are asked about together
const AT_MOST = 3;
const KINDS = {
  approval_required: "request",
  approval_delegated: "request",
  approval_reminded: "reminder",
  approval_escalated: "escalation",
  question_asked: "question",
  question_answered: "question",
  approval_granted: "outcome",
  approval_rejected: "outcome",
  changes_requested: "outcome",
  approval_timeout: "outcome",
};
const WORDS = {
  request: "Waiting for your decision",
  reminder: "Still waiting for your decision",
  escalation: "Escalated to you",
  question: "A question",
  outcome: "Decided",
};
const isPossible = "Notification" in window;
let events = [];
let gathering = 0;

function isOn() {
  try {
    return isPossible && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";
  } catch {
    return false; // storage can be forbidden
  }
}

async function ask(path) {
  const answer = await fetch(`/api/v1/${path}`, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

// Who decides is told of requests, who asked of questions and outcomes; nobody of their own doing.
function concerns(kind, event, approval, me) {
  if (event.actor === `user:${me.username}`) return false;
  if (kind === "outcome" || event.event_type === "question_asked") return approval.requested_by === me.username;
  return approval.status === "pending" && approval.can_decide;
}

async function tell() {
  gathering = 0;
  const found = events.slice(-AT_MOST);
  events = [];
  if (!isOn()) return;
  try {
    const [me, choices] = await Promise.all([ask("me/"), ask("me/notifications/")]);
    for (const event of found) {
      const kind = KINDS[event.event_type];
      if (!choices[kind].browser) continue;
      const approval = await ask(`approvals/${event.approval_id}/`);
      if (concerns(kind, event, approval, me)) show(WORDS[kind], approval);
    }
  } catch {
    // The inbox tells it too.
  }
}

function show(words, approval) {
  // Tabs that tell of the same request replace each other's notification.
  const note = new Notification(words, { body: approval.title.slice(0, 200), tag: approval.id });
  note.addEventListener("click", () => {
    window.focus();
    location.assign(`/approvals/${approval.id}/`);
  });
}

document.addEventListener("mgx:event", ({ detail }) => {
  if (!document.hidden || !KINDS[detail.event_type] || !detail.approval_id || !isOn()) return;
  events.push(detail);
  gathering ||= setTimeout(tell, GATHER);
});

const place = document.querySelector("[data-notify]");
const button = place?.querySelector("[data-notify-switch]");

function showState() {
  const state = place.querySelector("[data-notify-state]");
  const isBlocked = isPossible && Notification.permission === "denied";
  button.hidden = !isPossible || isBlocked;
  button.textContent = isOn() ? "Show none in this browser" : "Show notifications in this browser";
  if (!isPossible) state.textContent = "This browser cannot show notifications here.";
  else if (isBlocked) state.textContent = "This browser blocks notifications of MGX. Its settings can allow them.";
  else state.textContent = isOn() ? "This browser shows notifications." : "This browser shows no notifications.";
}

button?.addEventListener("click", async () => {
  const wanted = isOn() ? "off" : "on";
  if (wanted === "on") await Notification.requestPermission();
  try {
    localStorage.setItem(KEY, wanted);
  } catch {
    // then it stays off
  }
  showState();
});
if (place) showState();
