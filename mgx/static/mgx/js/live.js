// One WebSocket a page. Each event of the server becomes `mgx:event` on the document; a cursor that
// is too old becomes `mgx:reset`. After a break it goes on from the last event that arrived.

const WAITS = [1, 2, 4, 8, 15, 30]; // seconds before each further attempt
const SILENCE = 75_000; // without a single frame for so long, the line is dead
const ENDS = { 4401: "You are signed out.", 4403: "You no longer see this workspace." };

const { liveUrl, liveAfter } = document.body.dataset;
const light = document.getElementById("live");
const notice = document.getElementById("live-notice");
const noticeText = document.getElementById("live-notice-text");

let cursor = Number(liveAfter) || 0;
let failures = 0;
let socket = null;
let silence = 0;
let countdown = 0;

function show(state, words) {
  if (!light) return;
  light.dataset.state = state;
  light.textContent = words;
}

function address() {
  const url = new URL(liveUrl, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("after", cursor);
  return url;
}

function connect() {
  clearInterval(countdown);
  if (socket) return;
  socket = new WebSocket(address());
  socket.addEventListener("message", (frame) => receive(JSON.parse(frame.data)));
  socket.addEventListener("close", lose);
  listen();
}

function listen() {
  clearTimeout(silence);
  silence = setTimeout(() => socket?.close(), SILENCE);
}

function receive(frame) {
  listen();
  if (frame.type === "event") {
    if (frame.event.seq <= cursor) return;
    cursor = frame.event.seq;
    document.dispatchEvent(new CustomEvent("mgx:event", { detail: frame.event }));
  } else if (frame.type === "ready") {
    cursor = Math.max(cursor, frame.seq);
    failures = 0;
    notice.hidden = true;
    show("live", "Live");
  } else if (frame.type === "reset") {
    cursor = frame.seq;
    document.dispatchEvent(new CustomEvent("mgx:reset"));
  } else if (frame.type === "ping") {
    socket.send(JSON.stringify({ type: "pong" }));
  }
}

function lose(event) {
  clearTimeout(silence);
  socket = null;
  if (ENDS[event.code]) {
    show("interrupted", "Not live");
    noticeText.textContent = ENDS[event.code];
    notice.hidden = false;
    return;
  }
  let seconds = WAITS[Math.min(failures, WAITS.length - 1)];
  failures += 1;
  const jitter = Math.random() * 1000;
  show("interrupted", "Interrupted");
  say(seconds);
  // A first break is often a restart of a second: the notice waits for the second one.
  notice.hidden = failures < 2;
  countdown = setInterval(() => {
    seconds -= 1;
    if (seconds > 0) say(seconds);
    else {
      clearInterval(countdown);
      setTimeout(connect, jitter);
    }
  }, 1000);
}

function say(seconds) {
  noticeText.textContent = `Trying again in ${seconds} s. You can still decide.`;
}

if (liveUrl && "WebSocket" in window) {
  connect();
  addEventListener("online", () => socket || connect());
  document.addEventListener("visibilitychange", () => document.hidden || socket || connect());
  addEventListener("pagehide", () => {
    clearInterval(countdown);
    socket?.removeEventListener("close", lose);
    socket?.close();
    socket = null;
  });
  addEventListener("pageshow", (event) => event.persisted && connect());
}
