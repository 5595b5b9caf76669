// Line charts of the trend of a run. Drawn in screen pixels once the size is known, so that lines and letters have the
// same size on a phone and on a wide screen. Starts of the run are marked by dashed lines.
import { byId, element, small, time, whole } from "./common.js";

function drawing(name, attributes, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

// The scale's end: 1, 2, 4 or 10 of the power of ten that holds all values.
function scale(most) {
  const power = 10 ** Math.floor(Math.log10(most > 0 ? most : 1));
  return [1, 2, 4, 10].find((n) => n * power >= most * 0.999999) * power;
}

// What each second is: the rate of a count between one point and the next of the same start.
function rate(all, count) {
  const points = all.filter((point) => point.done.length > 0);
  return points.flatMap((point, at) => {
    const before = points[at - 1];
    if (!before || before.start !== point.start || point.seconds <= before.seconds) return [];
    return [[point.seconds, Math.max(0, (60 * (count(point) - count(before))) / (point.seconds - before.seconds))]];
  });
}

function chartsOf(trend) {
  const points = trend.points.map(([seconds, start, ended, cost, requests, tokens, done]) => ({ seconds, start, ended, cost, requests, tokens, done }));
  const of = (key) => points.map((point) => [point.seconds, point[key]]);
  const charts = [
    { title: "Questions ended", series: [{ name: "ended", line: of("ended") }], unit: "" },
    { title: "Rate per step", series: trend.steps.map((step, at) => ({ name: step, line: rate(points, (point) => point.done[at] || 0) })), unit: " a minute" },
    { title: "Requests", series: [{ name: "requests", line: of("requests").slice(1) }], unit: " a minute" },
  ];
  if (points.some((point) => point.cost > 0)) charts.splice(1, 0, { title: "Cost", series: [{ name: "cost", line: of("cost") }], unit: " US dollars" });
  if (points.some((point) => point.tokens > 0)) charts.push({ title: "Tokens of the embedded engine", series: [{ name: "tokens", line: of("tokens").slice(1) }], unit: " a second" });
  return charts.filter(({ series }) => series.some(({ line }) => line.length > 1));
}

function figure({ title, series, unit }, seconds) {
  const last = series.map(({ name, line }) => `${series.length > 1 ? `${name} ` : ""}${line.length ? small.format(line[line.length - 1][1]) : "–"}`);
  const caption = element("figcaption", {}, element("h2", {}, title));
  if (series.length === 1) caption.append(element("div", { class: "now" }, last[0] + unit));
  const svg = drawing("svg", { role: "img", "aria-label": `${title} over ${time(seconds)}; last: ${last.join(", ")}${unit}` });
  const made = element("figure", {}, caption, svg);
  if (series.length > 1) {
    const legend = element("ul", { class: "legend" });
    series.forEach(({ name }, at) => {
      const key = drawing("svg", { class: "key", viewBox: "0 0 12 12", "aria-hidden": "true" });
      key.append(drawing("rect", { class: `f${at % 6}`, width: 12, height: 12, rx: 3 }));
      legend.append(element("li", {}, key, name));
    });
    made.append(legend);
  }
  made.append(element("p", { class: "quiet" }, `${series.length > 1 ? `questions${unit}, ` : ""}${time(seconds)} of running`));
  return made;
}

function plot(svg, { series }, trend) {
  const values = series.flatMap(({ line }) => line.map(([, value]) => value));
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const top = scale(Math.max(...values, 0));
  const end = Math.max(...series.flatMap(({ line }) => line.map(([x]) => x)), 1);
  const y = (value) => (height - 5 - (value / top) * (height - 16)).toFixed(1);
  const left = 12 + 7 * Math.max(small.format(top).length, small.format(top / 2).length);
  const x = (seconds) => (left + (seconds / end) * (width - left - 2)).toFixed(1);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const value of [0, top / 2, top]) {
    svg.append(drawing("line", { class: "rule", x1: left, x2: width, y1: y(value), y2: y(value) }));
    svg.append(drawing("text", { class: "quiet", x: left - 8, y: Number(y(value)) + 4, "text-anchor": "end" }, small.format(value)));
  }
  for (const [seconds, at] of trend.starts.slice(1)) {
    const mark = drawing("line", { class: "restart", x1: x(seconds), x2: x(seconds), y1: 4, y2: height - 5 });
    mark.append(drawing("title", {}, `started again ${at.slice(0, 16).replace("T", " ")} UTC`));
    svg.append(mark);
  }
  series.forEach(({ line }, at) => {
    if (line.length < 2) return;
    const dots = line.map(([seconds, value]) => `${x(seconds)},${y(value)}`).join(" ");
    if (series.length === 1) svg.append(drawing("polygon", { class: "area", points: `${x(line[0][0])},${y(0)} ${dots} ${x(line[line.length - 1][0])},${y(0)}` }));
    svg.append(drawing("polyline", { class: `trend s${at % 6}`, points: dots }));
  });
}

function bars(scores) {
  const most = Math.max(...scores.counts);
  const total = scores.counts.reduce((sum, n) => sum + n, 0);
  const svg = drawing("svg", { role: "img", "aria-label": `Scores of ${whole.format(total)} golden traces, from ${scores.low} to ${scores.high}; at most ${whole.format(most)} in one of ${scores.counts.length} bins` });
  const note = `${whole.format(total)} traces, from ${small.format(scores.low)} to ${small.format(scores.high)}`;
  return element("figure", { id: "scores" }, element("figcaption", {}, element("h2", {}, "Scores")), svg, element("p", { class: "quiet" }, note));
}

function plotBars(svg, { counts }) {
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const [most, wide] = [Math.max(...counts), width / counts.length];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  counts.forEach((count, at) => {
    const tall = (count / most) * (height - 8);
    svg.append(drawing("rect", { class: "f0", x: (at * wide + 1).toFixed(1), y: (height - 2 - tall).toFixed(1), width: Math.max(1, wide - 2).toFixed(1), height: tall.toFixed(1) }));
  });
  svg.append(drawing("line", { class: "rule", x1: 0, x2: width, y1: height - 1, y2: height - 1 }));
}

let drawn = { trend: null, scores: null };

function draw() {
  const { trend, scores } = drawn;
  const found = trend ? chartsOf(trend) : [];
  const box = byId("charts");
  const last = trend && trend.points.length ? trend.points[trend.points.length - 1][0] : 0;
  box.replaceChildren(...found.map((chart) => figure(chart, last)), ...(scores && scores.counts.length ? [bars(scores)] : []));
  box.hidden = !box.hasChildNodes(); // what is hidden has no size
  box.querySelectorAll("figure > svg").forEach((svg, at) => (at < found.length ? plot(svg, found[at], trend) : plotBars(svg, scores)));
}

// Draw again with what is new; only what is given changes.
export function charts(fresh) {
  drawn = { ...drawn, ...fresh };
  draw();
}

window.addEventListener("resize", draw);
