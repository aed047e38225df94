// What is shown under an answer: how long it took, where the time went, and what the server has to add.
import { clock } from "./axes.js";
import { element } from "./page.js";

const STAGES = [
  ["queued_s", "waiting"],
  ["mel_s", "spectrum"],
  ["encoder_s", "hearing"],
  ["prefill_s", "reading"],
  ["decode_s", "writing"],
];

/** The block of figures from the stream's last chunk, with its usage and timings. */
export function timings({ usage, auricle = {} }) {
  const times = auricle.timings ?? {}, details = usage.prompt_tokens_details ?? {};
  const figures = element("dl", "figures");
  const add = (name, value) => value !== null && figures.append(element("div", "", element("dt", "", name), element("dd", "", value)));
  add("First token", seconds(times.ttft_s));
  add("Speed", times.decode_tokens_per_s ? `${Math.round(times.decode_tokens_per_s)} tokens/s` : null);
  add("Heard as", details.audio_tokens ? `${details.audio_tokens} audio tokens` : null);
  add("In all", seconds(times.total_s));

  const block = element("div", "timings", figures, more(usage, details, auricle, times));
  for (const note of auricle.notes ?? []) block.append(element("p", "note", note));
  return block;
}

/** Where the time went, opened on demand. */
function more(usage, details, auricle, times) {
  const box = element("details", "", element("summary", "", "Where the time went"));
  const stages = STAGES.filter(([key]) => times[key] > 0);
  const whole = stages.reduce((sum, [key]) => sum + times[key], 0);
  const bar = element("div", "stages");
  const legend = element("ul", "legend");
  for (const [key, name] of stages) {
    const part = element("span", `stage ${key}`);
    part.style.flexGrow = times[key] / whole;
    bar.append(part);
    legend.append(element("li", key, `${name} ${seconds(times[key])}`));
  }
  bar.setAttribute("aria-hidden", "true");
  if (stages.length) box.append(bar, legend);
  const kept = details.cached_tokens ? `, ${details.cached_tokens} of them kept from before` : "";
  box.append(element("p", "facts", `${usage.prompt_tokens} tokens read${kept}; ${usage.completion_tokens} written.`));
  const pieces = auricle.segments ?? [];
  if (pieces.length > 1) {
    const list = pieces.map((one) => `${clock(one.start_s, 1)}–${clock(one.end_s, 1)}`).join(", ");
    box.append(element("p", "facts", `Heard in ${pieces.length} pieces: ${list}.`));
  }
  return box;
}

/** 0.0123 -> "12 ms", 1.234 -> "1.23 s"; null for what was not measured. */
function seconds(value) {
  if (value === undefined || value === null) return null;
  return value < 0.1 ? `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(2)} s`;
}
