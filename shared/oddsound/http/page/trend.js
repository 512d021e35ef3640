// Score and states of a machine over time, as SVG, and the same as a table.

import { STATES, day, element, node, row, time } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 230;
const TOP = 16;
const BOTTOM = 48; // dates and states
const LEFT = 30;
const STRIP = 12;
const TICK_PX = 90;
const LABELS = ["Time", "Recordings", "Mean score", "Highest score", "Anomalies", "Reviews"];

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.textContent = text;
  return made;
}

// The states between `start` and `end` in milliseconds, from events (the newest first).
export function spans(events, start, end, now) {
  const found = [];
  let until = end;
  for (const event of events) {
    const from = Math.max(new Date(event.at).getTime(), start);
    if (from < until) {
      found.unshift({ state: event.state, start: from, end: until });
      until = from;
    }
    if (from <= start) break;
  }
  const before = events.length ? events.at(-1).before : now;
  if (until > start) found.unshift({ state: before, start, end: until });
  return found;
}

// Draws a trend and the states of a machine into its section, again whenever the width changes.
export class TrendChart {
  constructor() {
    this.box = element("chart");
    this.drawn = null;
    new ResizeObserver(() => this.drawn && this.draw()).observe(this.box);
  }

  // events: the newest first
  show(trend, events, state) {
    this.drawn = { trend, events, state };
    this.draw();
    element("slices").replaceChildren(...trend.slices.map(line));
    element("chart-table").hidden = trend.slices.length === 0;
  }

  draw() {
    const { trend, events, state } = this.drawn;
    if (trend.slices.length === 0) {
      this.box.replaceChildren(node("p", "There are no recordings in this time.", { className: "hint" }));
      return;
    }
    const width = Math.max(this.box.clientWidth, 200);
    const svg = shape("svg", {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      height: HEIGHT,
      role: "img",
      "aria-label": described(trend),
    });
    const [start, end] = [trend.start, trend.end].map((at) => new Date(at).getTime());
    const x = (at) => LEFT + ((at - start) / (end - start)) * (width - LEFT);
    const y = (score) => TOP + (1 - score) * (HEIGHT - TOP - BOTTOM);
    const states = spans(events, start, end, state);
    svg.append(
      ...states.filter((span) => span.state === "active").map((span) => alarm(span, x)),
      ...axes(start, end, width, x, y),
      ...scores(trend, x, y),
      ...threshold(trend, x, y),
      ...states.map((span) => strip(span, x)),
    );
    this.box.replaceChildren(svg);
  }
}

function described({ slices, count, start, end }) {
  const anomalies = slices.reduce((sum, slice) => sum + slice.anomalies, 0);
  const highest = Math.max(...slices.map((slice) => slice.highest ?? 0));
  return `Score from ${day(start)} to ${day(end)}: ${count.toLocaleString("en")} recordings, ${anomalies} anomalous; the highest score is ${highest.toFixed(3)}`;
}

function alarm({ start, end }, x) {
  const made = shape("rect", {
    x: x(start),
    width: Math.max(1, x(end) - x(start)),
    y: TOP,
    height: HEIGHT - TOP - BOTTOM,
    class: "alarm",
  });
  return made;
}

function axes(start, end, width, x, y) {
  const lines = [0, 0.5, 1].flatMap((score) => [
    shape("line", { x1: LEFT, x2: width, y1: y(score), y2: y(score), class: "axis" }),
    shape("text", { x: LEFT - 6, y: y(score) + 4, "text-anchor": "end" }, score.toFixed(1)),
  ]);
  const ticks = Math.max(2, Math.floor((width - LEFT) / TICK_PX));
  for (let n = 0; n < ticks; n += 1) {
    const at = start + ((end - start) * n) / ticks;
    lines.push(shape("text", { x: x(at), y: HEIGHT - BOTTOM + 18 }, day(at)));
  }
  return lines;
}

// Each slice: lowest to highest score, the anomalies above the threshold, and marks of reviews.
function scores({ slices, slice_s: length }, x, y) {
  const found = [];
  const means = [];
  for (const slice of slices) {
    if (slice.highest === null) continue;
    const from = x(new Date(slice.start).getTime());
    const to = x(new Date(slice.start).getTime() + 1000 * length);
    const box = { x: from, width: Math.max(1.5, to - from - 0.5) };
    const bar = shape("rect", { ...box, ...between(slice.lowest, slice.highest, y), class: "range" });
    bar.append(shape("title", {}, `${day(slice.start)}: ${summary(slice)}`));
    found.push(bar);
    if (slice.anomalies) {
      const low = Math.max(slice.threshold ?? 0, slice.lowest);
      const opacity = 0.3 + (0.7 * slice.anomalies) / slice.count;
      const red = { ...box, ...between(low, slice.highest, y), class: "anomalies", opacity };
      found.push(shape("rect", red));
    }
    means.push(`${(from + to) / 2},${y(slice.mean)}`);
    if (reviews(slice)) found.push(mark((from + to) / 2, slice));
  }
  return [...found, shape("polyline", { points: means.join(" "), class: "mean" })];
}

function between(low, high, y) {
  return { y: y(high) - 1, height: Math.max(0, y(low) - y(high)) + 2 };
}

function mark(middle, slice) {
  const points = `${middle - 5},2 ${middle + 5},2 ${middle},10`;
  const made = shape("polygon", { points, class: slice.reviewed_fault ? "mark fault" : "mark" });
  made.append(shape("title", {}, `reviewed: ${reviews(slice)}`));
  return made;
}

function threshold({ slices, end }, x, y) {
  const known = slices.filter((slice) => slice.threshold !== null);
  if (!known.length) return [];
  const last = known.at(-1).threshold;
  const steps = known.map((slice) => `${x(new Date(slice.start).getTime())},${y(slice.threshold)}`);
  const points = [...steps, `${x(new Date(end).getTime())},${y(last)}`].join(" ");
  const label = shape("text", { x: LEFT + 4, y: y(last) + 14 }, `threshold ${last}`);
  return [shape("polyline", { points, class: "threshold" }), label];
}

function strip({ state, start, end }, x) {
  const made = shape("rect", {
    x: x(start),
    width: Math.max(1, x(end) - x(start)),
    y: HEIGHT - STRIP - 2,
    height: STRIP,
    class: `strip ${state}`,
  });
  made.append(shape("title", {}, `${state}: ${STATES[state] ?? ""}, from ${day(start)} to ${day(end)}`));
  return made;
}

function reviews(slice) {
  const counts = [
    [slice.reviewed_normal, "normal"],
    [slice.reviewed_fault, "fault"],
    [slice.unusable, "unusable"],
  ];
  return counts.flatMap(([count, label]) => (count ? [`${count} ${label}`] : [])).join(", ");
}

function summary(slice) {
  return `${slice.count} recordings, score ${slice.lowest.toFixed(2)} to ${slice.highest.toFixed(2)}, ${slice.anomalies} anomalous`;
}

const fixed = (value) => (value === null ? "" : value.toFixed(3));

function line(slice) {
  return row(
    [
      time(slice.start),
      String(slice.count),
      fixed(slice.mean),
      fixed(slice.highest),
      String(slice.anomalies),
      reviews(slice),
    ],
    LABELS,
  );
}
