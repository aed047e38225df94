// Runs on the audio thread: hands every block of the microphone's first channel to the page.
class Tap extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
}
registerProcessor("tap", Tap);
