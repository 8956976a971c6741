// One video: it plays, the model looks at it, and the timeline shows what was seen.

import { isForgotten } from "./dialogue.js";
import { forget, look, upload } from "./api.js";
import { byId, count, seconds } from "./dom.js";
import { settings } from "./settings.js";
import { Timeline } from "./timeline.js";

/** A video that the user has shown. */
export class Video {
  constructor(blob, name) {
    this.blob = blob;
    this.name = name;
    this.size = blob.size;
    this.id = null; // of the upload
    this.seen = null; // what the server says of its frames
  }
}

export class Stage {
  constructor() {
    this.video = null;
    this.player = byId("player");
    this.timeline = new Timeline(byId("timeline"), (time, number) => this.#seek(time, number));
    this.player.addEventListener("error", () => this.#cannotPlay());
    for (const name of ["seeked", "timeupdate", "loadedmetadata"])
      this.player.addEventListener(name, () => this.timeline.setTime(this.player.currentTime));
    this.player.addEventListener("play", () => this.#follow());
    addEventListener("pagehide", (event) => !event.persisted && this.#forget());
  }

  /** Show a video, and have the model look at it; resolves when it has, fails as that fails. */
  open(video, truth = null) {
    this.close();
    this.video = video;
    byId("video-name").textContent = video.name;
    byId("unplayable").hidden = byId("still").hidden = true;
    this.player.hidden = false;
    this.player.src = URL.createObjectURL(video.blob);
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!isStill) this.player.play().catch(() => {}); // a browser may want a click first
    byId("truth").hidden = !truth;
    byId("truth").open = false;
    byId("truth").querySelector("p").textContent = truth ?? "";
    return this.look();
  }

  /** Have the model look (again, when the settings have changed). */
  look() {
    const video = this.video;
    this.stopping?.abort();
    this.stopping = new AbortController();
    this.ready = this.#look(video, this.stopping.signal);
    this.ready.catch(() => {}); // whoever waits for it is told
    return this.ready;
  }

  async #look(video, signal) {
    this.timeline.wait(settings.mostFrames);
    this.#say("The model is looking …");
    byId("legend").hidden = byId("why").hidden = true;
    try {
      video.seen = await this.#send(video, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      this.timeline.clear();
      this.#say("");
      throw error;
    } finally {
      if (!signal.aborted) byId("progress").hidden = true;
    }
    if (this.video === video && !signal.aborted) this.#show(video.seen);
  }

  /** What the server says; the file is sent when the server does not have it. */
  async #send(video, signal) {
    if (!video.id) await this.#upload(video, signal);
    try {
      return await look(video.id, settings.sampling(), signal);
    } catch (error) {
      if (!isForgotten(error)) throw error;
      await this.#upload(video, signal);
      return look(video.id, settings.sampling(), signal);
    }
  }

  async #upload(video, signal) {
    const progress = byId("progress");
    const show = (percent) => {
      progress.hidden = percent >= 100;
      progress.value = percent;
    };
    video.id = null;
    video.id = (await upload(video.blob, video.name, show, signal)).id;
  }

  #show(seen) {
    this.timeline.show(seen);
    this.timeline.setTime(this.player.currentTime);
    if (this.player.hidden) this.#showStill(0);
    const { length } = this.timeline.frames;
    const kept = this.timeline.frames.filter((frame) => frame.kept).length;
    const took = seen.reused ? "known already" : `read in ${seconds(seen.timings.total_s)}`;
    this.#say(`${count(length, "frame")} · ${count(seen.visual_tokens, "token")} · ${took}`);
    byId("legend").hidden = byId("why").hidden = false;
    byId("why").textContent =
      `All ${length} frames go through the image encoder; the ${kept} that draw most attention ` +
      "also go through the video encoder, which sees how things move.";
  }

  #say(text) {
    byId("seen-facts").textContent = text;
  }

  #seek(time, number) {
    if (this.player.hidden) {
      this.#showStill(number);
      this.timeline.setTime(time);
      return;
    }
    this.player.pause();
    // A little later: what is shown at the very border of two frames depends on rounding.
    this.player.currentTime = time + 0.01;
  }

  #showStill(number) {
    byId("still").src = this.timeline.frames[number].picture;
    byId("still").hidden = false;
  }

  #cannotPlay() {
    if (!this.player.getAttribute("src")) return;
    this.player.hidden = true;
    byId("unplayable").hidden = false;
    if (this.timeline.frames.length) this.#showStill(0);
  }

  #follow() {
    if (this.player.paused || this.player.ended) return;
    this.timeline.setTime(this.player.currentTime);
    requestAnimationFrame(() => this.#follow());
  }

  /** Play or pause. */
  toggle() {
    if (this.player.paused) this.player.play().catch(() => {});
    else this.player.pause();
  }

  #forget() {
    if (this.video?.id) forget(this.video.id);
  }

  /** Let go of the video, and have the server let go of it. */
  close() {
    this.stopping?.abort();
    if (this.player.src) URL.revokeObjectURL(this.player.src);
    this.player.removeAttribute("src");
    this.player.load();
    byId("still").removeAttribute("src");
    this.timeline.clear();
    this.#forget();
    this.video = null;
  }
}
