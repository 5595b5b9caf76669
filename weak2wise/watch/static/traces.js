// The list of golden traces: sorted, filtered, searched and paged by the server; a trace is fetched when it is opened.
import { ask, byId, element, whole } from "./common.js";
import { charts } from "./charts.js";

const EVERY = 2000; // milliseconds between two looks for newer traces
const list = { made: 0, shown: 0, after: null, at: 0, loading: false };

function trace(entry) {
  const made = element("details", { class: "trace", name: "trace", "data-key": JSON.stringify(entry) });
  const title = element("span", { class: "title" });
  const facts = element("span", { class: "facts" });
  title.innerHTML = entry.title;
  facts.innerHTML = entry.facts;
  const body = element("div");
  made.append(element("summary", {}, title, facts), body);
  let read = false;
  made.addEventListener("toggle", async () => {
    if (!made.open || read) return;
    try {
      const reply = await fetch(`trace/${entry.row}`);
      const text = await reply.text();
      read = reply.ok;
      if (read) body.innerHTML = text;
      else body.textContent = text;
    } catch {
      body.textContent = "The engine is gone; weak2wise view and the report show its traces.";
    }
  });
  return made;
}

// Only changed elements are touched: an element that is moved loses the focus.
function put(entries, keepOpen) {
  const box = byId("traces");
  const shown = new Map([...box.children].map((child) => [child.dataset.key, child]));
  const kept = entries.map((entry) => shown.get(JSON.stringify(entry)) || trace(entry));
  if (keepOpen) kept.push(...[...box.children].filter((child) => child.open && !kept.includes(child))); // still being read
  [...box.children].forEach((child) => kept.includes(child) || child.remove());
  kept.forEach((child, at) => box.children[at] === child || box.insertBefore(child, box.children[at] || null));
}

// "more": the next page; "keepOpen": traces that are open stay.
async function load({ more = false, keepOpen = false } = {}) {
  const chosen = { sort: byId("sort").value, model: byId("model").value, search: byId("search").value.trim() };
  list.loading = true;
  list.at = Date.now();
  const made = list.made;
  let found;
  try {
    found = await ask(`traces?${new URLSearchParams({ ...chosen, ...(more ? { after: list.after } : {}) })}`);
  } catch (error) {
    byId("none").textContent = `The list cannot be read now: ${error.message}`;
    byId("none").hidden = false;
    return;
  } finally {
    list.loading = false;
  }
  const before = more ? [...byId("traces").children].map((child) => JSON.parse(child.dataset.key)) : [];
  put([...before, ...found.traces], keepOpen);
  Object.assign(list, { shown: made, after: found.after });
  const model = byId("model");
  if (model.options.length !== found.models.length + 1) {
    model.replaceChildren(element("option", { value: "" }, "all"), ...found.models.map((name) => element("option", { value: name }, name)));
    model.value = chosen.model;
  }
  const count = byId("traces").children.length;
  const none = chosen.search ? (found.after === null ? "No trace has this text." : "None found so far; more are to be searched.") : "None yet.";
  byId("none").textContent = count ? `${whole.format(count)} of ${whole.format(found.total)} traces shown.` : none;
  byId("none").hidden = false;
  byId("more").hidden = found.after === null;
  byId("more").textContent = chosen.search ? "Search on" : "More";
  byId("newer").hidden = true;
  charts({ scores: found.scores });
}

// While a trace is open, the list has the focus or has been paged, it does not change: new traces wait behind a button.
export function newest(made) {
  const first = list.at === 0;
  list.made = made;
  const fresh = made - list.shown;
  if ((fresh <= 0 && !first) || list.loading || (made === 0 && first)) return;
  const box = byId("traces");
  const plain = byId("sort").value === "newest" && !byId("search").value && !byId("model").value && box.children.length <= 20;
  const held = !first && (!plain || box.querySelector(":scope > [open]") !== null || box.contains(document.activeElement));
  byId("newer").hidden = !held;
  byId("newer").textContent = `${whole.format(fresh)} newer trace${fresh === 1 ? "" : "s"}`;
  if (!held && Date.now() - list.at >= EVERY) load({ keepOpen: true });
}

// A page that lost its server may have missed some.
export function reopen() {
  document.querySelectorAll("details.trace[open]").forEach((open) => open.dispatchEvent(new Event("toggle")));
}

let typing = 0;
byId("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(), 300);
});
for (const id of ["sort", "model"]) byId(id).addEventListener("change", () => load());
byId("more").addEventListener("click", () => load({ more: true }));
byId("newer").addEventListener("click", async () => {
  await load({ keepOpen: true });
  byId("traces").querySelector("summary")?.focus(); // the button is hidden now
});
