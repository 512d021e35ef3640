// The anomaly score over time, as SVG: one step per window, and the threshold.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 110;
const TOP = 8;
const BOTTOM = 6;

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.textContent = text;
  return made;
}

// Draws into `box`. Returns {range(start_s, end_s)}, which shows a part of the recording.
export function drawScores(box, windows, { threshold, duration_s: duration }, onClick) {
  const heading = document.createElement("h3");
  heading.textContent = "Anomaly score over time";
  const svg = shape("svg", { role: "img", "aria-label": described(windows, threshold) });
  box.replaceChildren(heading, svg, table(windows));
  let shown = [0, duration];
  const observer = new ResizeObserver(() => draw());
  const draw = () => {
    if (svg.isConnected) fill(svg, windows, threshold, shown, onClick);
    else observer.disconnect(); // the chart of another recording has taken its place
  };
  observer.observe(box);
  return {
    range(start, end) {
      if (end > start) shown = [start, Math.min(end, duration)];
      draw();
    },
  };
}

function described(windows, threshold) {
  const highest = Math.max(...windows.map(({ anomaly_score: score }) => score));
  const above = windows.filter(({ anomaly_score: score }) => score >= threshold).length;
  const compared = threshold === null ? "" : `, ${above} from the threshold of ${threshold} on`;
  return `Anomaly score of ${windows.length} windows${compared}; the highest is ${highest.toFixed(3)}`;
}

function fill(svg, windows, threshold, [start, end], onClick) {
  const width = Math.max(svg.parentElement.clientWidth, 100);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const x = (seconds) => ((seconds - start) / (end - start)) * width;
  const y = (score) => TOP + (1 - score) * (HEIGHT - TOP - BOTTOM);
  const steps = windows
    .filter(({ start_s: from, end_s: to }) => to > start && from < end)
    .map((window) => {
      const { start_s: from, end_s: to, anomaly_score: score } = window;
      const above = threshold !== null && score >= threshold;
      const step = shape("rect", {
        x: x(from),
        width: Math.max(1, x(to) - x(from) - 1),
        y: y(score),
        height: HEIGHT - BOTTOM - y(score),
        class: above ? "step above" : "step",
      });
      step.append(shape("title", {}, `${from.toFixed(1)} to ${to.toFixed(1)} s: ${score.toFixed(3)}`));
      step.addEventListener("click", () => onClick(window));
      return step;
    });
  const lines = [shape("line", { x1: 0, x2: width, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM, class: "axis" })];
  if (threshold !== null) {
    lines.push(
      shape("line", { x1: 0, x2: width, y1: y(threshold), y2: y(threshold), class: "threshold" }),
      shape("text", { x: 4, y: y(threshold) + 14 }, `threshold ${threshold}`),
    );
  }
  svg.replaceChildren(...steps, ...lines);
}

// The same as a table, for screen readers and for exact values.
function table(windows) {
  const details = document.createElement("details");
  const rows = windows.map(({ start_s: from, end_s: to, prediction, anomaly_score: score }) => [
    `${from.toFixed(1)} to ${to.toFixed(1)} s`,
    prediction,
    score.toFixed(3),
  ]);
  const made = document.createElement("table");
  made.append(
    line("th", ["Time", "Prediction", "Score"], { scope: "col" }),
    ...rows.map((cells) => line("td", cells)),
  );
  const summary = document.createElement("summary");
  summary.textContent = "Scores as a table";
  details.append(summary, made);
  return details;
}

function line(tag, cells, properties = {}) {
  const row = document.createElement("tr");
  row.append(
    ...cells.map((text) =>
      Object.assign(document.createElement(tag), { textContent: text }, properties),
    ),
  );
  return row;
}
