// Which model answers, and whether it is ready.
import { health, key, models, ServerError } from "./api.js";
import { $ } from "./page.js";

const AGAIN_MS = 1000;

export class Server {
  model = "";

  /** Looks until the server is ready, then stops: a failed request begins it anew. */
  async watch() {
    clearTimeout(this.timer);
    try {
      const state = await health();
      if (state === "ready") {
        [this.model] = await models();
        this.#show("ready", "ready");
        return;
      }
      this.#show("loading", "loading the model");
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (error.status === 401) {
        this.askForKey();
        return;
      }
      this.#show("gone", error.status === 0 ? "can't be reached" : error.message);
    }
    this.timer = setTimeout(() => this.watch(), AGAIN_MS);
  }

  askForKey() {
    this.#show("locked", key.get() ? "key refused" : "needs a key");
    $("key-form").hidden = false;
    $("key").focus();
  }

  #show(state, text) {
    $("state").dataset.state = state;
    $("model").textContent = this.model;
    $("state-text").textContent = text;
  }
}
