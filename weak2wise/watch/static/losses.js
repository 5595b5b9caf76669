// The questions that failed, with their message, and those that were dropped, and why.
import { ask, byId, element, whole } from "./common.js";

const EVERY = 5000; // milliseconds between two requests
const WORDS = { failed: "Failed questions", dropped: "Dropped questions" };
const read = { failed: { count: 0, at: 0 }, dropped: { count: 0, at: 0 } };

function one(loss) {
  const made = element("li", {}, element("p", {}, element("strong", {}, loss.title || `Row ${whole.format(loss.row)}`)));
  made.append(element("p", { class: "quiet" }, `${loss.title ? `row ${whole.format(loss.row)} · ` : ""}${loss.step}: ${loss.why}`));
  if (loss.message) made.append(element("p", { class: "message" }, loss.message));
  return made;
}

function show(kind, found) {
  const reasons = element("ul", { class: "reasons" }, ...found.reasons.map((r) => element("li", {}, element("strong", {}, whole.format(r.count)), ` ${r.why} (${r.step})`)));
  const box = byId(kind);
  const open = box.querySelector("details")?.open ?? kind === "failed";
  const list = element("details", open ? { open: "" } : {}, element("summary", {}, `The newest of each step`), element("ul", { class: "losses" }, ...found.newest.map(one)));
  box.replaceChildren(element("h2", {}, WORDS[kind]), reasons, list);
  box.hidden = found.reasons.length === 0;
}

// Ask again if there are more, or fewer, than when they were read.
export function losses(counts) {
  for (const [kind, count] of Object.entries(counts)) {
    const last = read[kind];
    if (count === last.count || Date.now() - last.at < EVERY) continue;
    Object.assign(last, { count, at: Date.now() });
    ask(`losses/${kind}`).then((found) => show(kind, found), () => (last.count = -1));
  }
}
