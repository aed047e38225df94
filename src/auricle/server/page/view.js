// The picture of a sound: waveform above, spectrogram below, one time axis for both. Lengths are CSS pixels unless said.
import { duration as written, timeLabel, timeStep } from "./axes.js";
import { spectrogram, toHz, toMel } from "./fft.js";

const LEFT = 40, RIGHT = 14, TOP = 10, BOTTOM = 26;  // room for the axes' labels
const WAVE = 0.26, GAP = 12;                         // the waveform's part of the height, and the space below it
const TOP_HZ = 8000;                                 // what the models hear
const RANGE_DB = 72;                                 // quieter than this below the loudest point is background
const MARKS_HZ = [250, 500, 1000, 2000, 4000, 8000];
const LIVE_COLUMNS = 240;                            // while recording: drawn often, so with fewer columns

export class View {
  /** `parts`: the elements canvas, cursor and readout, and the box around them. */
  constructor(parts) {
    Object.assign(this, parts);
    this.sound = null;  // {samples, rate, duration, start}
    new ResizeObserver(() => this.#later()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.box.addEventListener("pointermove", (event) => this.#read(event));
    this.box.addEventListener("pointerleave", () => { this.readout.hidden = true; });
  }

  /** Draws samples in [-1, 1], (samples,); `start` is the time of the first, `live` while they still come. */
  show(samples, rate, { start = 0, live = false } = {}) {
    this.sound = { samples, rate, start, live, duration: samples.length / rate };
    this.readout.hidden = true;
    this.draw();
  }

  clear() {
    this.sound = null;
    this.cursor.hidden = this.readout.hidden = true;
    this.draw();
  }

  /** Where seconds lie, and which second lies at a distance from the left edge. */
  x(seconds) { return LEFT + ((seconds - this.sound.start) / this.sound.duration) * this.#width(); }
  seconds(x) {
    const part = Math.max(0, Math.min(1, (x - LEFT) / this.#width()));
    return this.sound.start + part * this.sound.duration;
  }

  moveCursor(seconds) {
    this.cursor.hidden = !this.sound || this.sound.live;
    if (!this.cursor.hidden) this.cursor.style.transform = `translateX(${this.x(Math.min(seconds, this.sound.duration))}px)`;
  }

  draw() {
    const scale = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = this.box;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const style = getComputedStyle(this.box);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = `11px ${style.fontFamily}`;
    const inner = height - TOP - BOTTOM - GAP;
    const wave = { x: LEFT, y: TOP, w: this.#width(), h: Math.round(inner * WAVE) };
    const bands = { x: LEFT, y: wave.y + wave.h + GAP, w: wave.w, h: inner - wave.h };
    this.bands = bands;
    this.#frames(pen, colour, wave, bands);
    if (!this.sound) return;
    if (this.sound.samples.length) {
      this.#spectrogram(pen, bands, scale, ["sgram-0", "sgram-1", "sgram-2", "sgram-3"].map(colour));
      this.#waveform(pen, wave, scale, colour("accent"));
    }
    this.#times(pen, colour, bands);
  }

  #width() { return Math.max(1, this.box.clientWidth - LEFT - RIGHT); }

  #later() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => { this.draw(); this.onDrawn?.(); });
  }

  #frames(pen, colour, wave, bands) {
    pen.fillStyle = colour("sgram-0");
    pen.fillRect(bands.x, bands.y, bands.w, bands.h);
    pen.fillStyle = colour("line");
    pen.fillRect(wave.x, wave.y + wave.h / 2 - 0.5, wave.w, 1);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const hz of MARKS_HZ) {
      const y = bands.y + bands.h * (1 - toMel(hz) / toMel(TOP_HZ));
      pen.fillStyle = colour("line");
      pen.fillRect(bands.x - 4, Math.round(y) - 0.5, 4, 1);
      pen.fillStyle = colour("soft");
      pen.fillText(hz / 1000, bands.x - 8, Math.max(y, bands.y + 5));
    }
    pen.textAlign = "left";
    pen.fillText("kHz", 2, bands.y - 6);
  }

  #times(pen, colour, bands) {
    const { start, duration } = this.sound, step = timeStep(duration, bands.w / 64);
    const y = bands.y + bands.h;
    pen.textBaseline = "top";
    pen.textAlign = "center";
    for (let i = Math.ceil(start / step - 1e-6); i * step <= start + duration + 1e-6; i++) {
      const x = this.x(i * step);
      pen.fillStyle = colour("line");
      pen.fillRect(Math.round(x) - 0.5, y, 1, 4);
      pen.fillStyle = colour("soft");
      if (x < bands.x + bands.w - 28) pen.fillText(timeLabel(i * step, step), x, y + 8);
    }
    pen.textAlign = "right";
    pen.fillText(duration < 60 ? "s" : "min", bands.x + bands.w, y + 8);
  }

  /** For each device pixel a line from the lowest to the highest sample, scaled so that a quiet sound is seen too. */
  #waveform(pen, { x, y, w, h }, scale, colour) {
    const { samples } = this.sound, columns = Math.round(w * scale);
    const extremes = new Float32Array(2 * columns);
    let peak = 0.02;  // below this it is drawn small, as the near-silence it is
    for (let column = 0; column < columns; column++) {
      const from = Math.floor((column * samples.length) / columns);
      const to = Math.max(from + 1, Math.floor(((column + 1) * samples.length) / columns));
      let low = samples[from], high = low;
      for (let i = from + 1; i < to; i++) {
        if (samples[i] < low) low = samples[i];
        else if (samples[i] > high) high = samples[i];
      }
      extremes[2 * column] = low;
      extremes[2 * column + 1] = high;
      peak = Math.max(peak, -low, high);
    }
    pen.fillStyle = colour;
    for (let column = 0; column < columns; column++) {
      const top = y + (h / 2) * (1 - extremes[2 * column + 1] / peak);
      const bottom = y + (h / 2) * (1 - extremes[2 * column] / peak);
      pen.fillRect(x + column / scale, top, 1 / scale, Math.max(bottom - top, 1 / scale));
    }
  }

