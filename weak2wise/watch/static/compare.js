// Two runs compared: what came of each, how far they agree, and where they do not.
import { ask, byId, card, cost, element, small, time, whole } from "./common.js";

const estimate = (found, format) => (found ? `${format(found.value)} (${format(found.low)} to ${format(found.high)})` : "–");
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const three = (value) => value.toFixed(3).replace(/^-(?=0\.000$)/, "").replace("-", "−");

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

function side(run, number, numbers) {
  const { rows, emitted, dropped, failed, unfinished } = run.totals;
  const facts = [["state", run.state], [run.whole ? "questions" : "questions begun", whole.format(rows)], ["emitted", whole.format(emitted)], ["dropped", whole.format(sum(dropped))], ["failed", whole.format(sum(failed)), sum(failed) ? "bad" : ""]];
  if (unfinished) facts.push(["not finished", whole.format(unfinished)]);
  facts.push(["cost", cost(run.cost_usd)], ["for each emitted", cost(run.cost_for_row)], ["mean score", estimate(run.mean_score, three)], ["at work", time(run.seconds)]);
  const made = card("", facts);
  made.querySelector("h3").append(number === 0 ? "First: " : "Second: ", element("a", { href: `/run/${numbers[number]}/` }, run.name));
  return made;
}

function agreement(found) {
  const common = found.common;
  byId("agreement").hidden = false;
  const how = found.same_input ? "They have the same input, so questions are matched by row, text and answer." : "Their inputs differ: questions are matched by text and answer.";
  byId("common").textContent = `${whole.format(common.questions)} questions have a golden trace in both runs, ${whole.format(found.only_first)} in the first alone, ${whole.format(found.only_second)} in the second alone. ${how} In brackets: 95 % intervals.`;
  const unlike = found.changed.filter((one) => one.of_scores).map((one) => one.key);
  byId("unlike").textContent = `The scores are not measured alike: ${unlike.join(", ")}. So a difference of scores is not one of the traces alone.`;
  byId("unlike").hidden = unlike.length === 0;
  const measures = [["Same winner: the same text", estimate(common.same_trace, percent)], ["Winner of the same strong model", estimate(common.same_model, percent)]];
  if (found.alike) measures.unshift(["Emitted or dropped alike", estimate(found.alike, percent)]);
  const { difference, higher, lower } = common;
  if (difference) measures.push(["Score, second minus first", `${estimate(difference, three)}, p ${difference.p < 0.001 ? "< 0.001" : `= ${small.format(difference.p)}`}`], ["Score in the second", `higher for ${whole.format(higher)}, lower for ${whole.format(lower)}`]);
  else measures.push(["Score, second minus first", "– (other scorers, or too few questions)"]);
  byId("measures").replaceChildren(...measures.map(([name, value]) => element("li", { class: "card" }, element("h3", {}, name), element("p", { class: "figure" }, value))));
}

function question(found) {
  const title = element("p");
  title.innerHTML = found.question;
  return element("li", {}, title, element("p", { class: "quiet" }, `row ${whole.format(found.row)}: ${three(found.first)} first, ${three(found.second)} second`));
}

async function show() {
  const asked = new URLSearchParams(location.search);
  const numbers = [asked.get("one"), asked.get("other")];
  try {
    if (!numbers.every((number) => /^\d{1,4}$/.test(number))) throw new Error("There are no such two runs.");
    const found = await ask(`/two/${numbers[0]}/${numbers[1]}`);
    byId("state").textContent = "As their files are now.";
    document.title = `${found.first.name} and ${found.second.name} · Weak2Wise`;
    byId("sides").replaceChildren(...[found.first, found.second].map((one, number) => side(one, number, numbers)));
    agreement(found);
    byId("changed").replaceChildren(...found.changed.map((one) => card(one.key, [["first", one.first ?? "not set"], ["second", one.second ?? "not set"]])));
    byId("settings").hidden = found.changed.length === 0;
    byId("questions").replaceChildren(...found.apart.map(question));
    byId("apart").hidden = found.apart.length === 0;
  } catch (error) {
    byId("state").textContent = error.message;
  }
}

show();
