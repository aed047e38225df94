// The Ask tab: a conversation about one sound.
import { chat } from "./api.js";
import { $, element, say } from "./page.js";
import { base64 } from "./sound.js";
import { timings } from "./timings.js";

export class Ask {
  /** `sound()` promises, and `model()` gives, what is current; `failed(error)` shows what went wrong. */
  constructor({ sound, model, failed }) {
    Object.assign(this, { sound, model, failed });
    this.turns = [];         // {role, content}, as the API wants them
    this.controller = null;  // of the answer under way
    $("ask-form").addEventListener("submit", (event) => { event.preventDefault(); this.send(); });
    $("question").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      $("ask-form").requestSubmit();
    });
    $("stop-ask").addEventListener("click", () => this.controller?.abort());
    $("new").addEventListener("click", () => { this.reset(); $("question").focus(); });
    for (const chip of document.querySelectorAll(".chip")) {
      chip.addEventListener("click", () => { $("question").value = chip.textContent; $("ask-form").requestSubmit(); });
    }
  }

  /** Forgets the conversation, and stops what is under way. */
  reset() {
    this.controller?.abort();
    this.turns = [];
    $("turns").replaceChildren();
    $("hints").hidden = false;
    $("new").hidden = true;
    say("talk-alert");
  }

  async send() {
    if (this.busy) return;
    this.#busy(true);
    say("talk-alert");
    const sound = await this.sound();
    if (sound) await this.#ask(sound, $("question").value.trim() || $("question").placeholder);
    else say("talk-alert", "There is no sound yet: record one, or choose a file.");
    this.#busy(false);
  }

  async #ask(sound, text) {
    const turn = this.#open(text);
    const turns = this.turns, controller = new AbortController();
    this.controller = controller;
    try {
      const content = [{ type: "text", text }];
      if (!turns.length) content.push({ type: "input_audio", input_audio: { data: await base64(sound.file), format: "wav" } });
      turns.push({ role: "user", content });
      $("question").value = "";
      await this.#read(turn, turns, controller.signal);
      turns.push({ role: "assistant", content: turn.text });
    } catch (error) {
      this.#ended(turn, turns, text, error);
    } finally {
      turn.answer.removeAttribute("aria-busy");
      this.controller = null;
    }
  }

  /** Streams one answer into its turn. */
  async #read(turn, turns, signal) {
    const request = {
      model: this.model(), messages: turns,
      max_tokens: Number($("max-tokens").value), temperature: Number($("temperature").value),
    };
    for await (const chunk of chat(request, signal)) {
      const text = chunk.choices?.[0]?.delta?.content;
      if (text) this.#grow(turn, text);
      if (chunk.usage) turn.answer.append(timings(chunk));
    }
    if (!turn.text) turn.body.textContent = "(The model gave no text.)";
    this.#toEnd();
  }

  /** What the user stopped stays, and so does its part in the conversation; what failed leaves it and goes back to the field. */
  #ended(turn, turns, text, error) {
    if (error.name === "AbortError") {
      turn.answer.append(element("p", "stopped", "Stopped."));
      if (turn.text) turns.push({ role: "assistant", content: turn.text });
      else turns.pop();
      return;
    }
    turns.pop();
    turn.block.remove();
    $("question").value ||= text;
    $("hints").hidden = turns.length > 0;
    this.failed(error);
  }

  #open(question) {
    const body = element("p", "text");
    const answer = element("div", "answer", body);
    answer.setAttribute("aria-busy", "true");  // read out once it is whole, not word by word
    const block = element("article", "turn", element("p", "asked", question), answer);
    $("turns").append(block);
    $("hints").hidden = true;
    this.#toEnd();
    return { block, answer, body, text: "" };
  }

  #grow(turn, text) {
    turn.text += text;
    turn.body.textContent = turn.text;
    this.#toEnd();
  }

  #toEnd() { $("turns").scrollTop = $("turns").scrollHeight; }

  #busy(busy) {
    this.busy = busy;
    $("send").hidden = busy;
    $("stop-ask").hidden = !busy;
    $("new").hidden = busy || !this.turns.length;
    const lost = document.activeElement === document.body;  // the button that was pressed is gone
    if (lost && busy) $("stop-ask").focus();
    if (lost && !busy) $("send").focus();
  }
}
