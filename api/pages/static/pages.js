// What the pages do beyond HTML: parts that refresh, a run that is followed live, choices that show their fields.

const BUSY_AGAIN_MS = 700;

// Parts with data-refresh ask for themselves again every so many seconds, unless somebody works in them or nobody looks.
function keepFresh() {
  let last = new WeakMap();
  setInterval(() => {
    if (document.hidden) return;
    for (const part of document.querySelectorAll("[data-refresh]")) {
      if (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, button, a")) continue;
      const now = performance.now();
      if (!last.has(part)) last.set(part, now);
      if (now - last.get(part) >= 1000 * Number(part.dataset.refresh)) {
        last.set(part, now);
        window.htmx.trigger(part, "refresh");
      }
    }
  }, 250);
}

// A part with data-events follows a run: numbers at once, the picture a little later, the rest when it has ended.
function follow() {
  const part = document.querySelector("[data-events]");
  if (!part) return;
  const source = new EventSource(part.dataset.events);
  let waiting = null;
  const refresh = () => {
    if (waiting) return;
    waiting = setTimeout(() => {
      waiting = null;
      const live = document.getElementById("live");
      if (live && !live.contains(focusedButton())) window.htmx.trigger(live, "refresh");
    }, BUSY_AGAIN_MS);
  };
  source.addEventListener("progress", (event) => {
    const data = JSON.parse(event.data);
    show("objective", data.objective, number);
    show("bound", data.bound, number);
    show("gap", data.gap, (value) => `${(100 * value).toFixed(2)}\u202f%`);
    show("t", data.t, (value) => `${value.toFixed(1)}\u202fs`);
    show("phase", data.phase, String);
    refresh();
  });
  source.addEventListener("state", (event) => {
    const { state } = JSON.parse(event.data);
    if (state === "queued" || state === "running") return refresh();
    source.close();
    clearTimeout(waiting);
    setTimeout(() => window.htmx.trigger(document.getElementById("live"), "refresh"), 50);
    document.title = document.title.replace(/: \w+ ·/, `: ${state} ·`);
  });
}

function focusedButton() {
  const focused = document.activeElement;
  return focused && focused.matches("button") ? focused : null;
}

function show(name, value, words) {
  const field = document.querySelector(`[data-live="${name}"]`);
  if (field && value !== null && value !== undefined) field.textContent = words(value);
}

function number(value) {
  return Number(value.toPrecision(4)).toLocaleString("en").replaceAll(",", "\u202f");
}

// Fields marked data-if="name value…" are shown while one of these values of the radio buttons is chosen.
function choose() {
  const groups = new Set([...document.querySelectorAll("[data-if]")].map((part) => part.dataset.if.split(" ")[0]));
  const apply = (name) => {
    const chosen = document.querySelector(`input[name="${name}"]:checked`)?.value;
    for (const part of document.querySelectorAll("[data-if]")) {
      const [group, ...values] = part.dataset.if.split(" ");
      if (group === name) part.hidden = !values.includes(chosen);
    }
  };
  for (const name of groups) {
    apply(name);
    for (const input of document.querySelectorAll(`input[name="${name}"]`)) input.addEventListener("change", () => apply(name));
  }
}

// Times are written in UTC; here they become the reader's own.
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const moment = new Date(time.dateTime);
    time.title = moment.toString();
    const today = moment.toDateString() === new Date().toDateString();
    const options = { hour: "2-digit", minute: "2-digit", hour12: false, ...(today ? { second: "2-digit" } : { day: "2-digit", month: "short" }) };
    time.textContent = moment.toLocaleString("en-GB", options);
  }
}

localTimes(document);
document.body.addEventListener("htmx:afterSwap", () => localTimes(document));
choose();
keepFresh();
follow();
document.getElementById("errors")?.focus();
