// Where videos come from: a file that is dropped, chosen or pasted, an example, or the camera.

import { fetchJson } from "./api.js";
import { byId, icon, make } from "./dom.js";
import { connectRecorder } from "./record.js";

/** Connect all of them to `open(blob, name, extras)`; examples bring questions and the truth. */
export function connectSources(open) {
  const file = byId("file");
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files.length) open(file.files[0], file.files[0].name);
    file.value = ""; // the same file may be chosen again
  });
  connectDrop(open);
  addEventListener("paste", (event) => {
    const [pasted] = event.clipboardData?.files ?? [];
    if (pasted) open(pasted, pasted.name);
  });
  connectRecorder((blob, name) => open(blob, name));
  showExamples(open);
}

function connectDrop(open) {
  const hint = byId("drop-hint");
  let depth = 0; // of elements that were entered
  const end = () => {
    depth = 0;
    hint.hidden = true;
  };
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!hasFile(event)) return;
    depth += 1;
    hint.hidden = false;
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) end();
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    end();
    const [dropped] = event.dataTransfer.files;
    if (dropped) open(dropped, dropped.name);
  });
}

async function showExamples(open) {
  const list = byId("examples");
  try {
    const { examples } = await fetchJson("/page/examples");
    list.replaceChildren(...examples.map((example) => make("li", {}, card(example, open))));
  } catch {
    byId("examples-title").hidden = true; // the page is of use without them
  }
}

function card(example, open) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const film = make("video", {
    src: example.url,
    muted: true,
    loop: true,
    playsInline: true,
    tabindex: "-1",
    "aria-hidden": "true",
  });
  film.autoplay = !still;
  const choose = async () => {
    const blob = await (await fetch(example.url)).blob();
    open(blob, example.title, example);
  };
  return make(
    "button",
    { type: "button", class: "example", onclick: choose },
    film,
    make("span", {}, icon("play"), example.title),
  );
}
