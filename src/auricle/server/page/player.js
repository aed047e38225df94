// Playing: an audio element, whose place in time is reported at every frame while it plays.

export class Player {
  /** `onTime(seconds)` whenever the place changes, `onState(playing)` when it begins or ends. */
  constructor(element, onTime, onState) {
    this.element = element;
    this.onTime = onTime;
    element.addEventListener("play", () => { onState(true); this.#follow(); });
    for (const name of ["pause", "ended"]) element.addEventListener(name, () => onState(false));
    element.addEventListener("seeked", () => onTime(element.currentTime));
  }

  /** Another sound; null for none. */
  load(file) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.element.pause();
    this.url = file ? URL.createObjectURL(file) : null;
    if (file) this.element.src = this.url;
    else this.element.removeAttribute("src");
    this.onTime(0);
  }

  get playing() { return !this.element.paused && !this.element.ended; }

  get time() { return this.element.currentTime; }

  seek(seconds) { this.element.currentTime = Math.max(0, seconds); }

  toggle() { return this.element.paused ? this.#play() : this.element.pause(); }

  playFrom(seconds) {
    this.seek(seconds);
    return this.#play();
  }

  async #play() {
    try {
      await this.element.play();
    } catch (error) {
      if (error.name !== "AbortError") throw error;  // paused, or another sound, before it had begun
    }
  }

  #follow() {
    if (this.element.paused) return;
    this.onTime(this.element.currentTime);
    requestAnimationFrame(() => this.#follow());
  }
}
