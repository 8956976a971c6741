// The camera, asked about again and again. The window slides: a picture that two questions share is
// sent twice, but the server knows it by its pixels and encodes it once.

import { ask } from "./api.js";
import { announce, byId, clock, count, make, saveJson, seconds, showAlert } from "./dom.js";
import { closeCamera, openCamera } from "./record.js";
import { settings } from "./settings.js";

const WIDTH = 320; // the model looks at about 224 pixels
const QUALITY = 0.85;
const TINY = 24; // pixels a side, to see whether something changed
const CHANGE = 0.012; // of the range of brightness, on average
const MOST_ENTRIES = 300;

export class Live {
  constructor() {
    this.camera = byId("camera");
    this.entries = [];
    this.isOn = false;
    byId("watch").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.isOn) this.stop();
      else this.start();
    });
    byId("live-download").addEventListener("click", () => this.#download());
  }

  /** Open the camera and begin to ask. */
  async start() {
    showAlert(byId("live-error"), null);
    this.#turn(true);
    try {
      this.stream = await openCamera();
    } catch (error) {
      this.#turn(false);
      showAlert(byId("live-error"), error.message);
      return;
    }
    if (!this.isOn) return closeCamera(this.stream); // stopped while the browser was asking
    const [track] = this.stream.getVideoTracks();
    track.addEventListener("ended", () => this.#lose());
    this.camera.srcObject = this.stream;
    await this.camera.play();
    this.#begin();
  }

  #lose() {
    this.stop();
    showAlert(byId("live-error"), "The camera went away. Connect it, then watch again.");
  }

  #begin() {
    this.size = settings.values.frames ?? settings.mostFrames;
    this.span = Number(byId("live-span").value);
    this.every = Number(byId("live-every").value);
    this.frames = [];
    this.skipped = 0;
    this.began = performance.now();
    this.stopping = new AbortController();
    byId("window").replaceChildren();
    byId("window").style.setProperty("--frames", this.size);
    this.sampler = setInterval(() => this.#sample(), (1000 * this.span) / this.size);
  }

  /** Let go of the camera; the answers stay. */
  stop() {
    clearInterval(this.sampler);
    clearInterval(this.asker);
    this.asker = this.asked = null;
    this.stopping?.abort();
    this.isAsking = false;
    closeCamera(this.stream);
    this.stream = this.camera.srcObject = null;
    if (this.isOn) this.#turn(false);
  }

  #turn(isOn) {
    this.isOn = isOn;
    byId("live-go").lastElementChild.textContent = isOn ? "Stop" : "Watch";
    byId("live-go").classList.toggle("primary", !isOn);
    byId("on-air").hidden = !isOn;
    byId("camera-hint").hidden = isOn;
    byId("caption").hidden = true;
    for (const id of ["live-every", "live-span"]) byId(id).disabled = isOn;
  }

  #sample() {
    const picture = snapshot(this.camera);
    if (!picture) return;
    this.frames.push({ ...picture, at: performance.now(), isNew: true });
    const list = byId("window");
    list.append(make("li", { class: "new" }, make("img", { src: picture.url, alt: "" })));
    if (this.frames.length > this.size) {
      this.frames.shift();
      list.firstElementChild.remove();
    }
    if (this.frames.length < this.size)
      byId("window-facts").textContent = `${this.frames.length} of ${count(this.size, "frame")}`;
    else if (!this.asker) {
      this.asker = setInterval(() => this.#ask(), 1000 * this.every);
      this.#ask();
    }
  }

  async #ask() {
    if (this.frames.length < this.size) return;
    if (this.isAsking) {
      this.skipped += 1; // better a question less than one about the past
      return;
    }
    const question = byId("live-question").value.trim();
    const last = this.frames.at(-1);
    if (
      !question ||
      (byId("live-change").checked && this.asked && change(this.asked, last) < CHANGE)
    )
      return;
    this.asked = last;
    this.isAsking = true;
    const { signal } = this.stopping;
    const fresh = this.frames.filter((frame) => frame.isNew).length;
    try {
      const reply = await ask(this.#body(question), signal);
      this.frames.forEach((frame) => frame.at <= last.at && (frame.isNew = false));
      this.#note(question, reply, last, fresh);
      showAlert(byId("live-error"), null);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    } finally {
      if (!signal.aborted) this.isAsking = false;
    }
  }

  #body(question) {
    const pictures = this.frames.map((frame) => ({
      type: "image_url",
      image_url: { url: frame.url },
    }));
    return {
      messages: [{ role: "user", content: [...pictures, { type: "text", text: question }] }],
      fps: this.size / this.span,
      ...settings.generation(),
    };
  }

  #note(question, reply, frame, fresh) {
    const answer = reply.choices[0].message.content;
    const at_s = (frame.at - this.began) / 1000;
    const behind_s = (performance.now() - frame.at) / 1000;
    const entry = {
      at_s,
      taken_at: new Date(performance.timeOrigin + frame.at).toISOString(),
      question,
      answer,
      behind_s,
      new_frames: fresh,
    };
    this.entries.unshift({ ...entry, usage: reply.usage, timings: reply.mobile_videogpt.timings });
    this.entries.length = Math.min(this.entries.length, MOST_ENTRIES);
    const log = byId("live-log");
    log.prepend(item(entry, frame, log.firstElementChild?.dataset.answer === answer));
    while (log.children.length > MOST_ENTRIES) log.lastElementChild.remove();
    byId("live-download").disabled = false;
    byId("caption").textContent = answer;
    byId("caption").hidden = !answer;
    const skipped = this.skipped ? ` · ${count(this.skipped, "question")} left out` : "";
    byId("window-facts").textContent =
      `${fresh} new, ${this.size - fresh} encoded before · ${seconds(behind_s)} behind${skipped}`;
    for (const [number, place] of [...byId("window").children].entries())
      place.classList.toggle("new", this.frames[number]?.isNew ?? false);
  }

  #fail(error) {
    showAlert(byId("live-error"), error.message);
    announce(error.message);
    if (error.status === 401 || error.status === 400) this.stop(); // asking again would not help
  }

  #download() {
    saveJson("live-answers.json", {
      saved_at: new Date().toISOString(),
      answers: [...this.entries].reverse(),
    });
  }
}

