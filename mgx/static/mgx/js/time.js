// Puts the server's times into the reader's zone, in the words of workflows/wording.py, and lets
// distances tick. The zone is remembered for the server's next page.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const two = (number) => String(number).padStart(2, "0");
const clock = (moment) => `${two(moment.getHours())}:${two(moment.getMinutes())}`;

function day(moment, now) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
  const days = Math.round((midnight(moment) - midnight(now)) / (DAY * 1000));
  if (days === 0) return "today";
  if (days === 1) return "tomorrow";
  if (days === -1) return "yesterday";
  const date = `${moment.getDate()} ${MONTHS[moment.getMonth()]}`;
  if (moment.getFullYear() === now.getFullYear()) return `${WEEKDAYS[moment.getDay()]} ${date}`;
  return `${date} ${moment.getFullYear()}`;
}

function distance(moment, now) {
  const seconds = (moment - now) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return seconds > 0 ? "in a moment" : "just now";
  let words;
  if (size < 59.5 * MINUTE) words = `${Math.max(1, Math.round(size / MINUTE))} min`;
  else if (size < 23.5 * HOUR) words = `${Math.max(1, Math.round(size / HOUR))} h`;
  else {
    const days = Math.max(1, Math.round(size / DAY));
    words = `${days} day${days === 1 ? "" : "s"}`;
  }
  return seconds > 0 ? `in ${words}` : `${words} ago`;
}

const styles = {
  long: (moment, now) => `${day(moment, now)} at ${clock(moment)}`,
  short: (moment, now) => `${day(moment, now)}, ${clock(moment)}`,
  clock: (moment) => `${clock(moment)}:${two(moment.getSeconds())}`,
  distance,
};

function localise(root, only = "") {
  const now = new Date();
  for (const element of root.querySelectorAll(`time[data-local${only && `=${only}`}]`)) {
    const moment = new Date(element.dateTime);
    const say = styles[element.dataset.local];
    if (!say || Number.isNaN(moment.getTime())) continue;
    let words = say(moment, now);
    if ("capital" in element.dataset) words = words[0].toUpperCase() + words.slice(1);
    if (element.textContent !== words) element.textContent = words;
    element.title = moment.toLocaleString();
  }
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.includes(`mgx_zone=${zone}`)) {
  document.cookie = `mgx_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
}
localise(document);
setInterval(() => localise(document, "distance"), 10_000);
document.addEventListener("mgx:refreshed", (event) => localise(event.target));
document.addEventListener("htmx:afterSettle", () => localise(document));
