// The overview of several runs: a card each, read again every five seconds.
import { ask, byId, card, cost, element, models, share, time, whole } from "./common.js";

function state(board, gone) {
  if (gone) return gone;
  return board.ending === null ? "running" : board.ending;
}

function run({ about, board, gone }, number) {
  const facts = [["done", board.rows === null ? "…" : `${Math.floor(100 * share(board))} %`]];
  if (board.ending === null) facts.push(["left", board.seconds_left === null ? "…" : time(board.seconds_left)]);
  facts.push(["cost", cost(board.cost_usd)], ["emitted", whole.format(board.emitted)], ["dropped", whole.format(board.dropped)], ["failed", whole.format(board.failed), board.failed ? "bad" : ""]);
  const made = card("", facts);
  made.querySelector("h3").append(element("a", { href: `/run/${number}/` }, about.name));
  made.querySelector("h3").after(element("p", { class: gone ? "bad" : "quiet" }, state(board, gone)), element("p", { class: "quiet" }, models(about)));
  return made;
}

function choices(found) {
  for (const [id, chosen] of [["one", 0], ["other", 1]]) {
    const select = byId(id);
    if (select.options.length === found.length) continue;
    select.replaceChildren(...found.map(({ about }, number) => element("option", { value: number }, about.name)));
    select.value = chosen;
  }
}

function link() {
  byId("compare").href = `/compare?one=${byId("one").value}&other=${byId("other").value}`;
}

async function look() {
  try {
    const found = await ask("/runs");
    const going = found.filter(({ board }) => board.ending === null).length;
    const text = `${whole.format(found.length)} runs, ${whole.format(going)} of them running.`;
    if (byId("state").textContent !== text) byId("state").textContent = text;
    const focused = [...byId("runs").querySelectorAll("a")].indexOf(document.activeElement);
    byId("runs").replaceChildren(...found.map(run));
    if (focused >= 0) byId("runs").querySelectorAll("a")[focused].focus();
    choices(found);
  } catch {
    byId("state").textContent = "weak2wise view is gone. This page shows the last state and tries again.";
  }
  setTimeout(look, 5000);
}

for (const id of ["one", "other"]) byId(id).addEventListener("change", link);
look();
