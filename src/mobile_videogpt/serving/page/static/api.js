// The server's API, as any other client uses it.

const KEY = "api-key";
const UNREACHABLE = "The server cannot be reached. Is it still running?";

/** What went wrong, in a sentence for the user. */
export class ApiError extends Error {
  constructor(message, status = 0, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

const headers = () => (key.get() ? { Authorization: `Bearer ${key.get()}` } : {});

/** A document of the API; failures are `ApiError`s. */
export async function fetchJson(path, options = {}) {
  const response = await send(path, options);
  return response.json();
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE);
  }
  if (!response.ok) throw await refusal(response.status, await response.text());
  return response;
}

function refusal(status, text) {
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // A proxy's page, perhaps.
  }
  const message = error.message
    ? sentence(error.message)
    : `The server answered with status ${status}.`;
  const failure = new ApiError(message, status, error.code ?? null);
  if (status === 401) dispatchEvent(new CustomEvent("key-wanted"));
  return failure;
}

const sentence = (text) => {
  const end = /[.!?]$/.test(text) ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + end;
};

/** Send a file ahead; `onProgress` gets percents. */
export function upload(blob, name, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch tells nothing of its progress
    request.open("POST", "/v1/files");
    for (const [header, value] of Object.entries(headers()))
      request.setRequestHeader(header, value);
    request.upload.onprogress = (event) =>
      event.lengthComputable && onProgress((100 * event.loaded) / event.total);
    request.onload = () =>
      request.status === 200
        ? resolve(JSON.parse(request.responseText))
        : reject(refusal(request.status, request.responseText));
    request.onerror = () => reject(new ApiError(uploadProblem(blob)));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("purpose", "vision");
    form.append("file", blob, name);
    request.send(form);
  });
}

// A body that is too large is refused before all of it was sent, which looks like a broken line.
const uploadProblem = (blob) =>
  blob.size > 1e6
    ? "The upload broke off. Either the server is gone, or the file is larger than it takes: try a shorter part."
    : UNREACHABLE;

/** Have the server forget an upload; goes through even while the page is left. */
export function forget(fileId) {
  const options = { method: "DELETE", keepalive: true, headers: headers() };
  fetch(`/v1/files/${fileId}`, options).catch(() => {}); // it forgets by itself, later
}

/** Have the model look at an upload. */
export function look(fileId, sampling, signal) {
  const query = new URLSearchParams(given(sampling));
  return fetchJson(`/v1/files/${fileId}/frames?${query}`, { signal });
}

/** Only the values that are there. */
export const given = (values) =>
  Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== null && value !== undefined),
  );

/** The events of a streamed answer. */
export async function* stream(body, signal) {
  const response = await send("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  for await (const data of serverSentEvents(response.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(sentence(event.error.message), 0, event.error.code);
    yield event;
  }
  throw new ApiError("The answer broke off: the server went away.");
}

async function* serverSentEvents(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The answer broke off: the server went away.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A whole answer. */
export function ask(body, signal) {
  return fetchJson("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}
