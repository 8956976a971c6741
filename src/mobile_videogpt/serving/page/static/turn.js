// One question with its answer: how it grows, what it cost, and why it came so soon.

import { announce, copyText, count, icon, make, seconds } from "./dom.js";

/** One question with its answer. */
export class Turn {
  /** `onRetry(question)` asks it again. */
  constructor(question, onRetry) {
    this.onRetry = onRetry;
    this.text = make(
      "p",
      { class: "answer-text thinking" },
      make("span", { class: "dots", "aria-label": "Waiting" }),
    );
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
    if (turn.state === "stopped")
      box.append(
        make("p", { class: "note" }, turn.answer ? "Stopped." : "Stopped before the first word."),
      );
    if (turn.finish_reason === "length")
      box.append(
        make("p", { class: "note" }, "Cut at the longest answer that the settings allow."),
      );
    if (turn.usage) box.append(this.#cost(turn, dialogue));
  }

  #failure(turn) {
    const again = make(
      "button",
      { type: "button", class: "button", onclick: () => this.onRetry(turn.question) },
      "Try again",
    );
    return make(
      "div",
      { class: "alert", role: "alert" },
      make("span", {}, turn.error.message),
      again,
    );
  }

  #cost(turn, dialogue) {
    const { timings, usage } = turn;
    const facts = make(
      "p",
      { class: "facts-line" },
      fact(
        "first token",
        seconds(turn.first_text_s ?? timings.first_token_s),
        "From the click to the first word in this browser",
      ),
      timings.tokens_per_second
        ? fact("tokens/s", timings.tokens_per_second.toFixed(0), "While the answer was written")
        : null,
      fact(
        usage.completion_tokens === 1 ? "token" : "tokens",
        usage.completion_tokens,
        "Length of the answer",
      ),
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
  const saved =
    isReused && took && !dialogue.video.seen.reused
      ? ` Reading it took ${seconds(took)}, once.`
      : "";
  return make(
    "p",
    { class: "reuse" },
    icon("bolt"),
    make("span", { class: "reuse-bar", "aria-hidden": "true" }, bar),
    make("span", {}, text + saved),
  );
}

function copyButton(text) {
  const button = make(
    "button",
    {
      type: "button",
      class: "icon-button small-button",
      "aria-label": "Copy the answer",
      title: "Copy",
    },
    icon("copy"),
  );
  button.addEventListener("click", async () => {
    const worked = await copyText(text);
    announce(worked ? "Copied" : "The browser does not let the page copy");
    if (!worked) return;
    button.replaceChildren(icon("check"));
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}
