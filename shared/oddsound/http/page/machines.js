// The fleet: every machine with its state, those that need attention first.

import * as api from "./api.js";
import {
  Failures,
  STATES,
  ago,
  attention,
  badge,
  byAttention,
  driftName,
  element,
  node,
  openDrift,
  row,
  sentence,
} from "./words.js";

const REFRESH_MS = 60_000;
const LABELS = ["Machine", "State", "Why", "Last recording"];
const QUIET = ["normal", "snoozed", "unknown"];

const failures = new Failures(api.storeKey);
let machines = [];

async function load() {
  try {
    machines = (await api.machines()).sort(byAttention);
    failures.clear();
    show();
  } catch (error) {
    failures.show("The machines cannot be listed.", error, load);
  }
}

function show() {
  const focused = document.activeElement?.dataset?.machine;
  const words = element("find").value.trim().toLowerCase();
  const found = machines.filter(
    (machine) =>
      (!element("attention").checked || !QUIET.includes(attention(machine))) &&
      `${machine.id} ${machine.name} ${machine.site}`.toLowerCase().includes(words),
  );
  const body = element("machines").querySelector("tbody");
  body.replaceChildren(...found.map(line));
  element("machines").hidden = found.length === 0;
  element("none").hidden = found.length > 0;
  element("none").textContent = machines.length
    ? "No machine fits."
    : "There are no machines yet. A recording that names a machine adds it, and so does `oddsound machines add`.";
  if (focused) body.querySelector(`[data-machine="${CSS.escape(focused)}"]`)?.focus();
  summarise();
}

function line(machine) {
  const link = node("a", machine.name || machine.id);
  link.href = `machine?${new URLSearchParams({ id: machine.id })}`;
  link.dataset.machine = machine.id;
  const place = [machine.name && machine.id, machine.site].filter(Boolean).join(", ");
  const state = [badge(machine.state)];
  const drift = openDrift(machine);
  if (drift) state.push(" ", badge("drifting", driftName(drift)));
  state.push(node("span", "", { className: "hint" }));
  state.at(-1).append("since ", ago(machine.since));
  const last = machine.last_recorded_at ? ago(machine.last_recorded_at) : "none yet";
  const cells = [[link, node("span", place, { className: "hint" })], state, reasons(machine), last];
  const made = row(cells, LABELS);
  made.className = `machine ${attention(machine)}`;
  return made;
}

function reasons(machine) {
  const { state, why } = machine;
  const texts = [state === "normal" ? "" : sentence(why || STATES[state]), openDrift(machine)?.says ?? ""];
  return texts.filter(Boolean).map((text) => node("p", text));
}

function summarise() {
  const counts = Object.keys(STATES)
    .map((state) => [state, machines.filter((machine) => attention(machine) === state).length])
    .filter(([, count]) => count);
  const total = machines.length === 1 ? "1 machine" : `${machines.length} machines`;
  const parts = counts.map(([state, count]) => `${count} ${state}`).join(", ");
  const text = counts.length ? `${total}: ${parts}.` : "";
  if (element("summary").textContent !== text) element("summary").textContent = text;
}

element("find").addEventListener("input", show);
element("attention").addEventListener("change", show);
setInterval(() => {
  if (!document.hidden) load();
}, REFRESH_MS);
load();
