// The Fourier transform and the spectrogram made with it.

/** Radix-2 transform of a fixed size, a power of two, with its tables made once. */
export class Fourier {
  constructor(size) {
    this.size = size;
    this.real = new Float32Array(size);
    this.imag = new Float32Array(size);
    this.cos = Float32Array.from({ length: size / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sin = Float32Array.from({ length: size / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / size));
    this.order = new Uint32Array(size);
    for (let i = 1, bits = Math.log2(size); i < size; i++) {
      this.order[i] = (this.order[i >> 1] >> 1) | ((i & 1) << (bits - 1));
    }
  }

  /** Transforms `this.real` in place; `this.imag` need not be cleared by the caller. */
  run() {
    const { size, real, imag, order, cos, sin } = this;
    imag.fill(0);
    for (let i = 0; i < size; i++) {
      const j = order[i];
      if (i < j) [real[i], real[j]] = [real[j], real[i]];
    }
    for (let half = 1, step = size / 2; half < size; half *= 2, step /= 2) {
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0, low = start; k < half; k++, low++) {
          const high = low + half, c = cos[k * step], s = sin[k * step];
          const re = real[high] * c - imag[high] * s, im = real[high] * s + imag[high] * c;
          real[high] = real[low] - re; imag[high] = imag[low] - im;
          real[low] += re; imag[low] += im;
        }
      }
    }
  }
}

// The mel scale of the models' own front ends: even steps for the ear, so speech gets most of the height.
export const toMel = (hz) => 2595 * Math.log10(1 + hz / 700);
export const toHz = (mel) => 700 * (10 ** (mel / 2595) - 1);

const WINDOW_S = 0.032;      // long enough to show harmonics, short enough to show consonants
const WINDOWS_A_COLUMN = 4;  // of a long sound, where a column stands for more than one window

/**
 * Levels in dB below the loudest point, (rows, columns), the highest frequency in row 0, evenly spaced in mel up to `top` Hz.
 */
export function spectrogram(samples, rate, columns, rows, top) {
  const length = Math.round(WINDOW_S * rate);
  const fourier = new Fourier(2 ** Math.ceil(Math.log2(length * 2)));  // padded, so that low rows aren't one bin wide
  const hann = Float32Array.from({ length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / length));
  const bins = Float32Array.from({ length: rows }, (_, row) => {
    const hz = toHz(toMel(top) * (1 - (row + 0.5) / rows));
    return (hz * fourier.size) / rate;
  });
  const levels = new Float32Array(rows * columns);
  const hop = samples.length / columns;
  const looks = Math.max(1, Math.min(WINDOWS_A_COLUMN, Math.floor(hop / length)));
  const power = new Float32Array(fourier.size / 2 + 1);
  let loudest = 1e-12;

  for (let column = 0; column < columns; column++) {
    power.fill(0);
    for (let look = 0; look < looks; look++) {
      const middle = (column + (look + 0.5) / looks) * hop;
      measure(samples, Math.round(middle - length / 2), hann, fourier, power);
    }
    for (let row = 0; row < rows; row++) {
      const at = Math.floor(bins[row]), part = bins[row] - at;
      const value = power[at] * (1 - part) + power[Math.min(at + 1, power.length - 1)] * part;
      levels[row * columns + column] = value;
      if (value > loudest) loudest = value;
    }
  }
  for (let i = 0; i < levels.length; i++) levels[i] = 10 * Math.log10(Math.max(levels[i], 1e-20) / loudest);
  return levels;
}

/** Puts into `power` the larger of itself and the power of the window that begins at `start`. */
function measure(samples, start, hann, fourier, power) {
  const { real, imag } = fourier;
  real.fill(0);
  for (let i = 0; i < hann.length; i++) {
    const at = start + i;
    if (at >= 0 && at < samples.length) real[i] = samples[at] * hann[i];
  }
  fourier.run();
  for (let i = 0; i < power.length; i++) {
    const value = real[i] * real[i] + imag[i] * imag[i];
    if (value > power[i]) power[i] = value;
  }
}
