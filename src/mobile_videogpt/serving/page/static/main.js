// Puts the page together.

import { fetchJson } from "./api.js";
import { byId, showAlert } from "./dom.js";
import { Live } from "./live.js";
import { settings } from "./settings.js";
import { connectSources } from "./sources.js";
import { Stage, Video } from "./stage.js";
import { Talk } from "./talk.js";

const stage = new Stage();
const talk = new Talk(stage);
const live = new Live();

settings.connect();
connectSources(open);
connectTabs();
connectKeys();
learnModel();

settings.addEventListener("key", () => {
  learnModel();
  if (stage.video && !stage.video.seen) look();
});
settings.addEventListener("sampling", () => stage.video && look());
byId("other").addEventListener("click", close);

/** Show a video and begin a conversation about it. */
function open(blob, name, example = null) {
  showTab("video");
  showAlert(byId("start-error"), null);
  settings.forgetPart();
  byId("start").hidden = true;
  byId("work").hidden = false;
  const video = new Video(blob, name);
  const looked = stage.open(video, example?.truth);
  talk.begin(video, example?.questions);
  // Not on a phone, where the keyboard would cover the video.
  if (matchMedia("(pointer: fine)").matches) byId("question").focus({ preventScroll: true });
  looked.catch((error) => refuse(video, error));
}

/** Look again, as the settings say now. */
function look() {
  const { video } = stage;
  stage.look().catch((error) => refuse(video, error));
}

function refuse(video, error) {
  if (error.name === "AbortError" || stage.video !== video) return;
  if (error.status === 401) return; // the settings ask for a key
  close();
  showAlert(byId("start-error"), `${video.name}: ${error.message}`);
  byId("choose").focus();
}

/** Back to the choice of videos. */
function close() {
  talk.stop();
  stage.close();
  byId("work").hidden = true;
  byId("start").hidden = false;
  byId("choose").focus({ preventScroll: true });
}

async function learnModel() {
  try {
    const { data } = await fetchJson("/v1/models");
    settings.describe(data[0]);
    byId("model").textContent = data[0].id;
    byId("model").hidden = false;
  } catch (error) {
    if (error.status !== 401) showAlert(byId("start-error"), error.message);
  }
}

function connectTabs() {
  const names = ["video", "live"];
  for (const [at, name] of names.entries()) {
    byId(`tab-${name}`).addEventListener("click", () => showTab(name));
    byId(`tab-${name}`).addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = names[1 - at];
      showTab(other);
      byId(`tab-${other}`).focus();
    });
  }
}

function showTab(name) {
  for (const other of ["video", "live"]) {
    const isShown = other === name;
    byId(`tab-${other}`).setAttribute("aria-selected", String(isShown));
    byId(`tab-${other}`).tabIndex = isShown ? 0 : -1;
    byId(`panel-${other}`).hidden = !isShown;
  }
  if (name === "video") live.stop();
  else byId("player").pause();
}

function connectKeys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
      return;
    if (event.key === "Escape") talk.stop();
    if (event.target.closest("input, textarea, select")) return;
    const action = {
      "/": () => byId("question").focus(),
      ",": () => settings.open(),
      k: () => stage.video && stage.toggle(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
