// A sound as the page holds it: the bytes that go to the server, untouched, and samples to draw where the browser can decode.

const DRAWN_RATE = 16000;        // Hz: what the models hear, so the picture shows no more than they get
const DRAWN_BYTES = 64 * 2 ** 20;  // a larger file would fill a phone's memory once decoded

/**
 * What was chosen or recorded. `samples` (mono, at `rate`) are null where there is no picture; `why` then says why.
 * @typedef {{file: File, samples: Float32Array | null, rate: number, duration: number | null, channels: number | null, why: string}} Sound
 */

/** @returns {Promise<Sound>} */
export async function openSound(file) {
  const sound = { file, samples: null, rate: DRAWN_RATE, duration: null, channels: null, why: "" };
  if (file.size > DRAWN_BYTES) {
    sound.why = `${file.name} has ${megabytes(file.size)}: too large to draw here, so there is no picture. The server can still hear it.`;
    return sound;
  }
  try {
    const decoded = await new OfflineAudioContext(1, 1, DRAWN_RATE).decodeAudioData(await file.arrayBuffer());
    sound.samples = mono(decoded);
    sound.duration = decoded.duration;
    sound.channels = decoded.numberOfChannels;
  } catch (error) {
    if (error.name !== "EncodingError") throw error;
    sound.why = `This browser can't decode ${file.name}, so there is no picture. Ask all the same: the server knows more formats.`;
  }
  return sound;
}

/** The mean of the channels: what the server makes of them too. */
function mono(decoded) {
  const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
  if (channels.length === 1) return channels[0];
  return Float32Array.from(channels[0], (_, i) => channels.reduce((sum, one) => sum + one[i], 0) / channels.length);
}

const encoded = new WeakMap();  // File -> promise of its base64: a follow-up question sends the same bytes again

/** The bytes of a file in base64, as `input_audio.data` wants them. */
export function base64(file) {
  if (!encoded.has(file)) {
    encoded.set(file, new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
      reader.onerror = () => reject(new Error(`${file.name} can't be read any more: choose it again.`));
      reader.readAsDataURL(file);
    }));
  }
  return encoded.get(file);
}

/** A RIFF file of 16-bit mono from samples in [-1, 1]. */
export function wav(samples, rate, name) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((one, i) => bytes.setUint8(at + i, one.charCodeAt(0)));
  text(0, "RIFF"); bytes.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);        // length of the format block
  bytes.setUint16(20, 1, true);         // PCM
  bytes.setUint16(22, 1, true);         // channels
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 2 * rate, true);  // bytes a second
  bytes.setUint16(32, 2, true);         // bytes a frame
  bytes.setUint16(34, 16, true);        // bits a sample
  text(36, "data"); bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((one, i) => bytes.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, one))), true));
  return new File([bytes], name, { type: "audio/wav" });
}

export function megabytes(bytes) {
  return bytes < 2 ** 20 ? `${Math.max(1, Math.round(bytes / 1024))} KB` : `${(bytes / 2 ** 20).toFixed(1)} MB`;
}
