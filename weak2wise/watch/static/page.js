// Follows the run by server-sent events. Texts are set as text; only texts that the server has escaped are set as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const points = [];
const CHARTS = [
  { title: "Questions ended a minute", at: 1, always: true },
  { title: "Requests a minute", at: 2, always: true },
  { title: "Tokens a second, embedded engine", at: 3 },
];

function element(name, attributes = {}, text = null) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function drawing(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function time(seconds) {
  const s = Math.round(seconds);
  const parts = [Math.floor(s / 86400) + " d", Math.floor((s % 86400) / 3600) + " h", Math.floor((s % 3600) / 60) + " min", (s % 60) + " s"];
  const first = parts.findIndex((part) => !part.startsWith("0 "));
  return first < 0 ? "0 s" : parts.slice(first, first + 2).join(" ");
}

function dollars(amount) {
  return "$" + amount.toFixed(amount < 0.1 ? 4 : 2);
}

function row(cells) {
  const made = element("tr");
  cells.forEach((cell, at) => {
    const [text, bad] = Array.isArray(cell) ? cell : [cell, false];
    made.append(element("td", { class: (at ? "n" : "name") + (bad ? " bad" : "") }, text));
  });
  return made;
}

function tiles(board) {
  const facts = [
    ["questions", board.rows === null ? "…" : whole.format(board.rows)],
    ["emitted", whole.format(board.emitted)],
    ["dropped", whole.format(board.dropped)],
    ["failed", whole.format(board.failed)],
  ];
  if (board.ending === null) facts.push(["left", board.seconds_left === null ? "…" : time(board.seconds_left)]);
  else if (board.rows > board.ended) facts.push(["unfinished", whole.format(board.rows - board.ended)]);
  if (board.cost_usd) facts.push(["cost", dollars(board.cost_usd)]);
  byId("tiles").replaceChildren(
    ...facts.map(([name, value]) => {
      const tile = element("div", { class: "tile " + name });
      tile.append(element("dt", {}, name), element("dd", {}, value));
      return tile;
    }),
  );
}

function tables(board) {
  byId("bottleneck").textContent = board.bottleneck ? `The other stages wait for ${board.bottleneck}.` : "";
  byId("stages").replaceChildren(
    ...board.stages.map((s) => {
      const made = row([s.name, [whole.format(s.failed), s.failed > 0], ...[s.done, s.per_minute, s.busy, s.waiting, s.dropped].map((n) => whole.format(n))]);
      if (s.name === board.bottleneck) made.classList.add("slow");
      return made;
    }),
  );
  byId("endpoints").replaceChildren(
    ...board.endpoints.map((e) => {
      const limited = e.faults.rate_limited || 0;
      const errors = Object.values(e.faults).reduce((sum, n) => sum + n, 0) - limited;
      const limit = e.held_until ? `held until ${e.held_until.slice(11, 16)} UTC` : e.paced === null ? whole.format(e.limit) : `≤${whole.format(e.paced)}/min`; // requests in flight, or their rate
      return row([e.name, [whole.format(errors), errors > 0], ...[limited, e.per_minute, e.tokens_per_minute, e.in_flight].map((n) => whole.format(n)), limit, e.cost_usd ? dollars(e.cost_usd) : "–"]);
    }),
  );
  byId("faults").replaceChildren(
    ...board.endpoints.flatMap((e) => {
      const kinds = Object.entries(e.faults).filter(([kind]) => kind !== "rate_limited").sort((a, b) => b[1] - a[1]);
      return kinds.length ? [element("li", {}, `${e.name}: ${kinds.map(([kind, n]) => `${whole.format(n)} ${kind}`).join(", ")}`)] : [];
    }),
  );
  byId("engines").replaceChildren(
    ...board.engines.map((e) =>
      element("li", {}, `${e.name}: ${e.running} of ${e.room} attempts running, ${whole.format(e.waiting)} waiting; ${whole.format(e.tokens_per_second)} tokens/s; ${Math.round(100 * e.cached)} % of prompts from cache`),
    ),
  );
}

function chart({ title, at }) {
  const values = points.map((point) => point[at]);
  const most = whole.format(Math.max(...values, 0));
  const now = values.length ? whole.format(values[values.length - 1]) : "…";
  const figure = element("figure");
  const caption = element("figcaption");
  caption.append(element("h2", {}, title), element("div", { class: "now" }, now));
  const span = points.length ? points[points.length - 1][0] - points[0][0] : 0;
  const svg = drawing("svg", { role: "img", "aria-label": `${title}: now ${now}, at most ${most}` });
  figure.append(caption, svg, element("p", { class: "quiet" }, points.length ? `the last ${time(span)}; at most ${most}` : "the first point comes soon"));
  return figure;
}

// The scale's end: 1, 2, 4 or 10 of the power of ten that holds all values.
function scale(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
  return [1, 2, 4, 10].find((n) => n * power >= most) * power;
}

// Drawn in screen pixels once the size is known, so lines and letters have the same size on a phone and a wide screen.
function plot(svg, at) {
  const values = points.map((point) => point[at]);
  const [width, height] = [svg.clientWidth, svg.clientHeight];
  const top = scale(Math.max(...values, 0));
  const y = (value) => (height - 5 - (value / top) * (height - 16)).toFixed(1);
  const left = 12 + 7 * whole.format(top).length;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const value of [0, top / 2, top]) {
    const label = drawing("text", { class: "quiet", x: left - 8, y: Number(y(value)) + 4, "text-anchor": "end" });
    label.textContent = small.format(value);
    svg.append(drawing("line", { class: "rule", x1: left, x2: width, y1: y(value), y2: y(value) }), label);
  }
  if (values.length < 2) return;
  const x = (i) => (left + (i / (values.length - 1)) * (width - left)).toFixed(1);
  const line = values.map((value, i) => `${x(i)},${y(value)}`).join(" ");
  svg.append(drawing("polygon", { class: "area", points: `${x(0)},${y(0)} ${line} ${width},${y(0)}` }), drawing("polyline", { class: "trend", points: line }));
}

