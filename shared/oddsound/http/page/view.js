// Shows a prediction in plain words. Texts of the service are set as text, never as HTML.

import { drawScores } from "./chart.js";

const element = (id) => document.getElementById(id);

export function percent(share) {
  const value = 100 * share;
  if (share < 1 && value > 99.9) return "more than 99.9 %";
  if (share > 0 && value < 0.1) return "less than 0.1 %";
  return `${value.toFixed(1)} %`;
}

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds - 60 * minutes).toFixed(1).padStart(4, "0");
  return `${minutes}:${rest}`;
}

function node(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text }, properties);
}

export function hideResult() {
  element("result").hidden = true;
  element("reasons").hidden = true;
  element("scores").hidden = true;
}

export function showResult(prediction, player) {
  element("result").hidden = false;
  element("reasons").hidden = false;
  showVerdict(prediction);
  showWarnings(prediction.signal?.warnings ?? []);
  const moments = momentsOf(prediction);
  showMoments(moments, player);
  showScores(prediction, moments, player);
  element("detector-hint").hidden = !isDetector(prediction);
  showProbabilities(prediction);
  showExplanation(prediction.explanation);
  element("json").textContent = JSON.stringify(prediction, null, 2);
}

function isDetector({ all_probabilities: probabilities }) {
  return Object.keys(probabilities).sort().join() === "anomaly,normal";
}

function showVerdict(prediction) {
  const verdict = element("verdict");
  const { is_anomaly: isAnomaly, prediction: found } = prediction;
  const names = { normal: "Normal", anomaly: "Anomaly" };
  verdict.textContent = isDetector(prediction) ? names[found] : `Sounds like: ${found}`;
  verdict.dataset.verdict = { true: "anomaly", false: "normal" }[isAnomaly] ?? "class";
  element("summary").textContent = summary(prediction);
}

function summary(prediction) {
  const { is_anomaly: isAnomaly, anomaly_score: score, threshold, anomaly_level: level } = prediction;
  const sentences = [];
  if (isDetector(prediction)) {
    sentences.push(
      isAnomaly
        ? "This sounds different from the normal recordings of the model."
        : "This sounds like the normal recordings of the model.",
    );
  } else {
    sentences.push(`The model gives this a probability of ${percent(prediction.probability)}.`);
    if (isAnomaly !== null) sentences.push(isAnomaly ? "It is an anomaly." : "It is normal.");
  }
  if (score !== null) {
    const compared = threshold === null ? "" : `, the threshold is ${threshold.toFixed(2)}`;
    sentences.push(`Anomaly score: ${score.toFixed(3)}${compared}.`);
  }
  if (level != null) sentences.push(`Level: ${level.toFixed(2)} times the threshold.`);
  const seconds = prediction.duration_s.toFixed(1);
  sentences.push(`${seconds} s at ${prediction.sample_rate.toLocaleString("en")} Hz, scored by`);
  return `${sentences.join(" ")} ${prediction.model_name} (version ${prediction.model_version}).`;
}

function showWarnings(warnings) {
  element("warnings").hidden = warnings.length === 0;
  element("warnings")
    .querySelector("ul")
    .replaceChildren(...warnings.map((warning) => node("li", warning)));
}

// The events of the service; where it reports none, its windows from the threshold on.
export function momentsOf({ events, windows, threshold, prediction }) {
  if (events) return events;
  const moments = [];
  for (const window of windows ?? []) {
    const score = window.anomaly_score;
    if (threshold === null || score === null || score < threshold) continue;
    const last = moments.at(-1);
    if (last && window.start_s <= last.end_s) {
      last.end_s = window.end_s;
      last.score = Math.max(last.score, score);
    } else {
      moments.push({
        start_s: window.start_s,
        end_s: window.end_s,
        kind: prediction === "normal" ? "above the threshold" : window.prediction,
        score,
        says: "",
      });
    }
  }
  return moments;
}

function showMoments(moments, player) {
  element("events").hidden = moments.length === 0;
  element("events-hint").textContent =
    "Select a line, or its number in the waveform, to play that part.";
  const list = element("events").querySelector("ol");
  const select = (moment) => {
    [...list.querySelectorAll("button")].forEach((button, n) =>
      button.classList.toggle("current", moments[n] === moment),
    );
    player.play(moment);
  };
  list.replaceChildren(
    ...moments.map((moment) => {
      const button = node("button", "", { type: "button", className: "moment" });
      const times = `${clock(moment.start_s)} to ${clock(moment.end_s)}`;
      const score = moment.score == null ? "" : `, score ${moment.score.toFixed(3)}`;
      button.append(node("strong", times), ` ${moment.kind}${score}`);
      if (moment.says) button.append(node("span", moment.says));
      button.addEventListener("click", () => select(moment));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }),
  );
  player.mark(moments, select);
}

function showScores(prediction, moments, player) {
  const scored = (prediction.windows ?? []).filter(({ anomaly_score: score }) => score !== null);
  const box = element("scores");
  box.hidden = scored.length === 0;
  player.onRange = () => {};
  if (box.hidden) return;
  const chart = drawScores(box, scored, prediction, (window) => player.play(window));
  player.onRange = (start, end) => chart.range(start, end);
}

function showProbabilities({ all_probabilities: probabilities, prediction }) {
  const rows = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  element("probabilities")
    .querySelector("tbody")
    .replaceChildren(
      ...rows.map(([name, share]) => {
        const row = document.createElement("tr");
        row.className = name === prediction ? "current" : "";
        const cell = node("td", percent(share));
        const bar = node("span", "", { className: "bar" });
        bar.style.width = `${100 * share}%`;
        cell.append(bar);
        row.append(node("th", name, { scope: "row" }), cell);
        return row;
      }),
    );
}

function showExplanation(explanation) {
  element("explanation").hidden = !explanation;
  if (!explanation) return;
  element("explanation").querySelector("p").textContent = explanation.summary;
  const parts = [...explanation.features, ...explanation.bands].map(({ says }) => says);
  element("explanation")
    .querySelector("ul")
    .replaceChildren(...[...new Set(parts)].map((says) => node("li", says)));
}
