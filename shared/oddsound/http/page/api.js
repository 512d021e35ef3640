// Requests to the service. Every failure becomes an ApiError with the service's own words.

// The service: pages are at different depths below it, and a stage or a proxy may be in front.
const BASE = new URL("..", import.meta.url);

const KEY = "x-api-key";
const UPLOAD_REFUSED = "UploadRefused"; // by S3, which does not know the key of the API
const PAGE = 1000;
const POLL_FIRST_MS = 500;
const POLL_MAX_MS = 5000;
const POLL_GROWTH = 1.3;

export class ApiError extends Error {
  constructor(status, name, detail) {
    super(detail);
    this.status = status;
    this.name = name;
  }

  get needsKey() {
    return (this.status === 401 || this.status === 403) && this.name !== UPLOAD_REFUSED;
  }
}

export function storeKey(key) {
  sessionStorage.setItem(KEY, key);
}

function keyHeaders() {
  const key = sessionStorage.getItem(KEY);
  return key ? { [KEY]: key } : {};
}

// XMLHttpRequest, because fetch reports no progress of an upload.
function request(method, url, { body = null, headers = {}, onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open(method, url);
    Object.entries(headers).forEach(([name, value]) => xhr.setRequestHeader(name, value));
    if (onProgress) {
      xhr.upload.onprogress = (event) => {
        if (event.lengthComputable) onProgress(event.loaded / event.total);
      };
    }
    xhr.onload = () => resolve({ status: xhr.status, text: xhr.responseText });
    xhr.onerror = () =>
      reject(new ApiError(0, "NetworkError", "The service does not answer. Check the connection."));
    xhr.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal?.aborted) {
      xhr.onabort();
      return;
    }
    signal?.addEventListener("abort", () => xhr.abort());
    xhr.send(body);
  });
}

async function json(method, url, options = {}) {
  const headers = { ...keyHeaders(), ...options.headers };
  const { status, text } = await request(method, new URL(url, BASE), { ...options, headers });
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy in front of the service may answer in HTML.
  }
  if (status >= 200 && status < 300 && body) return body;
  throw new ApiError(
    status,
    body?.error ?? "UnexpectedAnswer",
    body?.detail ?? `The service answered with status ${status}.`,
  );
}

export function models() {
  return json("GET", "models");
}

const path = (text) => text.split("/").map(encodeURIComponent).join("/");

// All machines, in pages as the service lists them.
export async function machines() {
  const found = [];
  for (let after = ""; after !== null; ) {
    const page = await json("GET", `machines${query({ limit: PAGE, after })}`);
    found.push(...page.machines);
    after = page.next;
  }
  return found;
}

export function machine(id) {
  return json("GET", `machines/${path(id)}`);
}

// A part of what is known about a machine: history, events, trend or drift.
export function ofMachine(id, part, parameters = {}) {
  return json("GET", `machines/${path(id)}/${part}${query(parameters)}`);
}

function send(url, body) {
  return json("POST", url, {
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
}

// What a person says about a machine. action: acknowledge, clear or snooze
export function act(id, action, said) {
  return send(`machines/${path(id)}/${action}`, said);
}

// What a person says about a recording.
export function review(key, said) {
  return send(`results/${path(key)}/review`, said);
}

// A link to listen to a recording: { url, expires_at, recorded_at }.
export async function recording(key) {
  const link = await json("GET", `recordings/${path(key)}`);
  if (link.expires_at !== null) return link;
  // Relative: a proxy may have another host name than the service knows.
  return { ...link, url: new URL(`audio/${path(key)}`, BASE).href };
}

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

// The prediction for `sound`, sent in one request.
export function predict(sound, model, { onProgress, signal }) {
  return json("POST", `predict-anomaly${query({ model_name: model, explain: "true" })}`, {
    body: sound.blob,
    headers: { "content-type": sound.mediaType },
    onProgress,
    signal,
  });
}

// The prediction for `sound`, uploaded to S3 and scored there.
export async function upload(sound, model, { onProgress, onUploaded, signal }) {
  const post = await json("POST", "uploads", {
    body: JSON.stringify({ filename: sound.name, ...(model && { model_name: model }) }),
    headers: { "content-type": "application/json" },
    signal,
  });
  const form = new FormData();
  Object.entries(post.fields).forEach(([name, value]) => form.append(name, value));
  form.append("file", sound.blob);
  const sent = await request("POST", post.url, { body: form, onProgress, signal });
  if (sent.status < 200 || sent.status >= 300) {
    throw new ApiError(sent.status, UPLOAD_REFUSED, s3Message(sent));
  }
  onUploaded();
  return result(post, signal);
}

function s3Message({ status, text }) {
  const message = /<Message>([^<]*)<\/Message>/.exec(text)?.[1];
  return `The bucket refused the upload with status ${status}${message ? `: ${message}` : "."}`;
}

async function result(post, signal) {
  const key = post.key.split("/").map(encodeURIComponent).join("/");
  // Relative: a proxy may have another host name than the service knows.
  const url = `results/${key}${new URL(post.result_url).search}`;
  for (let wait = POLL_FIRST_MS; ; wait = Math.min(wait * POLL_GROWTH, POLL_MAX_MS)) {
    try {
      const found = await json("GET", url, { signal });
      if (found.status === "succeeded") return found.prediction;
      throw new ApiError(200, found.error.error, found.error.detail);
    } catch (error) {
      if (!(error.status === 404 && error.name === "ResultNotFoundError")) throw error;
    }
    await pause(wait, signal);
  }
}

function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}
