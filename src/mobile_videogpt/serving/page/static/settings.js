// What the user may choose, kept in the browser; the dialog that shows it.

import { key } from "./api.js";
import { byId, make, showAlert } from "./dom.js";

const STORED = "settings";
const FIRST = { frames: null, temperature: 0, maxTokens: 128 };

class Settings extends EventTarget {
  constructor() {
    super();
    this.values = { ...FIRST, ...restore() };
    // A part belongs to one video, so it is not kept.
    this.part = { from: null, to: null };
    this.mostFrames = 16;
  }

  /** Which frames the model looks at, as the API calls it. */
  sampling() {
    const { frames } = this.values;
    return {
      num_frames: frames && frames < this.mostFrames ? frames : null,
      start: this.part.from,
      end: this.part.to,
    };
  }

  /** How answers are written. */
  generation() {
    return { temperature: this.values.temperature, max_tokens: this.values.maxTokens };
  }

  /** Look at all of the next video. */
  forgetPart() {
    this.part = { from: null, to: null };
    byId("from").value = byId("to").value = "";
  }

  /** Take what is known of the model. */
  describe(model) {
    const { engine, dtype, device, num_frames } = model.mobile_videogpt;
    this.mostFrames = num_frames;
    const facts = { Model: model.id, Engine: engine, Numbers: dtype, Device: device };
    byId("facts").replaceChildren(
      ...Object.entries(facts).map(([name, value]) =>
        make("div", {}, make("dt", {}, name), make("dd", {}, value)),
      ),
    );
    if (!byId("settings").open) this.show();
  }

  /** Connect the dialog. */
  connect() {
    const dialog = byId("settings");
    byId("open-settings").addEventListener("click", () => this.open());
    byId("reset").addEventListener("click", () => {
      this.values = { ...FIRST };
      this.forgetPart();
      this.show();
    });
    dialog.addEventListener("input", () => this.#showNumbers());
    dialog.addEventListener("close", () => this.#take());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    addEventListener("key-wanted", () => {
      const text = key.get()
        ? "The server does not know this key."
        : "This server wants an API key.";
      this.open(text);
    });
    this.show();
  }

  /** Show the dialog; with a sentence, to ask for a key. */
  open(text = null) {
    showAlert(byId("key-error"), text);
    this.show();
    if (!byId("settings").open) byId("settings").showModal();
    if (text) byId("key").focus();
  }

  /** Put the values into the fields. */
  show() {
    const { frames, temperature, maxTokens } = this.values;
    byId("frames").max = this.mostFrames;
    byId("frames").value = frames ?? this.mostFrames;
    byId("temperature").value = temperature;
    byId("max-tokens").value = maxTokens;
    byId("key").value = key.get();
    this.#showNumbers();
  }

  #showNumbers() {
    const temperature = Number(byId("temperature").value);
    byId("frames-shown").textContent = byId("frames").value;
    byId("temperature-shown").textContent = temperature
      ? temperature.toFixed(1)
      : "0: the likeliest words";
  }

  #take() {
    const before = JSON.stringify(this.sampling());
    const hadKey = key.get();
    const frames = Number(byId("frames").value);
    this.values = {
      frames: frames < this.mostFrames ? frames : null,
      temperature: Number(byId("temperature").value),
      maxTokens: within(byId("max-tokens"), FIRST.maxTokens),
    };
    this.part = { from: within(byId("from"), null), to: within(byId("to"), null) };
    key.set(byId("key").value.trim());
    localStorage.setItem(STORED, JSON.stringify(this.values));
    if (key.get() !== hadKey) this.dispatchEvent(new Event("key"));
    else if (JSON.stringify(this.sampling()) !== before) this.dispatchEvent(new Event("sampling"));
  }
}

/** The number in a field, or another where it holds none that is allowed. */
function within(field, otherwise) {
  return field.value !== "" && field.checkValidity() ? Number(field.value) : otherwise;
}

function restore() {
  try {
    return JSON.parse(localStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}

export const settings = new Settings();
