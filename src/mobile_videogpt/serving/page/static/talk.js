// The conversation: questions, answers as they stream, and what they cost.

import { Dialogue, isForgotten } from "./dialogue.js";
import { announce, byId, copyText, count, icon, make, saveJson, seconds } from "./dom.js";
import { settings } from "./settings.js";

const GENERAL = ["What happens?", "Which objects can be seen?", "How many objects are moving?"];

export class Talk {
  constructor(stage) {
    this.stage = stage;
    this.dialogue = null;
    this.stopping = null;
    const question = byId("question");
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.stopping) this.stop();
      else this.#submit();
    });
    question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.stopping) this.#submit();
    });
    question.addEventListener("input", () => fit(question));
    byId("restart").addEventListener("click", () => this.begin(this.dialogue.video, this.suggested));
    byId("download").addEventListener("click", () => this.#download());
  }

  /** A new conversation about a video. */
  begin(video, suggested = GENERAL) {
    this.stop();
    this.stopping = null; // what was asked before tells nobody any more
    this.dialogue = new Dialogue(video);
    this.suggested = suggested;
    byId("log").replaceChildren(this.#welcome());
    this.#suggest();
    this.#update();
    byId("question").value = "";
    fit(byId("question"));
  }

  #welcome() {
    return make("p", { class: "welcome" }, "Ask what you like. The video is read once; each answer starts from there.");
  }

  #suggest() {
    const asked = new Set(this.dialogue.turns.map((turn) => turn.question));
    const left = this.suggested.filter((question) => !asked.has(question));
    byId("suggestions").replaceChildren(
      ...left.map((text) => make("button", { type: "button", class: "chip", onclick: () => this.ask(text) }, text)),
    );
  }

  #submit() {
    const field = byId("question");
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    fit(field);
    this.ask(text);
  }

  /** Ask, and show what comes. */
  async ask(question) {
    if (this.stopping || !this.dialogue) return;
    this.stopping = new AbortController();
    const { dialogue } = this;
    const { signal } = this.stopping;
    const entry = new Entry(question, (text) => this.#retry(text));
    byId("log").querySelector(".welcome")?.remove();
    byId("log").append(entry.root);
    this.#update();
    scrollDown();
    let turn = null;
    try {
      await Promise.race([this.stage.ready, aborted(signal)]);
      turn = await this.#ask(dialogue, question, signal, entry);
    } catch (error) {
      turn = { question, answer: "", state: signal.aborted ? "stopped" : "failed", error };
    }
    if (dialogue !== this.dialogue) return;
    this.stopping = null;
    entry.finish(turn, dialogue);
    announce(turn.state === "done" ? `Answer: ${turn.answer}` : "");
    this.#suggest();
    this.#update();
    scrollDown();
  }

  async #ask(dialogue, question, signal, entry) {
    const options = {
      sampling: settings.sampling(),
      generation: settings.generation(),
      signal,
      onText: (turn) => {
        entry.grow(turn);
        scrollDown();
      },
    };
    const turn = await dialogue.ask(question, options);
    if (!turn.error || !isForgotten(turn.error)) return turn;
    // The server forgets uploads that nobody uses: the page still has the file.
    dialogue.dropLast();
    await this.stage.look();
    return dialogue.ask(question, options);
  }

  #retry(question) {
    if (this.stopping) return;
    const { turns } = this.dialogue;
    if (turns.at(-1)?.state === "failed") this.dialogue.dropLast();
    byId("log").lastElementChild?.remove();
    if (this.stage.video && !this.stage.video.seen) this.stage.look();
    this.ask(question);
  }

  /** Stop the answer that is under way. */
  stop() {
    this.stopping?.abort();
  }

  #update() {
    const isBusy = this.stopping !== null;
    const send = byId("send");
    send.replaceChildren(icon(isBusy ? "stop" : "send"));
    send.setAttribute("aria-label", isBusy ? "Stop" : "Ask");
    send.title = isBusy ? "Stop (Esc)" : "Ask (Enter)";
    byId("suggestions").hidden = isBusy;
    const isEmpty = !this.dialogue?.turns.length;
    byId("restart").disabled = byId("download").disabled = isBusy || isEmpty;
  }

  #download() {
    const chosen = { ...settings.sampling(), ...settings.generation() };
    saveJson("conversation.json", this.dialogue.document(chosen));
  }
}

