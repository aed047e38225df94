// The server's API. Addresses are relative, so that the page also works under a path of a proxy.

/** What the server, or the way to it, answered instead: `message` is one line to show. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;  // of HTTP; 0: no answer at all
  }
}

export const key = {
  get: () => sessionStorage.getItem("auricle-key") ?? "",
  set: (value) => sessionStorage.setItem("auricle-key", value),
};

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server can't be reached: see whether it still runs, then try again.", 0);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** An error of OpenAI's shape as one line; a proxy in between may answer in another shape. */
async function refusal(response) {
  const body = await response.text();
  let line = `The server answered ${response.status} ${response.statusText}`.trim();
  try {
    line = JSON.parse(body).error.message;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  const wait = response.headers.get("Retry-After");
  if (response.status === 429 && wait) line += ` Try again in ${wait} s.`;
  return new ServerError(line, response.status);
}

/** "ready" or "loading"; throws a ServerError when nobody answers. */
export async function health() {
  try {
    return (await (await call("health")).json()).status;
  } catch (error) {
    if (error instanceof ServerError && error.status === 503) return "loading";
    throw error;
  }
}

/** The names of the models served. */
export async function models() {
  return (await (await call("v1/models")).json()).data.map((one) => one.id);
}

/** Chunks of an answer, as they come. */
export async function* chat(request, signal) {
  const body = JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } });
  const response = await call("v1/chat/completions", {
    method: "POST", headers: { "Content-Type": "application/json" }, body, signal,
  });
  yield* events(response);
}

/** Events of a transcription, as they come. */
export async function* transcription(file, model, signal) {
  const form = new FormData();
  form.append("model", model);
  form.append("stream", "true");
  form.append("file", file);
  yield* events(await call("v1/audio/transcriptions", { method: "POST", body: form, signal }));
}

/** The JSON of each server-sent event, until `[DONE]` or the end; an error within the stream is thrown. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data === "[DONE]") return;
      if (!data) continue;  // a comment that keeps the connection open
      const event = JSON.parse(data);
      if (event.error) throw new ServerError(event.error.message, response.status);
      yield event;
    }
  }
}