function charts() {
  const drawn = CHARTS.filter(({ always, at }) => always || points.some((point) => point[at] > 0));
  byId("charts").replaceChildren(...drawn.map(chart));
  byId("charts").querySelectorAll("svg").forEach((svg, number) => plot(svg, drawn[number].at));
}

window.addEventListener("resize", charts);

let newest = []; // the traces that the engine sent last

function trace(entry) {
  const made = element("details", { class: "trace", name: "trace", "data-key": JSON.stringify(entry) });
  const summary = element("summary");
  const title = element("span", { class: "title" });
  const facts = element("span", { class: "facts" });
  title.innerHTML = entry.title;
  facts.innerHTML = entry.facts;
  summary.append(title, facts);
  const body = element("div");
  made.append(summary, body);
  let read = false;
  made.addEventListener("toggle", async () => {
    if (!made.open || read) return;
    try {
      const reply = await fetch(`/trace/${entry.row}`);
      const text = await reply.text();
      read = reply.ok;
      if (read) body.innerHTML = text;
      else body.textContent = text;
    } catch {
      body.textContent = "The engine is gone; the report shows its traces.";
    }
  });
  return made;
}

// While a trace is open or the list has the focus, the list does not change: new traces wait behind a button.
function traces(requested = false) {
  const box = byId("traces");
  const shown = new Map([...box.children].map((child) => [child.dataset.key, child]));
  const fresh = newest.filter((entry) => !shown.has(JSON.stringify(entry))).length;
  const held = !requested && (box.querySelector(":scope > [open]") !== null || box.contains(document.activeElement));
  byId("newer").hidden = !held || fresh === 0;
  byId("newer").textContent = `${whole.format(fresh)}${fresh === newest.length ? " or more" : ""} newer trace${fresh === 1 ? "" : "s"}`;
  byId("none").hidden = newest.length + shown.size > 0;
  if (held) return;
  const kept = newest.map((entry) => shown.get(JSON.stringify(entry)) || trace(entry));
  const opened = [...box.children].filter((child) => child.open && !kept.includes(child)); // still being read
  const wanted = [...kept, ...opened];
  // Only changed elements are touched: an element that is moved loses the focus.
  if (wanted.length !== box.children.length || wanted.some((child, at) => child !== box.children[at])) {
    [...box.children].forEach((child) => wanted.includes(child) || child.remove());
    wanted.forEach((child, at) => box.children[at] === child || box.insertBefore(child, box.children[at] || null));
  }
}

