// The conversation: questions, answers as they stream, and what they cost.

import { Dialogue, isForgotten } from "./dialogue.js";
import { announce, byId, icon, make, saveJson } from "./dom.js";
import { settings } from "./settings.js";
import { Turn } from "./turn.js";

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
    byId("restart").addEventListener("click", () =>
      this.begin(this.dialogue.video, this.suggested),
    );
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
    return make(
      "p",
      { class: "welcome" },
      "Ask what you like. The video is read once; each answer starts from there.",
    );
  }

  #suggest() {
    const asked = new Set(this.dialogue.turns.map((turn) => turn.question));
    const left = this.suggested.filter((question) => !asked.has(question));
    byId("suggestions").replaceChildren(
      ...left.map((text) =>
        make("button", { type: "button", class: "chip", onclick: () => this.ask(text) }, text),
      ),
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
    const entry = new Turn(question, (text) => this.#retry(text));
    byId("log").querySelector(".welcome")?.remove();
    byId("log").append(entry.root);
    this.#update();
    scrollDown();
    let turn;
    try {
      await Promise.race([this.#looked(), aborted(signal)]);
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

  /** Wait until the model has looked, also when it begins anew meanwhile. */
  async #looked() {
    for (;;) {
      const { ready } = this.stage;
      try {
        return await ready;
      } catch (error) {
        if (this.stage.ready === ready) throw error;
      }
    }
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
