// Words, times and elements that the pages of machines share.

export const element = (id) => document.getElementById(id);

export function node(tag, text = "", properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text }, properties);
}

// What needs attention first, with what each state means.
export const STATES = {
  active: "an alarm that nobody has seen",
  silent: "no recording has arrived for three intervals",
  returned: "an alarm went away before anybody had seen it",
  drifting: "the recordings differ from those of the training",
  acknowledged: "an alarm that somebody has seen",
  snoozed: "a person wants to hear nothing for a while",
  unknown: "no model yet, so no alarms",
  normal: "nothing to do",
};

const ORDER = Object.keys(STATES);

// As what a machine is listed: its state, or "drifting" where the state needs less attention.
// A known fault explains why a part of the sound has shifted, and needs no second line.
export function attention(machine) {
  const less = ["normal", "unknown", "acknowledged"].includes(machine.state);
  return less && openDrift(machine) ? "drifting" : machine.state;
}

export function openDrift({ drift, drift_explained: explained }) {
  return explained ? null : drift;
}

export function byAttention(a, b) {
  const order = ORDER.indexOf(attention(a)) - ORDER.indexOf(attention(b));
  return order || a.since.localeCompare(b.since) || a.id.localeCompare(b.id);
}

// Everything drifts with a recorder, a room or a load; a part of the sound shifts with a fault.
export function driftName({ kind }) {
  return kind === "everything" ? "drifting" : "part shifted";
}

export function badge(state, text = state) {
  return node("span", text, { className: `state ${state}`, title: STATES[state] ?? "" });
}

export function day(at) {
  return new Date(at).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

function exact(at) {
  return new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

// A time in the browser's zone.
export function time(at) {
  return node("time", exact(at), { dateTime: at });
}

const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });

// How long ago a time is; the time itself is in its tooltip.
export function ago(at) {
  const seconds = (new Date(at) - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["minute", 60];
  const text = Math.abs(seconds) < 60 ? "just now" : relative.format(Math.trunc(seconds / size), unit);
  return node("time", text, { dateTime: at, title: exact(at) });
}

export function row(cells, labels = []) {
  const made = document.createElement("tr");
  made.append(
    ...cells.map((content, n) => {
      const cell = node(n === 0 ? "th" : "td");
      if (n === 0) cell.scope = "row";
      if (labels[n]) cell.dataset.label = labels[n];
      cell.append(...[content].flat());
      return cell;
    }),
  );
  return made;
}

export function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

// Shows failures of the service, and asks for the API key where it requires one.
export class Failures {
  constructor(storeKey) {
    this.waiting = null;
    element("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      storeKey(element("key").value.trim());
      element("key-form").hidden = true;
      this.clear();
      const repeat = this.waiting;
      this.waiting = null;
      repeat?.();
    });
  }

  clear() {
    element("error").hidden = true;
  }

  // repeat: is called when the user has entered a key
  show(title, error, repeat) {
    let text = sentence(error.message);
    if (error.needsKey) {
      this.waiting = repeat;
      element("key-form").hidden = false;
      element("key").focus();
      text += " Enter the API key above.";
    }
    const heading = node("strong", error.needsKey ? "The service requires an API key." : title);
    element("error").replaceChildren(heading, ` ${text}`);
    element("error").hidden = false;
  }
}
