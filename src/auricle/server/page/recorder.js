// The microphone. Samples are kept as the device gives them, without echo cancelling or gain control: the model hears what was there.

const AUDIO = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const REFUSALS = {
  NotAllowedError: "The microphone was refused. Allow it for this page beside the address, then press Record again; files work without it.",
  NotFoundError: "No microphone was found. Plug one in and press Record again, or choose a file.",
  NotReadableError: "The microphone is busy: close the program that uses it, then press Record again.",
};
const INSECURE = "Browsers give the microphone only to https and localhost. Open this page there, or choose a file.";

export class MicrophoneError extends Error {}

export class Recorder {
  /** Begins at once. Throws a MicrophoneError with one line that says what to do. */
  static async start(onEnded) {
    if (!navigator.mediaDevices?.getUserMedia) throw new MicrophoneError(INSECURE);
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
    } catch (error) {
      throw new MicrophoneError(REFUSALS[error.name] ?? `The microphone can't be opened (${error.name}): choose a file instead.`);
    }
    const context = new AudioContext();
    await context.resume();  // the question to the user may have outlasted the click that allows sound
    await context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
    return new Recorder(stream, context, onEnded);
  }

  constructor(stream, context, onEnded) {
    this.stream = stream;
    this.context = context;
    this.rate = context.sampleRate;
    this.blocks = [];  // Float32Array, 128 samples each
    this.length = 0;
    const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => { this.blocks.push(data); this.length += data.length; };
    context.createMediaStreamSource(stream).connect(tap);
    stream.getTracks()[0].onended = onEnded;  // the device was unplugged or taken away
  }

  get seconds() { return this.length / this.rate; }

  /** The newest samples, at most `seconds` of them. */
  latest(seconds) {
    const wanted = Math.min(this.length, Math.round(seconds * this.rate));
    const samples = new Float32Array(wanted);
    for (let i = this.blocks.length - 1, end = wanted; end > 0; i--) {
      const block = this.blocks[i].subarray(Math.max(0, this.blocks[i].length - end));
      end -= block.length;
      samples.set(block, end);
    }
    return samples;
  }

  /** Lets the device go and returns everything, (samples,). */
  async stop() {
    for (const track of this.stream.getTracks()) { track.onended = null; track.stop(); }
    await this.context.close();
    return this.latest(this.seconds);
  }
}