  #spectrogram(pen, { x, y, w, h }, scale, colours) {
    const { samples, rate, live } = this.sound;
    const columns = live ? LIVE_COLUMNS : Math.max(1, Math.round(w * scale));
    const rows = Math.max(1, Math.round(h * (live ? 1 : scale)));
    const levels = spectrogram(samples, rate, columns, rows, Math.min(TOP_HZ, rate / 2));
    const table = gradient(colours), image = new ImageData(columns, rows), pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < levels.length; i++) {
      pixels[i] = table[Math.max(0, Math.min(255, Math.round(255 * (1 + levels[i] / RANGE_DB))))];
    }
    const layer = new OffscreenCanvas(columns, rows);
    layer.getContext("2d").putImageData(image, 0, 0);
    pen.drawImage(layer, x, y, w, h);
  }

  /** The time and the frequency under the pointer. */
  #read(event) {
    if (!this.sound || this.sound.live || event.pointerType === "touch") return;
    const box = this.box.getBoundingClientRect(), { y, h } = this.bands, at = event.clientY - box.top - y;
    let text = written(this.seconds(event.clientX - box.left));
    if (at >= 0 && at <= h) text += ` · ${(toHz(toMel(TOP_HZ) * (1 - at / h)) / 1000).toFixed(2)} kHz`;
    this.readout.textContent = text;
    this.readout.hidden = false;
  }
}

/** 256 colours as the bytes of a pixel, from the first to the last of "#rrggbb". */
function gradient(colours) {
  const stops = colours.map((one) => [1, 3, 5].map((at) => parseInt(one.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1), at = Math.min(Math.floor(place), stops.length - 2), part = place - at;
    const [r, g, b] = [0, 1, 2].map((c) => Math.round(stops[at][c] * (1 - part) + stops[at + 1][c] * part));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;  // little-endian, as every browser's machine is
  });
}
