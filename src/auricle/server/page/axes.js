// Round numbers for the axes, and how seconds are written.

/** Steps of 1, 2 or 5 (or whole parts of a minute) so that `length` seconds get at most `most` of them. */
export function timeStep(length, most) {
  const steps = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  return steps.find((step) => length / step <= most) ?? 7200;
}

/** Seconds to `digits` after the point; as m:ss or h:mm:ss from a minute on. */
export function clock(seconds, digits = 2) {
  if (seconds < 60) return seconds.toFixed(digits);
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** The same with its unit, which m:ss doesn't need. */
export const duration = (seconds) => (seconds < 60 ? `${clock(seconds)} s` : clock(seconds));

/** The label of a mark on the time axis. */
export function timeLabel(seconds, step) {
  return clock(seconds, step < 0.1 ? 2 : step < 1 ? 1 : 0);
}
