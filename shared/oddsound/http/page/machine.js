// A machine: state, score over time, changes of state, recordings; what a person says about them.

import * as api from "./api.js";
import { recording } from "./reviewing.js";
import { TrendChart } from "./trend.js";
import {
  Failures,
  STATES,
  ago,
  badge,
  day,
  driftName,
  element,
  openDrift,
  row,
  sentence,
  time,
} from "./words.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const SLICES = 200;
const EVENTS = 200;
const ROWS = 50;
const AROUND = 10;
const EVENT_LABELS = ["Time", "State", "Why", "By"];
const PERSON = "person";

const asked = new URLSearchParams(location.search);
const id = asked.get("id") ?? "";
const named = asked.get("row"); // the recording of a notice
const failures = new Failures(api.storeKey);
const chart = new TrendChart();
let machine = null;
let events = [];
let nextEvent = null;
let nextRow = null;

const announce = (text) => {
  element("status").textContent = text;
};

// Runs what asks the service; shows why it failed, and repeats it when a key was entered.
async function attempt(title, action) {
  try {
    await action();
    failures.clear();
  } catch (error) {
    failures.show(title, error, () => attempt(title, action));
  }
}

async function load() {
  [machine] = await Promise.all([api.machine(id), loadEvents()]);
  showMachine();
  await Promise.all([loadTrend(), loadRows()]);
  await showNamed();
}

function showMachine() {
  const { name, site, state, since, why } = machine;
  const drift = openDrift(machine);
  element("machine-title").textContent = name || id;
  document.title = `${name || id}: ${state}`;
  element("place").textContent = [name && id, site].filter(Boolean).join(", ");
  element("state").replaceChildren(badge(state), " since ", time(since), " (", ago(since), ")");
  element("why").textContent = state === "normal" ? "" : sentence(why || STATES[state]);
  element("drift").hidden = !drift;
  element("drift-title").textContent = drift ? `${sentence(driftName(drift)).slice(0, -1)} since ${day(drift.since)}` : "";
  element("drift-says").textContent = drift?.says ?? "";
  element("explained").hidden = !machine.drift_explained;
  element("facts").textContent = facts();
  element("details").hidden = false;
  const open = state === "active" || state === "acknowledged" || machine.current_alarm?.cleared_at === null;
  const unseen = Boolean(machine.current_alarm && !machine.current_alarm.acknowledged);
  element("acknowledge").hidden = !unseen;
  element("clear").hidden = !open || !machine.current_alarm;
  element("end-snooze").hidden = state !== "snoozed";
}

function facts() {
  const { model_name: model, alarm, expected_every_s: every, last_recorded_at: last } = machine;
  const parts = [
    model ? `Model ${model}.` : "No model yet.",
    `Alarm after ${alarm.n} anomalies in ${alarm.of} recordings.`,
    every ? `A recording is expected every ${interval(every)}.` : "",
    last ? `Last recording: ${time(last).textContent}.` : "No recording yet.",
  ];
  return parts.filter(Boolean).join(" ");
}

function interval(seconds) {
  if (seconds >= 86400) return `${+(seconds / 86400).toFixed(1)} days`;
  if (seconds >= 3600) return `${+(seconds / 3600).toFixed(1)} h`;
  return seconds >= 60 ? `${+(seconds / 60).toFixed(1)} min` : `${seconds} s`;
}

async function loadTrend() {
  const days = Number(element("range").value);
  const newest = machine.last_recorded_at ? new Date(machine.last_recorded_at).getTime() : Date.now();
  const after = days ? new Date(newest - days * DAY_MS).toISOString() : "";
  const trend = await api.ofMachine(id, "trend", { slices: SLICES, after });
  chart.show(trend, events, machine.state);
  element("chart-hint").textContent = trend.complete ? "" : "Only the newest recordings are summarised.";
}

async function loadEvents(before = null) {
  const page = await api.ofMachine(id, "events", { limit: EVENTS, ...(before !== null && { before }) });
  events = before === null ? page.events : [...events, ...page.events];
  nextEvent = page.next;
  element("older-events").hidden = nextEvent === null;
  element("events").hidden = events.length === 0;
  element("no-events").hidden = events.length > 0;
  element("events").querySelector("tbody").replaceChildren(...events.map(eventLine));
}

