// A conversation about one video: what is sent to the server, and what is kept of its answers.

import { ApiError, given, stream } from "./api.js";

export class Dialogue {
  /** `video` is a `Video`: its file's id, its name, and what the server saw. */
  constructor(video) {
    this.video = video;
    this.turns = [];
  }

  /** Ask; calls `onText(turn)` as the answer grows. The turn holds what came of it. */
  async ask(question, { sampling, generation, onText, signal }) {
    const turn = { question, answer: "", state: "running", asked_at: new Date().toISOString() };
    const messages = this.messages(question, sampling);
    this.turns.push(turn);
    const began = performance.now();
    try {
      for await (const event of stream({ messages, ...generation }, signal)) {
        this.#note(turn, event, began);
        onText(turn);
      }
      turn.state = "done";
    } catch (error) {
      turn.state = error.name === "AbortError" ? "stopped" : "failed";
      turn.error = turn.state === "failed" ? error : undefined;
    }
    return turn;
  }

  #note(turn, event, began) {
    const choice = event.choices[0];
    if (choice?.delta.content) {
      turn.first_text_s ??= (performance.now() - began) / 1000;
      turn.answer += choice.delta.content;
    }
    if (choice?.finish_reason) turn.finish_reason = choice.finish_reason;
    if (!event.mobile_videogpt) return;
    turn.model = event.model;
    turn.usage = event.usage;
    turn.timings = event.mobile_videogpt.timings;
    turn.video_reused = event.mobile_videogpt.videos.every((video) => video.reused);
  }

  /** The messages of the next request: the video stands in the first question. */
  messages(question, sampling) {
    const said = this.turns.filter((turn) => turn.answer);
    const texts = said.flatMap((turn) => [
      { role: "user", content: turn.question },
      { role: "assistant", content: turn.answer },
    ]);
    texts.push({ role: "user", content: question });
    const video = { type: "video_url", video_url: { url: this.video.id, ...given(sampling) } };
    texts[0] = { role: "user", content: [video, { type: "text", text: texts[0].content }] };
    return texts;
  }

  /** Forget the last turn, to ask it again. */
  dropLast() {
    return this.turns.pop();
  }

  /** Everything, as a document to keep. */
  document(settings) {
    const { name, size, seen } = this.video;
    const video = { ...seen };
    delete video.frames; // they are in the file
    return {
      model: this.turns.find((turn) => turn.model)?.model,
      saved_at: new Date().toISOString(),
      video: { name, bytes: size, ...video },
      settings,
      turns: this.turns.map(({ error, ...turn }) => ({
        ...turn,
        ...(error && { error: error.message }),
      })),
    };
  }
}

/** Whether the server has forgotten an upload, so that it must be sent again. */
export const isForgotten = (error) => error instanceof ApiError && error.code === "file_not_found";
