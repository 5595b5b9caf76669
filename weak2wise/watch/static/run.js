// Follows one run by server-sent events. Each event has the parts of the state that have changed.
import { byId, card, cost, dollars, element, models, share, small, tile, time, whole } from "./common.js";
import { charts } from "./charts.js";
import { losses } from "./losses.js";
import { newest, reopen } from "./traces.js";

let run = {};

function tiles(board) {
  const of = board.rows === null ? "" : ` of ${whole.format(board.rows)}`;
  const main = [["done", board.rows === null ? "…" : `${Math.floor(100 * share(board))} %`, `${whole.format(board.ended)}${of} questions`]];
  if (board.ending === null) main.push(["left", board.seconds_left === null ? "…" : time(board.seconds_left), board.seconds_left === null ? "known after some minutes" : "about"]);
  else if (board.rows > board.ended) main.push(["unfinished", whole.format(board.rows - board.ended), "questions"]);
  const each = board.emitted ? `${dollars(board.cost_usd / board.emitted)} for each emitted` : "so far";
  main.push(["cost", cost(board.cost_usd), board.cost_usd ? each : "no call with a price so far"]);
  byId("main").replaceChildren(...main.map((facts) => tile(...facts)));
  const others = [["emitted", board.emitted], ["dropped", board.dropped], ["failed", board.failed]];
  byId("tiles").replaceChildren(...others.map(([name, value]) => tile(name, whole.format(value))));
  byId("tiles").querySelector(".failed").classList.toggle("bad", board.failed > 0);
}

function stages(board) {
  byId("bottleneck").textContent = board.bottleneck ? `The other steps wait for ${board.bottleneck}.` : "";
  byId("stages").replaceChildren(
    ...board.stages.map((s) => {
      const facts = [["done", whole.format(s.done)], ["failed", whole.format(s.failed), s.failed ? "bad" : ""], ["dropped", whole.format(s.dropped)]];
      if (board.ending === null) facts.push(["a minute", small.format(s.per_minute)]);
      if (run.live) facts.push(["in work", whole.format(s.busy)], ["waiting", whole.format(s.waiting)]);
      return card(s.name, facts, s.name === board.bottleneck ? { class: "card slow" } : {});
    }),
  );
}

// What limits the requests: their number in flight, their rate, or the hour.
function limit(e) {
  if (e.held_until) return `held until ${e.held_until.slice(11, 16)} UTC`;
  return e.paced === null ? whole.format(e.limit) : `≤${whole.format(e.paced)}/min`;
}

function endpoint(e) {
  const limited = e.faults.rate_limited || 0;
  const kinds = Object.entries(e.faults).filter(([kind]) => kind !== "rate_limited").sort((a, b) => b[1] - a[1]);
  const errors = kinds.reduce((sum, [, n]) => sum + n, 0);
  const facts = [["errors", whole.format(errors), errors ? "bad" : ""], ["429s", whole.format(limited)], ["cost", cost(e.cost_usd)], ["tokens", whole.format(e.tokens)]];
  if (run.board.ending === null) facts.push(["requests/min", small.format(e.per_minute)]);
  if (run.live) facts.push(["in flight", whole.format(e.in_flight)], ["limit", limit(e)]);
  else facts.push(["answers", whole.format(e.answered)]);
  const made = card(e.name, facts);
  if (kinds.length) made.append(element("p", { class: "faults" }, kinds.map(([kind, n]) => `${whole.format(n)} ${kind.replaceAll("_", " ")}`).join(", ")));
  return made;
}

function engine(e) {
  const facts = [["tokens/s", whole.format(e.tokens_per_second)], ["running", `${whole.format(e.running)} of ${whole.format(e.room)}`], ["waiting", whole.format(e.waiting)], ["from cache", `${Math.round(100 * e.cached)} %`]];
  return card(`${e.name} (embedded)`, facts);
}

