// Small helpers for the document.

/** The element of that id; ids are fixed in index.html. */
export const byId = (id) => document.getElementById(id);

/** A new element: make("p", { class: "small", onclick: f }, "text", child). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A new SVG element. */
export function draw(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** One of the symbols in index.html. */
export function icon(name) {
  const svg = draw("svg", { "aria-hidden": "true" });
  svg.append(draw("use", { href: `#i-${name}` }));
  return svg;
}

/** Show a sentence in an alert, or hide it when there is none. */
export function showAlert(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

/** Tell screen readers something that is only seen. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Seconds for people: 0.034 s, 1.2 s, 2:05. */
export function seconds(value) {
  if (value < 0.0995) return `${Math.max(1, Math.round(value * 1000))} ms`;
  if (value < 9.95) return `${value.toFixed(value < 0.995 ? 2 : 1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  return clock(value);
}

/** Minutes and seconds, as players show them. */
export function clock(value) {
  const whole = Math.max(0, Math.floor(value));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** "1 frame", "2 frames". */
export const count = (number, noun) =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Offer a document as a file. */
export function saveJson(name, value) {
  const url = URL.createObjectURL(
    new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }),
  );
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Put text on the clipboard; says whether that worked. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { class: "hidden-label", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const worked = document.execCommand("copy"); // where there is no clipboard without TLS
    area.remove();
    return worked;
  }
}
