// The page: takes a sound from a file, a drop or the microphone, and shows what the service says.

import * as api from "./api.js";
import { Player } from "./player.js";
import { Recorder, prepare } from "./sound.js";
import { clock, hideResult, showResult } from "./view.js";

const element = (id) => document.getElementById(id);
const limits = document.documentElement.dataset;
const MAX_RECORDING_S = 600; // the samples are kept in memory
const maxDirect = Number(limits.maxUploadBytes);
const maxObject = Number(limits.maxObjectBytes); // 0: the service takes no uploads to S3

const player = new Player();
let models = [];
let running = null; // the AbortController of the request that runs
let waiting = null; // what is repeated once the user has entered a key
let recorder = null;
let lastFile = null;

function announce(text) {
  element("status").textContent = text;
}

function progress(text, share) {
  element("progress").hidden = !text;
  element("progress-text").textContent = text;
  const bar = element("progress-bar");
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
}

function showError(error, repeat) {
  if (error.name === "AbortError") {
    announce("Cancelled.");
    return;
  }
  if (error.needsKey) {
    waiting = repeat;
    element("key-form").hidden = false;
    element("key").focus();
  }
  const asked = error.needsKey ? " Enter the API key above." : "";
  const title = document.createElement("strong");
  title.textContent = error.needsKey ? "The service requires an API key." : "The sound was not scored.";
  element("error").replaceChildren(title, ` ${sentence(error.message)}${asked}`);
  element("error").title = error.name ?? "";
  element("error").hidden = false;
}

function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

function clearError() {
  element("error").hidden = true;
  element("error").replaceChildren();
}

async function loadModels() {
  try {
    const listed = await api.models();
    models = listed.models;
    const select = element("model");
    const chosen = select.value;
    select.replaceChildren(
      ...models.map(({ name }) => new Option(name === listed.default ? `${name} (default)` : name, name)),
    );
    select.value = models.some(({ name }) => name === chosen) ? chosen : listed.default;
    aboutModel();
  } catch (error) {
    showError(error, loadModels);
  }
}

function model() {
  return models.find(({ name }) => name === element("model").value);
}

function aboutModel() {
  const found = model();
  const parts = [found?.description, found?.classes && `Knows: ${found.classes.join(", ")}.`];
  element("model-about").textContent = parts.filter(Boolean).join(" ");
}

async function check(file) {
  running?.abort();
  const controller = new AbortController();
  running = controller;
  lastFile = file;
  element("again").hidden = false;
  clearError();
  hideResult();
  player.clear();
  progress("Reading the file…");
  try {
    const sound = await prepare(file);
    controller.signal.throwIfAborted(); // another sound, or Cancel, while this one was read
    player.show(sound, model()?.sample_rate);
    const prediction = await score(sound, controller.signal);
    progress("");
    showResult(prediction, player);
    announce(`Result: ${element("verdict").textContent}`);
    element("verdict").focus();
  } catch (error) {
    if (running === controller) {
      player.refuse();
      showError(error, () => check(file));
    }
  } finally {
    if (running === controller) {
      running = null;
      progress("");
    }
  }
}

function score(sound, signal) {
  const largest = Math.max(maxDirect, maxObject);
  if (sound.blob.size > largest) {
    const setting = maxObject > maxDirect ? "MAX_OBJECT_BYTES" : "MAX_UPLOAD_BYTES";
    const limit = `the limit of this service is ${size(largest)}, set by ${setting}`;
    const detail = `The sound has ${size(sound.blob.size)}; ${limit}.`;
    throw new api.ApiError(413, "AudioTooLargeError", detail);
  }
  const name = element("model").value;
  const onProgress = (share) =>
    share < 1 ? progress("Sending the recording…", share) : progress("Scoring the recording…");
  progress("Sending the recording…", 0);
  announce("Sending the recording.");
  if (maxObject > 0 && sound.blob.size > maxDirect) {
    const onUploaded = () => {
      progress("Uploaded. Waiting for the result…");
      announce("Uploaded. Waiting for the result.");
    };
    const sending = (share) => progress("Uploading the recording…", share);
    return api.upload(sound, name, { onProgress: sending, onUploaded, signal });
  }
  return api.predict(sound, name, { onProgress, signal });
}

async function toggleRecording() {
  const button = element("record");
  const text = element("recording");
  if (recorder) {
    const stopped = recorder;
    recorder = null;
    button.textContent = "Record";
    text.hidden = true;
    await check(await stopped.stop());
    return;
  }
  clearError();
  const started = new Recorder();
  try {
    await started.start((seconds) => {
      text.textContent = `Recording: ${clock(seconds)}`;
      if (seconds >= MAX_RECORDING_S && recorder === started) toggleRecording();
    });
  } catch (error) {
    const reason = error.name === "NotAllowedError" ? "The browser does not allow it." : error.message;
    showError(new api.ApiError(0, error.name, `The microphone cannot be used: ${reason}`));
    return;
  }
  recorder = started;
  button.textContent = "Stop and check";
  text.hidden = false;
  text.textContent = "Recording";
  announce("Recording.");
}

function size(bytes) {
  return `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
}

function describeLimits() {
  const largest = size(Math.max(maxDirect, maxObject));
  const microphone = Recorder.available()
    ? ""
    : " Recording needs a page that is opened by HTTPS or on this computer.";
  element("record").disabled = !Recorder.available();
  element("limits").textContent =
    `WAV, FLAC, OGG, MP3, AIFF, AU, CAF, W64, and what this browser can play, such as M4A. Up to ${largest}.${microphone}`;
}

function listenForFiles() {
  const input = element("file");
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (file) check(file);
  });
  const drop = element("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) check(file);
  });
}

element("record").addEventListener("click", toggleRecording);
element("again").addEventListener("click", () => check(lastFile));
element("cancel").addEventListener("click", () => running?.abort());
element("model").addEventListener("change", aboutModel);
element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.storeKey(element("key").value.trim());
  element("key-form").hidden = true;
  clearError();
  const repeat = waiting;
  waiting = null;
  if (repeat !== loadModels) loadModels();
  repeat?.();
});
describeLimits();
listenForFiles();
loadModels();
