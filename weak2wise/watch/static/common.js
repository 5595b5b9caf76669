// What all pages share. Texts are set as text; only texts that the server has escaped are set as HTML.
export const byId = (id) => document.getElementById(id);
export const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export function element(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside.filter((one) => one !== null));
  return made;
}

export function time(seconds) {
  const s = Math.round(seconds);
  const parts = [Math.floor(s / 86400) + " d", Math.floor((s % 86400) / 3600) + " h", Math.floor((s % 3600) / 60) + " min", (s % 60) + " s"];
  const first = parts.findIndex((part) => !part.startsWith("0 "));
  return first < 0 ? "0 s" : parts.slice(first, first + 2).join(" ");
}

export function dollars(amount) {
  return "$" + (amount === 0 ? "0" : amount < 0.1 ? amount.toFixed(4) : amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 }));
}

// A cost; none is known where no call had a price.
export function cost(amount) {
  return amount ? dollars(amount) : "–";
}

export function share(board) {
  return board.rows ? Math.min(1, board.ended / board.rows) : 0;
}

export function tile(name, value, note = null) {
  return element("div", { class: "tile " + name.split(" ")[0] }, element("dt", {}, name), element("dd", {}, value, note && element("small", {}, note)));
}

// A card: a heading, and facts as pairs of a name and a value; a value that is "bad" is marked.
export function card(title, facts, attributes = {}) {
  const list = element("dl", {});
  for (const [name, value, kind] of facts) list.append(element("div", kind ? { class: kind } : {}, element("dt", {}, name), element("dd", {}, value)));
  return element("li", { class: "card", ...attributes }, element("h3", {}, title), list);
}

export function models(about) {
  const strong = Object.entries(about.models).filter(([role]) => role.startsWith("strong/")).map(([, model]) => model);
  const others = ["weak", "judge", "truncation"].filter((role) => about.models[role]).map((role) => `${role}: ${about.models[role]}`);
  return [others[0], `strong: ${strong.join(", ")}`, ...others.slice(1)].join(" · ");
}

export async function ask(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error((await reply.text()).trim());
  return reply.json();
}
