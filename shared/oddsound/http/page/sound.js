// Sounds to send: files that the service reads are sent as they are, others as WAV.

const DECODED_RATE_HZ = 48000;
const WAV_HEADER_BYTES = 44;
const FULL_SCALE = 32767;

// First bytes of the containers that the service reads, with their suffixes.
const CONTAINERS = [
  { at: 0, magic: "RIFF", suffix: "wav" },
  { at: 0, magic: "RF64", suffix: "wav" },
  { at: 0, magic: "fLaC", suffix: "flac" },
  { at: 0, magic: "OggS", suffix: "ogg" },
  { at: 0, magic: "FORM", suffix: "aiff" },
  { at: 0, magic: ".snd", suffix: "au" },
  { at: 0, magic: "ID3", suffix: "mp3" },
];

// {blob, name, mediaType, converted}: what is sent for this file, and heard on the page.
export async function prepare(file) {
  const suffix = await suffixOf(file);
  const stem = file.name.replace(/\.[^.]*$/, "") || "recording";
  if (suffix) {
    const name = `${stem}.${suffix}`;
    return { blob: file, name, mediaType: "application/octet-stream", converted: false };
  }
  try {
    const blob = wav(mono(await decode(file)), DECODED_RATE_HZ);
    return { blob, name: `${stem}.wav`, mediaType: "audio/wav", converted: true };
  } catch {
    // Neither can read it: the service says what it accepts.
    const name = file.name;
    return { blob: file, name, mediaType: "application/octet-stream", converted: false };
  }
}

async function suffixOf(file) {
  const bytes = new Uint8Array(await file.slice(0, 12).arrayBuffer());
  const text = String.fromCharCode(...bytes);
  const found = CONTAINERS.find(({ at, magic }) => text.startsWith(magic, at));
  if (found) return found.suffix;
  // A frame of MP3 begins with eleven set bits; layer 0 is AAC.
  const isMp3 = bytes[0] === 0xff && (bytes[1] & 0xe0) === 0xe0 && (bytes[1] & 0x06) !== 0;
  return isMp3 ? "mp3" : null;
}

async function decode(file) {
  const context = new OfflineAudioContext(1, 1, DECODED_RATE_HZ);
  return context.decodeAudioData(await file.arrayBuffer());
}

// The mean of all channels, as the service computes it.
function mono(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, n) => buffer.getChannelData(n));
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, n) => channels.reduce((sum, data) => sum + data[n], 0) / channels.length);
}

// A 16-bit WAV file with one channel.
export function wav(samples, rate) {
  const bytes = new ArrayBuffer(WAV_HEADER_BYTES + 2 * samples.length);
  const view = new DataView(bytes);
  const text = (at, value) => [...value].forEach((c, n) => view.setUint8(at + n, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  const pcm = new Int16Array(bytes, WAV_HEADER_BYTES);
  samples.forEach((value, n) => {
    pcm[n] = Math.round(Math.max(-1, Math.min(1, value)) * FULL_SCALE);
  });
  return new Blob([bytes], { type: "audio/wav" });
}

// Records from the microphone. The samples come from an AudioWorklet and not from a
// MediaRecorder, because its codecs remove what a model may listen to.
export class Recorder {
  static available() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);
  }

  async start(onSeconds) {
    this.blocks = [];
    this.count = 0;
    // A browser improves speech by default, which changes the sound of a machine.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.stream = await navigator.mediaDevices.getUserMedia({ audio });
    try {
      this.context = new AudioContext();
      await this.context.audioWorklet.addModule("ui/worklet.js");
      const source = this.context.createMediaStreamSource(this.stream);
      const node = new AudioWorkletNode(this.context, "recorder", { numberOfOutputs: 0 });
      node.port.onmessage = ({ data }) => {
        this.blocks.push(data);
        this.count += data.length;
        onSeconds(this.count / this.context.sampleRate);
      };
      source.connect(node);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  // The recording as a WAV file.
  async stop() {
    const rate = this.context.sampleRate;
    await this.close();
    const samples = new Float32Array(this.count);
    let at = 0;
    for (const block of this.blocks) {
      samples.set(block, at);
      at += block.length;
    }
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    return new File([wav(samples, rate)], `recording-${time}.wav`, { type: "audio/wav" });
  }

  async close() {
    this.stream.getTracks().forEach((track) => track.stop());
    await this.context?.close();
  }
}
