// Two runs compared: what came of each, how far they agree, and where they do not.
import { ask, byId, card, dollars, element, small, whole } from "./common.js";

const estimate = (found, format) => (found ? `${format(found.value)} (${format(found.low)} to ${format(found.high)})` : "–");
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const three = (value) => value.toFixed(3).replace(/^-(?=0\.000$)/, "").replace("-", "−");

function side(found, number, numbers) {
  const facts = [["questions", whole.format(found.questions)], ["emitted", whole.format(found.emitted)], ["dropped", whole.format(found.dropped)], ["failed", whole.format(found.failed), found.failed ? "bad" : ""]];
  facts.push(["cost", dollars(found.cost_usd)], ["for each emitted", found.usd_each === null ? "–" : dollars(found.usd_each)], ["mean score", estimate(found.score, three)]);
  const made = card("", facts);
  made.querySelector("h3").append(number === 0 ? "First: " : "Second: ", element("a", { href: `/run/${numbers[number]}/` }, found.name));
  return made;
}

function agreement(found) {
  byId("agreement").hidden = false;
  const how = found.by_row ? "They have the same input." : "Their inputs differ: questions are matched by their text.";
  byId("common").textContent = `${whole.format(found.common)} questions have a golden trace in both runs. ${how} In brackets: 95 % intervals.`;
  const measures = [["Same winner: the same text", estimate(found.same_trace, percent)], ["Winner of the same strong model", estimate(found.same_model, percent)]];
  if (found.alike) measures.unshift(["Emitted or dropped alike", estimate(found.alike, percent)]);
  if (found.difference) measures.push(["Score, second minus first", `${estimate(found.difference, three)}, p ${found.difference.p < 0.001 ? "< 0.001" : `= ${small.format(found.difference.p)}`}`]);
  else measures.push(["Score, second minus first", "– (other scorers, or too few questions)"]);
  byId("measures").replaceChildren(...measures.map(([name, value]) => element("li", { class: "card" }, element("h3", {}, name), element("p", { class: "figure" }, value))));
}

function question(found) {
  const title = element("p");
  title.innerHTML = found.title;
  return element("li", {}, title, element("p", { class: "quiet" }, `row ${whole.format(found.row)}: ${three(found.one)} first, ${three(found.other)} second`));
}

async function show() {
  const asked = new URLSearchParams(location.search);
  const numbers = [asked.get("one"), asked.get("other")];
  try {
    if (!numbers.every((number) => /^\d{1,4}$/.test(number))) throw new Error("There are no such two runs.");
    const found = await ask(`/two/${numbers[0]}/${numbers[1]}`);
    byId("state").textContent = "As their files are now.";
    document.title = `${found.sides[0].name} and ${found.sides[1].name} · Weak2Wise`;
    byId("sides").replaceChildren(...found.sides.map((one, number) => side(one, number, numbers)));
    agreement(found);
    byId("changed").replaceChildren(...found.changed.map((one) => card(one.key, [["first", one.one], ["second", one.other]])));
    byId("settings").hidden = found.changed.length === 0;
    byId("questions").replaceChildren(...found.apart.map(question));
    byId("apart").hidden = found.apart.length === 0;
  } catch (error) {
    byId("state").textContent = error.message;
  }
}

show();