function who(about) {
  byId("name").textContent = about.name;
  const parts = [models(about), `folder ${about.folder}`];
  if (about.config) parts.push(`config ${about.config}`);
  if (about.forked) parts.push(`forked from ${about.forked}`);
  byId("about").replaceChildren(...parts.flatMap((part, at) => (at ? [element("br"), part] : [part])));
  byId("settings").replaceChildren(...Object.entries(about.settings).map(([key, value]) => element("div", {}, element("dt", {}, key), element("dd", {}, value))));
}

function next({ next: steps, report, board }) {
  byId("next").hidden = !steps || steps.length === 0;
  if (byId("next").hidden) return;
  byId("output").replaceChildren(report ? element("a", { href: "report" }, "Open the report of this run") : "It has no report yet.");
  byId("commands").replaceChildren(...steps.map((step) => element("li", {}, element("span", {}, `${step.why[0].toUpperCase()}${step.why.slice(1)}:`), element("code", {}, step.command))));
}

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
  if (ending) return `${ending[0].toUpperCase()}${ending.slice(1)}${board.seconds ? `, after ${time(board.seconds)}` : ""}; ${ended}.`;
  const again = board.to_retry ? `; ${whole.format(board.to_retry)} that failed earlier will be tried again` : "";
  return `Running for ${time(board.seconds)}; ${ended}${board.per_minute ? `, ${whole.format(board.per_minute)} a minute` : ""}${again}.`;
}

function show(event) {
  run = { ...run, ...event };
  const { board, about } = run;
  document.body.classList.remove("lost");
  document.body.classList.toggle("ended", Boolean(board && board.ending !== null));
  document.body.classList.toggle("gone", Boolean(run.gone));
  if ("about" in event && about) who(about);
  if (board === null) {
    say("opening", "Opening ledgers and endpoints …");
    return;
  }
  const done = Math.floor(100 * share(board));
  byId("whole").style.transform = `scaleX(${share(board)})`;
  byId("whole").setAttribute("aria-valuenow", done);
  say(run.gone || board.ending || "running", run.gone ? `${run.gone}. This page shows its last state.` : statusText(board));
  document.title = [`${board.ending ? board.ending.split(/[ :]/)[0] : ""} ${done} %`.trim(), about ? about.name : null, "Weak2Wise"].filter(Boolean).join(" · ");
  byId("from").textContent = run.live ? "Traces are the newest 500; weak2wise view shows all." : "Read from the files of the run.";
  tiles(board);
  stages(board);
  byId("endpoints").replaceChildren(...board.endpoints.map(endpoint), ...board.engines.map(engine));
  if ("trend" in event) charts({ trend: run.trend });
  if ("next" in event || "report" in event) next(run);
  if (run.live && board.ending !== null) return; // the server of this page is closed now
  losses({ failed: board.failed + board.to_retry, dropped: board.dropped });
  const select = board.stages.find((stage) => stage.name === "select");
  if (select) newest(select.done);
}

// The browser reconnects a broken stream itself; after a refused or finished one this page must reconnect.
function follow() {
  const source = new EventSource("events");
  const reconnect = (seconds) => {
    source.close();
    setTimeout(follow, 1000 * seconds);
  };
  source.addEventListener("open", reopen);
  source.addEventListener("message", (message) => {
    show(JSON.parse(message.data));
    if (run.live && run.board?.ending) reconnect(10); // the run may be resumed
  });
  source.addEventListener("error", async () => {
    if (run.live && document.body.classList.contains("ended")) {
      reconnect(10);
      return;
    }
    const refused = source.readyState === EventSource.CLOSED;
    if (refused) reconnect(5);
    document.body.classList.add("lost");
    const status = refused ? await fetch("/page.css", { method: "HEAD" }).then((reply) => reply.status, () => 0) : 0;
    const gone = run.live === false ? "weak2wise view is gone" : "The engine is gone";
    if (status === 401) say("locked", "The engine needs another token now: open its page with ?token= and the value of W2W_PAGE_TOKEN, or under the URL it printed.");
    else say("lost", `${gone}. This page shows its last state and tries to reconnect.`);
  });
}

byId("all").hidden = !location.pathname.startsWith("/run/");
byId("kind").hidden = !byId("all").hidden;
follow();
