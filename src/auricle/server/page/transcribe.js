// The Transcribe tab: pieces with their times, as they come.
import { transcription } from "./api.js";
import { clock } from "./axes.js";
import { $, element, say } from "./page.js";
import { save, writers } from "./subtitles.js";

export class Transcribe {
  /** `playFrom(seconds)` plays the sound; the rest as for Ask. */
  constructor({ sound, model, failed, playFrom }) {
    Object.assign(this, { sound, model, failed, playFrom });
    this.pieces = [];        // {start, end, text}
    this.controller = null;  // of the run under way
    $("transcribe").addEventListener("click", () => this.run());
    $("stop-transcribe").addEventListener("click", () => this.controller?.abort());
    $("copy").addEventListener("click", () => this.#copy());
    for (const button of document.querySelectorAll("[data-save]")) {
      button.addEventListener("click", () => this.#save(button.dataset.save));
    }
  }

  /** Forgets the transcript, and stops what is under way. */
  reset() {
    this.controller?.abort();
    this.pieces = [];
    $("pieces").replaceChildren();
    $("transcript-state").textContent = "";
    $("transcript-hint").hidden = false;
    $("saves").hidden = true;
  }

  async run() {
    if (this.busy) return;
    this.#busy(true);
    say("talk-alert");
    const sound = await this.sound();
    if (sound) await this.#transcribe(sound);
    else say("talk-alert", "There is no sound yet: record one, or choose a file.");
    this.#busy(false);
  }

  /** Marks the piece that is heard at this second. */
  at(seconds) {
    this.pieces.forEach(({ start, end }, i) => {
      const line = $("pieces").children[i];
      if (seconds >= start && seconds < end) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    });
  }

  async #transcribe(sound) {
    this.reset();
    this.sourceName = sound.file.name;
    const controller = new AbortController();
    this.controller = controller;
    try {
      await this.#read(sound, controller.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.failed(error);
      $("transcript-state").textContent = error.name === "AbortError" ? "Stopped." : "";
    } finally {
      this.coming?.remove();
      this.controller = null;
    }
  }

  async #read(sound, signal) {
    const began = performance.now();
    $("transcript-state").textContent = "Listening…";
    this.#expect();
    for await (const event of transcription(sound.file, this.model(), signal)) {
      if (event.type === "transcript.text.delta") this.comingText.textContent += event.delta;
      if (event.type === "transcript.text.segment") this.#settle(event);
    }
    const took = (performance.now() - began) / 1000, count = this.pieces.length;
    $("transcript-state").textContent = count
      ? `${count} ${count === 1 ? "piece" : "pieces"} in ${took.toFixed(2)} s`
      : "Nothing is said in this sound.";
  }

  /** A line for the piece that is being written. */
  #expect() {
    this.comingText = element("span", "text");
    this.coming = element("li", "piece coming", element("span", "time", "…"), this.comingText);
    this.coming.setAttribute("aria-hidden", "true");  // read out once it has its times
    $("pieces").append(this.coming);
  }

  #settle({ start, end, text }) {
    this.pieces.push({ start, end, text });
    const time = element("button", "time", clock(start, 1));
    time.type = "button";
    time.setAttribute("aria-label", `${clock(start, 1)}: play from here`);
    time.addEventListener("click", () => this.playFrom(start));
    this.coming.replaceWith(element("li", "piece", time, element("span", "text", text.trim())));
    this.#expect();
    $("pieces").scrollTop = $("pieces").scrollHeight;
  }

  #busy(busy) {
    this.busy = busy;
    $("transcribe").hidden = busy;
    $("stop-transcribe").hidden = !busy;
    if (document.activeElement === document.body) $(busy ? "stop-transcribe" : "transcribe").focus();
    $("transcript-hint").hidden = busy || this.pieces.length > 0;
    $("saves").hidden = busy || !this.pieces.length;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(writers.txt(this.pieces));
      $("transcript-state").textContent = "Copied.";
    } catch (error) {
      if (!(error instanceof TypeError || error.name === "NotAllowedError")) throw error;
      say("talk-alert", "The browser keeps the clipboard from this page: save it as .txt instead.");
    }
  }

  #save(kind) {
    const stem = this.sourceName.replace(/\.[^.]+$/, "");
    save(`${stem}.${kind}`, writers[kind](this.pieces));
  }
}