/** One question with its answer. */
class Entry {
  constructor(question, onRetry) {
    this.onRetry = onRetry;
    this.text = make("p", { class: "answer-text thinking" }, make("span", { class: "dots", "aria-label": "Waiting" }));
    this.root = make(
      "article",
      { class: "turn" },
      make("p", { class: "question-text" }, question),
      make("div", { class: "answer" }, this.text),
    );
  }

  grow(turn) {
    if (!turn.answer) return;
    this.text.classList.remove("thinking");
    this.text.classList.add("growing");
    this.text.textContent = turn.answer;
  }

  finish(turn, dialogue) {
    this.text.classList.remove("thinking", "growing");
    this.text.textContent = turn.answer;
    const box = this.root.querySelector(".answer");
    if (turn.state === "failed") box.append(this.#failure(turn));
    if (turn.state === "stopped") box.append(make("p", { class: "note" }, turn.answer ? "Stopped." : "Stopped before the first word."));
    if (turn.finish_reason === "length") box.append(make("p", { class: "note" }, "Cut at the longest answer that the settings allow."));
    if (turn.usage) box.append(this.#cost(turn, dialogue));
  }

  #failure(turn) {
    const again = make("button", { type: "button", class: "button", onclick: () => this.onRetry(turn.question) }, "Try again");
    return make("div", { class: "alert", role: "alert" }, make("span", {}, turn.error.message), again);
  }

  #cost(turn, dialogue) {
    const { timings, usage } = turn;
    const facts = make(
      "p",
      { class: "facts-line" },
      fact("first token", seconds(turn.first_text_s ?? timings.first_token_s), "From the click to the first word in this browser"),
      timings.tokens_per_second ? fact("tokens/s", timings.tokens_per_second.toFixed(0), "While the answer was written") : null,
      fact(usage.completion_tokens === 1 ? "token" : "tokens", usage.completion_tokens, "Length of the answer"),
      copyButton(turn.answer),
    );
    return make("div", { class: "cost" }, facts, reuse(turn, dialogue));
  }
}

function fact(noun, number, title) {
  return make("span", { class: "fact", title }, make("b", {}, String(number)), ` ${noun}`);
}

/** Why the answer came at once: what of the prompt had been read before. */
function reuse(turn, dialogue) {
  const { prompt_tokens: all, prompt_tokens_details: details } = turn.usage;
  const cached = details.cached_tokens;
  const bar = make("span", { class: "bar-cached" });
  bar.style.setProperty("--share", `${(100 * cached) / all}%`);
  const took = dialogue.video.seen?.timings.total_s;
  const isReused = turn.video_reused && cached > 0;
  const text = isReused
    ? `The video was not read again: ${cached} of ${all} tokens were there already.`
    : `The video was read for this answer: ${count(all, "token")}.`;
  const saved = isReused && took && !dialogue.video.seen.reused ? ` Reading it took ${seconds(took)}, once.` : "";
  return make("p", { class: "reuse" }, icon("bolt"), make("span", { class: "reuse-bar", "aria-hidden": "true" }, bar), make("span", {}, text + saved));
}

function copyButton(text) {
  const button = make("button", { type: "button", class: "icon-button small-button", "aria-label": "Copy the answer", title: "Copy" }, icon("copy"));
  button.addEventListener("click", async () => {
    const worked = await copyText(text);
    announce(worked ? "Copied" : "The browser does not let the page copy");
    if (!worked) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

const aborted = (signal) =>
  new Promise((_, reject) =>
    signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError"))),
  );

/** Show the end of the conversation: in its own box, or on a phone in the page. */
function scrollDown() {
  const log = byId("log");
  log.scrollTop = log.scrollHeight;
  log.lastElementChild?.scrollIntoView({ block: "nearest" });
}

/** As high as its text. */
function fit(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, 160)}px`;
}
