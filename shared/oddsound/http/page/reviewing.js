// A recording in the list of a machine, and what a person says about it.

import { listening } from "./listening.js";
import { node, time } from "./words.js";

const LABELS = [
  ["normal", "Normal"],
  ["fault", "Fault"],
  ["unusable", "Unusable"],
];

// onReview(row, label, note) stores a review and returns the new row, or null if that failed
// onListen(row) returns a link to the recording, or null if that failed
export function recording(row, onReview, onListen) {
  const item = document.createElement("li");
  fill(item, row, onReview, listening(row, onListen));
  return item;
}

// player: kept when the item is filled again, so that it does not stop
function fill(item, row, onReview, player) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const verdict = node("span", row.prediction, {
    className: row.is_anomaly ? "verdict anomaly" : "verdict",
  });
  summary.append(time(row.recorded_at), " ", verdict);
  if (row.score !== null) summary.append(` score ${row.score.toFixed(3)}`);
  const reviewed = node("span", reviewText(row.review), { className: "reviewed" });
  if (row.review) summary.append(" ", reviewed);
  details.append(summary, ...contents(row), ...(player ? [player] : []), form(item, row, onReview, player));
  item.replaceChildren(details);
}

function reviewText(review) {
  if (!review) return "";
  const by = review.person ? ` by ${review.person}` : "";
  return `reviewed as ${review.label}${by}${review.note ? `: ${review.note}` : ""}`;
}

function contents(row) {
  const says = [...row.events.map((event) => `At ${event.start_s.toFixed(1)} s: ${event.says}.`), ...row.warnings];
  const list = document.createElement("ul");
  list.append(...says.map((text) => node("li", text)));
  const seconds = row.duration_s.toFixed(1);
  const about = `${row.key}, ${seconds} s, scored by ${row.model_name} (version ${row.model_version}).`;
  return [...(says.length ? [list] : []), node("p", about, { className: "hint key" })];
}

function form(item, row, onReview, player) {
  const made = node("div", "", { className: "review" });
  const note = node("input", "", { type: "text", maxLength: 2000, value: row.review?.note ?? "" });
  const label = node("label", "Note ");
  label.append(note);
  const buttons = LABELS.map(([name, text]) => {
    const button = node("button", text, { type: "button" });
    button.setAttribute("aria-pressed", String(row.review?.label === name));
    button.addEventListener("click", async () => {
      const stored = await onReview(row, name, note.value.trim());
      if (!stored) return;
      fill(item, { ...row, review: stored.review }, onReview, player);
      item.querySelector("details").open = true;
      item.querySelector("summary").focus();
    });
    return button;
  });
  const group = node("div", "", { className: "row" });
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "What this recording is");
  group.append(...buttons);
  made.append(label, group);
  return made;
}
