// The recording: audio element, waveform, spectrogram and marked moments, by wavesurfer.js.

const MAX_PICTURE_BYTES = 60e6; // a larger file would need gigabytes of memory when decoded
const MIN_RATE_HZ = 8000;
const MAX_RATE_HZ = 48000;

const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Player {
  constructor() {
    this.audio = element("player");
    this.surfer = null;
    this.url = null;
    this.onRange = () => {};
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
      this.surfer?.setOptions(colours()),
    );
  }

  // sampleRate: of the model, so that the spectrogram shows what the model uses
  show(sound, sampleRate) {
    this.clear();
    this.failed = false;
    this.refused = false;
    this.url = URL.createObjectURL(sound.blob);
    element("listen").hidden = false;
    element("file-name").textContent = sound.converted
      ? `${sound.name}, converted to WAV by this browser`
      : sound.name;
    const drawn = sound.blob.size <= MAX_PICTURE_BYTES;
    this.pictures(drawn ? "" : "The file is too large for pictures of its waveform and spectrogram.");
    if (drawn) this.draw(sound, sampleRate);
    else this.audio.src = this.url;
  }

  draw(sound, sampleRate) {
    const { WaveSurfer } = window;
    this.regions = WaveSurfer.Regions.create();
    this.surfer = WaveSurfer.create({
      container: "#wave",
      height: 96,
      normalize: true,
      sampleRate: Math.min(MAX_RATE_HZ, Math.max(MIN_RATE_HZ, sampleRate ?? 16000)),
      media: this.audio,
      cspNonce: document.documentElement.dataset.nonce,
      plugins: [
        this.regions,
        WaveSurfer.Timeline.create({ height: 16 }),
        WaveSurfer.Hover.create({ labelBackground: "#222", labelColor: "#fff" }),
        WaveSurfer.Zoom.create({ maxZoom: 400 }),
        WaveSurfer.Spectrogram.create({
          height: 128,
          labels: true,
          labelsBackground: "rgba(0, 0, 0, 0.6)",
          labelsColor: "#fff",
          labelsHzColor: "#fff",
          fftSamples: 512,
          scale: "mel",
        }),
      ],
      ...colours(),
    });
    this.surfer.on("error", () => this.fail());
    this.surfer.on("scroll", (start, end) => this.onRange(start, end));
    this.surfer.loadBlob(sound.blob).catch(() => {}); // reported by the event "error"
  }

  fail() {
    this.failed = true;
    this.pictures("This browser cannot play this file or show its waveform.");
    if (this.refused) this.clear();
  }

  // The service has refused the sound: it stays only if the browser can play it.
  refuse() {
    this.refused = true;
    if (this.failed) this.clear();
  }

  // Shows the pictures, or the reason why there are none.
  pictures(reason) {
    element("pictures").hidden = Boolean(reason);
    element("no-pictures").hidden = !reason;
    element("no-pictures").textContent = reason;
  }

  // Plays from start_s to end_s and stops there.
  play({ start_s: start, end_s: end }) {
    this.audio.currentTime = start;
    this.stopAt = end;
    this.audio.ontimeupdate = () => {
      if (this.stopAt !== null && this.audio.currentTime >= this.stopAt) {
        this.audio.pause();
        this.stopAt = null;
      }
    };
    this.audio.onseeking = () => {
      if (Math.abs(this.audio.currentTime - start) > end - start) this.stopAt = null;
    };
    return this.audio.play().catch(() => {}); // a format that this browser cannot play
  }

  // Marks moments in the waveform; a click on one calls onClick(moment).
  mark(moments, onClick) {
    if (!this.surfer) return;
    const draw = () => {
      this.regions.clearRegions();
      moments.forEach((moment, n) => {
        const region = this.regions.addRegion({
          id: `moment-${n}`,
          start: moment.start_s,
          end: moment.end_s,
          content: String(n + 1),
          color: colour("--region"),
          drag: false,
          resize: false,
        });
        region.on("click", (event) => {
          event.stopPropagation();
          onClick(moment);
        });
      });
    };
    if (this.surfer.getDecodedData()) draw();
    else this.surfer.once("ready", draw);
  }

  clear() {
    this.audio.pause();
    this.surfer?.destroy();
    this.surfer = null;
    // A new element: wavesurfer.js would load the previous sound of an old one.
    const fresh = this.audio.cloneNode();
    fresh.removeAttribute("src");
    this.audio.replaceWith(fresh);
    this.audio = fresh;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    element("listen").hidden = true;
  }
}

function colours() {
  return {
    waveColor: colour("--wave"),
    progressColor: colour("--accent"),
    cursorColor: colour("--text"),
  };
}