byId("newer").addEventListener("click", () => {
  traces(true);
  byId("traces").querySelector("summary").focus(); // the button is hidden now
});

// The visible text changes every second. Screen readers get a new text when the state changes, or every 30 seconds.
const spoken = { state: "", at: 0 };
function say(state, text) {
  byId("state").textContent = text;
  if (state === spoken.state && Date.now() - spoken.at < 30000) return;
  Object.assign(spoken, { state, at: Date.now() });
  byId("spoken").textContent = text;
}

function statusText(board) {
  const { ending } = board;
  const ended = `${whole.format(board.ended)}${board.rows === null ? "" : ` of ${whole.format(board.rows)}`} questions ended`;
  if (ending) return `${ending[0].toUpperCase()}${ending.slice(1)}, after ${time(board.seconds)}; ${ended}.`;
  const again = board.owed_again ? `; ${whole.format(board.owed_again)} that failed earlier will be tried again` : "";
  return `Running for ${time(board.seconds)}; ${ended}, ${whole.format(board.per_minute)} a minute${again}.`;
}

function show(event) {
  const { board } = event;
  document.body.classList.remove("lost");
  document.body.classList.toggle("ended", board !== null && board.ending !== null);
  if (board === null) {
    say("opening", "Opening ledgers and endpoints …");
    return;
  }
  const share = board.rows ? Math.min(1, board.ended / board.rows) : 0;
  byId("whole").style.transform = `scaleX(${share})`;
  byId("whole").setAttribute("aria-valuenow", Math.floor(100 * share));
  say(board.ending || "running", statusText(board));
  document.title = `${board.ending ? board.ending.split(/[ :]/)[0] : ""} ${Math.floor(100 * share)} % · Weak2Wise`.trim();
  tiles(board);
  tables(board);
  points.push(...event.points);
  points.splice(0, points.length - 720);
  if (event.points.length || !byId("charts").hasChildNodes()) charts();
  if (event.traces) newest = event.traces;
  traces();
}

// The browser reconnects a broken stream itself; after a refused or finished one this page must reconnect.
function follow() {
  const source = new EventSource("/events");
  const reconnect = (seconds) => {
    source.close();
    setTimeout(follow, 1000 * seconds);
  };
  source.addEventListener("open", () => {
    points.splice(0);
    document.querySelectorAll("details.trace[open]").forEach((trace) => trace.dispatchEvent(new Event("toggle")));
  });
  source.addEventListener("message", (message) => {
    const event = JSON.parse(message.data);
    show(event);
    if (event.board?.ending) reconnect(10); // the run may be resumed
  });
  source.addEventListener("error", async () => {
    if (document.body.classList.contains("ended")) {
      reconnect(10);
      return;
    }
    const refused = source.readyState === EventSource.CLOSED;
    if (refused) reconnect(5);
    document.body.classList.add("lost");
    const status = refused ? await fetch("/page.css", { method: "HEAD" }).then((reply) => reply.status, () => 0) : 0;
    if (status === 401) say("locked", "The engine needs another token now: open its page with ?token= and the value of W2W_PAGE_TOKEN, or under the URL it printed.");
    else say("lost", "The engine is gone. This page shows its last state and tries to reconnect.");
  });
}

follow();
