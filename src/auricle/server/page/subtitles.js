// Files of a transcript, from the pieces that stand on the page: what is saved is what was read, without a second run.

/** 3723.5 -> "01:02:03,500"; WebVTT wants a point before the milliseconds. */
function stamp(seconds, point) {
  const ms = Math.round(seconds * 1000), two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${two(h)}:${two(m)}:${two(s)}${point}${String(ms % 1000).padStart(3, "0")}`;
}

const span = (piece, point) => `${stamp(piece.start, point)} --> ${stamp(piece.end, point)}`;

/** `pieces`: {start, end} in seconds and the text of each. */
export const writers = {
  txt: (pieces) => pieces.map((one) => one.text.trim()).join("\n") + "\n",
  srt: (pieces) => pieces.map((one, i) => `${i + 1}\n${span(one, ",")}\n${one.text.trim()}\n\n`).join(""),
  vtt: (pieces) => "WEBVTT\n\n" + pieces.map((one) => `${span(one, ".")}\n${one.text.trim()}\n\n`).join(""),
};

export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
