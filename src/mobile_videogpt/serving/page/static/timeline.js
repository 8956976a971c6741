// The sampled frames as a strip, their scores as a curve, the kept ones marked; a click seeks.

import { clock, draw, make } from "./dom.js";

const HEIGHT = 64;
const MARGIN = 9;

export class Timeline {
  /** Draws into `root`; calls `onSeek(seconds, number)`. */
  constructor(root, onSeek) {
    this.root = root;
    this.onSeek = onSeek;
    this.frames = [];
    new ResizeObserver(() => this.#drawCurve()).observe(root);
  }

  /** Room for frames that are still to come. */
  wait(number) {
    this.frames = [];
    const places = Array.from({ length: number }, () => make("span", { class: "frame waiting" }));
    this.#place(
      make("div", { class: "curve" }),
      make("div", { class: "strip" }, ...places),
      number,
    );
  }

  /** Nothing at all. */
  clear() {
    this.frames = [];
    this.root.replaceChildren();
  }

  /** Show what the server says of a video. */
  show(video) {
    this.frames = distinct(video);
    const buttons = this.frames.map((frame, number) => this.#button(frame, number));
    const strip = make(
      "div",
      {
        class: "strip",
        role: "group",
        "aria-label": "Sampled frames",
        onkeydown: (e) => this.#move(e),
      },
      ...buttons,
    );
    this.curve = make("div", { class: "curve" });
    this.buttons = buttons;
    this.#place(this.curve, strip, this.frames.length);
    this.#drawCurve();
  }

  #place(curve, strip, number) {
    const track = make("div", { class: "track" }, curve, strip);
    track.style.setProperty("--frames", number);
    this.root.replaceChildren(track);
  }

  #button(frame, number) {
    const kept = frame.kept ? "kept key frame" : "not kept";
    const label = `Frame ${number + 1} at ${frame.time.toFixed(2)} seconds, ${kept}, score ${frame.score.toFixed(1)}`;
    return make(
      "button",
      {
        type: "button",
        class: frame.kept ? "frame kept" : "frame",
        "aria-label": label,
        title: `${frame.time.toFixed(2)} s · score ${frame.score.toFixed(1)} · ${kept}`,
        tabindex: number ? "-1" : "0",
        onclick: () => this.#choose(number),
      },
      make("img", { src: frame.picture, alt: "", draggable: false }),
      make("span", { class: "when", "aria-hidden": "true" }, stamp(frame.time, this.frames)),
    );
  }

  #choose(number) {
    this.#focusable(number);
    this.onSeek(this.frames[number].time, number);
  }

  #focusable(number) {
    this.buttons.forEach((button, at) => (button.tabIndex = at === number ? 0 : -1));
  }

  #move(event) {
    const now = this.buttons.indexOf(event.target);
    const last = this.buttons.length - 1;
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
    if (now < 0 || to === undefined || to < 0 || to > last) return;
    event.preventDefault();
    this.#focusable(to);
    this.buttons[to].focus();
  }

  /** Mark where the video is, and the frame that shows it. */
  setTime(time) {
    this.time = time;
    if (!this.frames.length || !this.head) return;
    const current = Math.max(
      0,
      this.frames.findLastIndex((frame) => frame.time <= time + 0.02),
    );
    this.buttons.forEach((button, at) =>
      at === current
        ? button.setAttribute("aria-current", "true")
        : button.removeAttribute("aria-current"),
    );
    const x = this.#position(time, current) * (this.width / this.frames.length);
    this.head.setAttribute("transform", `translate(${x.toFixed(1)} 0)`);
  }

  /** In columns; a frame's own time is the middle of its column. */
  #position(time, current) {
    const here = this.frames[current];
    const next = this.frames[current + 1];
    if (time < here.time) return current + 0.5;
    const span = next
      ? next.time - here.time
      : this.frames.length > 1
        ? here.time - this.frames[current - 1].time
        : 1;
    const share = Math.min(next ? 1 : 0.5, (time - here.time) / (span || 1));
    return current + 0.5 + share;
  }

  #drawCurve() {
    if (!this.frames.length) return;
    this.width = this.curve.clientWidth;
    const column = this.width / this.frames.length;
    const points = heights(this.frames).map((share, at) => [
      (at + 0.5) * column,
      HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN),
    ]);
    const line = smooth(points);
    const svg = draw("svg", {
      width: this.width,
      height: HEIGHT,
      role: "img",
      "aria-label": this.#summary(),
    });
    const [first, last] = [points[0], points[points.length - 1]];
    svg.append(
      draw("path", { class: "area", d: `${line} L${last[0]} ${HEIGHT} L${first[0]} ${HEIGHT} Z` }),
      draw("path", { class: "line", d: line }),
    );
    points.forEach(([cx, cy], at) => {
      const kept = this.frames[at].kept;
      svg.append(draw("circle", { class: kept ? "dot kept" : "dot", cx, cy, r: kept ? 4.5 : 2.5 }));
    });
    this.head = draw("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: HEIGHT });
    svg.append(this.head);
    this.curve.replaceChildren(svg);
    this.setTime(this.time ?? 0);
  }

  #summary() {
    const kept = this.frames.filter((frame) => frame.kept).map((frame) => frame.time.toFixed(1));
    return `Attention scores of ${this.frames.length} frames; kept at ${kept.join(", ")} seconds`;
  }
}

/** The frames without the repetitions that fill up a short video. */
function distinct(video) {
  const frames = video.frame_times.map((time, at) => ({
    time,
    score: video.frame_scores[at],
    picture: video.frames[at],
    kept: video.kept_frames.includes(at),
  }));
  const last = frames.findIndex((frame) => frame.time === frames[frames.length - 1].time);
  const rest = frames.slice(last);
  frames[last].kept = rest.some((frame) => frame.kept);
  return frames.slice(0, last + 1);
}

/** A time as short as it may be and still differ from its neighbours'. */
function stamp(time, frames) {
  const span = frames[frames.length - 1].time - frames[0].time;
  const step = span / Math.max(1, frames.length - 1);
  if (time >= 100 || step >= 10) return clock(time);
  return time.toFixed(step < 0.5 ? 2 : 1);
}

/** Scores as shares of the height. */
function heights(frames) {
  const scores = frames.map((frame) => frame.score);
  const [least, most] = [Math.min(...scores), Math.max(...scores)];
  return scores.map((score) => (most > least ? (score - least) / (most - least) : 0.5));
}

/** A curve through all points that overshoots none of them. */
function smooth(points) {
  return points.reduce((path, [x, y], at) => {
    if (!at) return `M${x} ${y}`;
    const [beforeX, beforeY] = points[at - 1];
    const middle = (beforeX + x) / 2;
    return `${path} C${middle} ${beforeY} ${middle} ${y} ${x} ${y}`;
  }, "");
}