function eventLine(event) {
  const drifts = event.cause === "drift" || event.cause === "drift over";
  const by = [event.person, event.note].filter(Boolean).join(": ");
  return row([time(event.at), badge(drifts ? "drifting" : event.state), event.why, by], EVENT_LABELS);
}

async function loadRows(before = "") {
  const page = await api.ofMachine(id, "history", { limit: ROWS, before });
  nextRow = page.next;
  const list = element("recordings");
  // The one of a notice may already be shown, above the others.
  const shown = before ? list.querySelector(".named")?.dataset.row : null;
  const made = page.rows.filter((found) => found.id !== shown).map(item);
  if (before) list.append(...made);
  else list.replaceChildren(...made);
  element("older-rows").hidden = nextRow === null;
  element("no-rows").hidden = list.childElementCount > 0;
  if (before) made[0]?.querySelector("summary")?.focus();
}

function item(found) {
  const made = recording(found, review, listen);
  made.dataset.row = found.id;
  return made;
}

// Opens the recording that the URL names. An older one is put above the others.
async function showNamed() {
  if (!named) return;
  const list = element("recordings");
  let found = [...list.children].find((each) => each.dataset.row === named);
  if (!found && (found = await olderNamed())) list.prepend(found);
  if (!found) return;
  found.classList.add("named");
  found.querySelector("details").open = true;
  found.scrollIntoView({ block: "center" });
  found.querySelector("button").focus({ preventScroll: true });
}

async function olderNamed() {
  const at = events.find((event) => event.row === named)?.at;
  if (!at) return null;
  const before = new Date(new Date(at).getTime() + 1000).toISOString();
  const page = await api.ofMachine(id, "history", { limit: AROUND, before });
  const found = page.rows.find((each) => each.id === named);
  return found ? item(found) : null;
}

async function listen(found) {
  let link = null;
  await attempt("The recording cannot be played.", async () => {
    link = await api.recording(found.key);
  });
  return link;
}

function person() {
  const input = element("person");
  if (!input.reportValidity()) return null;
  sessionStorage.setItem(PERSON, input.value.trim());
  return input.value.trim();
}

// What a person says about a recording. Returns the new row, or null if it was not stored.
async function review(found, label, note) {
  const who = person();
  if (who === null) return null;
  let stored = null;
  await attempt("The review was not stored.", async () => {
    stored = await api.review(found.key, { label, note, person: who });
    announce(`Reviewed as ${label}.`);
    [machine] = await Promise.all([api.machine(id), loadEvents()]);
    showMachine();
    await loadTrend();
  });
  return stored;
}

async function act(action, more = {}) {
  const who = person();
  if (who === null) return;
  const said = { person: who, note: element("note").value.trim(), ...more };
  await attempt("The state was not changed.", async () => {
    machine = await api.act(id, action, said);
    element("note").value = "";
    await loadEvents();
    showMachine();
    announce(`The machine is ${machine.state}.`);
    await loadTrend();
  });
}

function snooze(hours) {
  return act("snooze", { until: new Date(Date.now() + hours * HOUR_MS).toISOString() });
}

element("person").value = sessionStorage.getItem(PERSON) ?? "";
element("said").addEventListener("submit", (event) => event.preventDefault());
element("acknowledge").addEventListener("click", () => act("acknowledge"));
element("clear").addEventListener("click", () => act("clear"));
element("snooze").addEventListener("click", () => snooze(Number(element("hours").value)));
element("end-snooze").addEventListener("click", () => snooze(-1));
element("range").addEventListener("change", () => attempt("The scores cannot be read.", loadTrend));
element("older-events").addEventListener("click", () =>
  attempt("The changes cannot be read.", () => loadEvents(nextEvent)),
);
element("older-rows").addEventListener("click", () =>
  attempt("The recordings cannot be read.", () => loadRows(nextRow)),
);
attempt("The machine cannot be shown.", load);