function item(entry, frame, isSame) {
  return make(
    "li",
    { class: isSame ? "same" : "", "data-answer": entry.answer },
    make("img", { src: frame.url, alt: "" }),
    make(
      "div",
      {},
      make("p", { class: "live-answer" }, entry.answer),
      make(
        "p",
        { class: "small" },
        make("time", { datetime: entry.taken_at }, clock(entry.at_s)),
        ` · ${seconds(entry.behind_s)} behind`,
      ),
    ),
  );
}

/** What the camera sees now: a JPEG, and a tiny grey copy; null while there is nothing yet. */
function snapshot(video) {
  if (!video.videoWidth) return null;
  const height = Math.round((WIDTH * video.videoHeight) / video.videoWidth);
  const url = painted(video, WIDTH, height).toDataURL("image/jpeg", QUALITY);
  const { data } = painted(video, TINY, TINY).getContext("2d").getImageData(0, 0, TINY, TINY);
  const grey = Float32Array.from(
    { length: TINY * TINY },
    (_, at) => (data[4 * at] + data[4 * at + 1] + data[4 * at + 2]) / 765,
  );
  return { url, grey };
}

function painted(video, width, height) {
  const canvas = make("canvas", { width, height });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(video, 0, 0, width, height);
  return canvas;
}

/** How much two pictures differ, from 0 to 1. */
function change(before, now) {
  return (
    now.grey.reduce((sum, value, at) => sum + Math.abs(value - before.grey[at]), 0) /
    now.grey.length
  );
}
