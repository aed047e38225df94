// Where the sound comes from, the picture of it, and playing it.
import { clock, duration as written } from "./axes.js";
import { $, say } from "./page.js";
import { Player } from "./player.js";
import { MicrophoneError, Recorder } from "./recorder.js";
import { megabytes, openSound, wav } from "./sound.js";
import { View } from "./view.js";

const LIVE_S = 10;        // how much of a recording is seen while it goes on
const LIVE_MS = 200;
const LONGEST_S = 600;    // of a recording: its samples are held in memory
const SILENCE = 1e-4;     // a recording that never rises above is a muted microphone

export class Source {
  sound = null;
  recorder = null;

  /** `onChange()` whenever there is another sound, `onTime(seconds)` as it plays. */
  constructor(onChange, onTime) {
    Object.assign(this, { onChange, onTime });
    this.view = new View({ box: $("view"), canvas: $("picture"), cursor: $("cursor"), readout: $("readout") });
    this.player = new Player($("audio"), (seconds) => this.#at(seconds), (playing) => {
      $("play").dataset.playing = playing;
      $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    });
    this.view.onDrawn = () => this.#at(this.player.time);
    this.#files();
    this.#seeking();
    $("record").addEventListener("click", () => (this.recorder ? this.#stop() : this.#record()));
    $("play").addEventListener("click", () => this.player.toggle());
  }

  /** The sound to send, or null. A recording under way ends here: who asks means what was said so far. */
  async current() {
    if (this.recorder) await this.#stop();
    return this.sound;
  }

  playFrom(seconds) {
    if (this.sound.samples) return this.player.playFrom(seconds);
    say("sound-alert", "This browser can't decode the sound, so it can't play it.");
  }

  /** Takes a file as the page's sound. */
  async open(file) {
    say("sound-alert");
    this.player.load(null);
    $("sound-title").textContent = file.name;
    $("sound-facts").textContent = "Reading…";
    this.opening = file;
    const sound = await openSound(file);
    if (this.opening !== file) return;  // another was chosen meanwhile
    this.sound = sound;
    const { samples, duration, channels } = sound;
    const facts = [megabytes(file.size)];
    if (samples) facts.unshift(written(duration), channels === 1 ? "mono" : `${channels} channels`, peak(samples));
    $("sound-facts").textContent = facts.join(" · ");
    say("sound-note", sound.why);
    this.#picture(Boolean(samples));
    $("length").textContent = written(duration ?? 0);
    $("seek").setAttribute("aria-valuemax", (duration ?? 0).toFixed(2));
    if (samples) {
      this.player.load(file);
      this.view.show(samples, sound.rate);
      this.#at(0);
    } else this.view.clear();
    this.onChange();
  }

  #picture(there) {
    $("view").dataset.empty = !there;
    $("invite").hidden = there;
    $("seek").hidden = !there;
    $("play").disabled = !there;
  }

  #files() {
    for (const id of ["choose", "invite"]) $(id).addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      const [file] = $("file").files;
      $("file").value = "";  // so that the same file can be chosen again
      if (file) this.#take(file);
    });
    const over = (on) => $("view").classList.toggle("over", on);
    document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) over(false); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      const [file] = event.dataTransfer.files;
      if (file) this.#take(file);
    });
  }

  #take(file) {
    if (this.recorder) say("sound-alert", "A recording is under way: stop it first.");
    else this.open(file);
  }

  #seeking() {
    const bar = $("seek");
    const to = (event) => this.player.seek(this.view.seconds(event.clientX - $("view").getBoundingClientRect().left));
    bar.addEventListener("pointerdown", (event) => { bar.setPointerCapture(event.pointerId); to(event); });
    bar.addEventListener("pointermove", (event) => { if (bar.hasPointerCapture(event.pointerId)) to(event); });
    bar.addEventListener("keydown", (event) => {
      const step = Math.max(0.1, this.sound.duration / 50);
      const places = {
        ArrowRight: this.player.time + step, ArrowLeft: this.player.time - step, Home: 0, End: this.sound.duration,
      };
      if (!(event.key in places)) return;
      this.player.seek(places[event.key]);
      event.preventDefault();
    });
    document.addEventListener("keydown", (event) => {
      const free = [bar, document.body].includes(document.activeElement);  // no button or field that wants the key
      if (event.key !== " " || !free || $("play").disabled) return;
      this.player.toggle();
      event.preventDefault();
    });
  }

  #at(seconds) {
    this.view.moveCursor(seconds);
    if (this.recorder) return;
    this.onTime(this.player.playing ? seconds : NaN);
    $("now").textContent = clock(seconds);
    $("seek").setAttribute("aria-valuenow", seconds.toFixed(2));
    $("seek").setAttribute("aria-valuetext", `${written(seconds)} of ${$("length").textContent}`);
  }

  async #record() {
    say("sound-alert");
    $("record").disabled = true;  // while the browser asks for leave
    try {
      this.recorder = await Recorder.start(() => this.#stop());
    } catch (error) {
      if (!(error instanceof MicrophoneError)) throw error;
      say("sound-alert", error.message);
      return;
    } finally {
      $("record").disabled = false;
    }
    this.player.load(null);
    this.sound = null;
    this.onChange();
    this.#recording(true);
    this.ticking = setInterval(() => this.#tick(), LIVE_MS);
  }

  #tick() {
    const { recorder } = this, latest = recorder.latest(LIVE_S);
    this.view.show(latest, recorder.rate, { start: Math.max(0, recorder.seconds - LIVE_S), live: true });
    $("sound-facts").textContent = recorder.seconds < 60 ? `${clock(recorder.seconds, 1)} s` : clock(recorder.seconds);
    if (recorder.seconds >= LONGEST_S) {
      this.#stop().then(() => say("sound-note", `The recording ended at ${LONGEST_S / 60} minutes, the most that is kept here.`));
    }
  }

  async #stop() {
    const { recorder } = this;
    clearInterval(this.ticking);
    this.recorder = null;
    const samples = await recorder.stop();
    this.#recording(false);
    if (!samples.length) {
      $("sound-title").textContent = "No sound yet";
      say("sound-alert", "Nothing was recorded: press Record again, and Stop once the picture moves.");
      return;
    }
    await this.open(wav(samples, recorder.rate, "recording.wav"));
    if (samples.every((one) => Math.abs(one) < SILENCE)) {
      say("sound-alert", "The recording is silent: see whether the microphone is muted, then record again.");
    }
  }

  #recording(on) {
    $("record").setAttribute("aria-pressed", on);
    $("record-text").textContent = on ? "Stop" : "Record";
    $("choose").disabled = on;
    this.#picture(on);
    $("seek").hidden = $("play").disabled = on || !this.sound?.samples;
    if (on) {
      say("sound-note");
      $("sound-title").textContent = "Recording";
      $("sound-facts").textContent = "0.0 s";
      $("length").textContent = "0.00 s";
    }
  }
}

/** The level of the loudest sample: the picture is scaled to fit, so it doesn't show it. */
function peak(samples) {
  const highest = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
  return highest > 0 ? `peak ${(20 * Math.log10(highest)).toFixed(1).replace("-", "−")} dB` : "silent";
}
