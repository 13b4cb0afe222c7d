// A microphone recorder for the browser: a small panel that hands over raw float samples.
// As an anywidget (the default export) it sends them to its Python model in parts; where a cell
// can only wait for a result (Colab), recordOnce() resolves when one recording is finished.

// 3/4 MiB of float32, which is 1 MiB in base64: larger messages are dropped by some servers.
const PART_SAMPLES = 3 * 2 ** 16;
const METER_FLOOR_DB = -60;
const CLIPPED = 0.99; // peak from which the meter turns red

// Under .recorder-panel the button outranks JupyterLab's own style for buttons.
const STYLE = `
.recorder-panel { box-sizing: border-box; max-width: 34em; margin: 2px; padding: 12px;
  display: grid; gap: 10px; border-radius: 10px; font: 14px/1.4 system-ui, sans-serif;
  color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit));
  border: 1px solid color-mix(in srgb, currentColor 22%, transparent); }
.recorder-row { display: flex; align-items: center; gap: 14px; }
.recorder-panel .recorder-button { display: inline-flex; align-items: center; justify-content: center; gap: 8px;
  width: 7.5em; padding: 7px 0; border-radius: 999px; font: inherit; font-weight: 600;
  color: inherit; cursor: pointer; background: color-mix(in srgb, currentColor 7%, transparent);
  border: 1px solid color-mix(in srgb, currentColor 28%, transparent); }
.recorder-panel .recorder-button:hover:enabled { background: color-mix(in srgb, currentColor 14%, transparent); }
.recorder-panel .recorder-button:disabled { opacity: 0.5; cursor: default; }
.recorder-button::before { content: ""; width: 11px; height: 11px; border-radius: 50%;
  background: #e5484d; }
.recorder-button[aria-pressed="true"]::before { border-radius: 2px; }
.recorder-time { font-variant-numeric: tabular-nums; white-space: nowrap; }
.recorder-meter { flex: 1; height: 8px; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, currentColor 14%, transparent); }
.recorder-level { height: 100%; width: 0; background: #30a46c; transition: width 60ms linear; }
.recorder-level[data-clipped="true"] { background: #e5484d; }
.recorder-player { width: 100%; height: 40px; }
.recorder-message { font-size: 13px; opacity: 0.8; }
.recorder-message[data-error="true"] { color: #e5484d; opacity: 1; }
.recorder-panel [hidden], .recorder-message:empty { display: none; }
`;

// Runs in the audio thread and posts blocks of samples; any message to it asks for the rest.
const WORKLET = `
registerProcessor("recorder-tap", class extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(2048);
    this.filled = 0;
    this.port.onmessage = () => {
      this.post();
      this.port.postMessage("end");
      this.ended = true;
    };
  }
  post() {
    if (this.filled) this.port.postMessage(this.block.slice(0, this.filled));
    this.filled = 0;
  }
  process([[samples]]) {
    if (samples) {
      if (this.filled + samples.length > this.block.length) this.post();
      this.block.set(samples, this.filled);
      this.filled += samples.length;
    }
    return !this.ended;
  }
});`;

const SENTENCES = {
  NotAllowedError:
    "The browser was not allowed to use the microphone: allow it for this page (the icon beside " +
    "the address), then press Record again.",
  NotFoundError: "The browser found no microphone: connect one, then press Record again.",
  NotReadableError:
    "The microphone cannot be read: close the program that is using it, then press Record again.",
};

function sentence(error) {
  if (!navigator.mediaDevices)
    return (
      `This page (${location.origin}) is not secure, so the browser gives it no microphone: ` +
      "open Jupyter at http://localhost or over https://."
    );
  return SENTENCES[error.name] ?? `The microphone could not be opened (${error.message}).`;
}

// AudioWorklet where the browser has it and the page's policy lets it load, else ScriptProcessor.
// Both give a node and a function that resolves when the last samples were handed over.
async function createTap(context, onSamples) {
  if (context.audioWorklet) {
    const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
    try {
      await context.audioWorklet.addModule(url);
      const node = new AudioWorkletNode(context, "recorder-tap", {
        channelCount: 1,
        channelCountMode: "explicit",
      });
      const ended = new Promise((resolve) => {
        node.port.onmessage = ({ data }) => (data === "end" ? resolve() : onSamples(data));
      });
      const flush = () => {
        node.port.postMessage("end");
        // A suspended context never answers.
        return Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 500))]);
      };
      return { node, flush };
    } catch (error) {
      console.warn("recorder: AudioWorklet refused, using ScriptProcessor.", error);
    } finally {
      URL.revokeObjectURL(url);
    }
  }
  const node = context.createScriptProcessor(4096, 1, 1);
  node.onaudioprocess = ({ inputBuffer }) => onSamples(inputBuffer.getChannelData(0).slice());
  return { node, flush: async () => {} };
}

// Opens the microphone as it is: what browsers do to speech (echo cancellation, noise suppression,
// automatic gain) ruins pitch and loudness. Returns its sample rate and close().
async function openMicrophone(onSamples, onUnplugged) {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: {
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
      channelCount: 1,
    },
  });
  const tracks = stream.getTracks();
  const context = new AudioContext();
  const release = () => {
    tracks.forEach((track) => track.stop());
    if (context.state !== "closed") return context.close();
  };
  try {
    await context.resume();
    const { node, flush } = await createTap(context, onSamples);
    context.createMediaStreamSource(stream).connect(node);
    node.connect(context.destination); // a node runs only if it can be heard; its output is silent
    // After 30 s of pure silence Chromium swaps the loudspeaker's clock for a timer, and the
    // microphone's samples that do not fit that timer are lost: hum at -180 dB.
    const hum = new ConstantSourceNode(context, { offset: 1e-9 });
    hum.connect(context.destination);
    hum.start();
    tracks[0].onended = onUnplugged;
    return { sampleRate: context.sampleRate, close: () => flush().finally(release) };
  } catch (error) {
    release();
    throw error;
  }
}

function join(blocks) {
  const samples = new Float32Array(blocks.reduce((total, block) => total + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    samples.set(block, at);
    at += block.length;
  }
  return samples;
}

function split(samples) {
  const parts = [];
  for (let at = 0; at < samples.length; at += PART_SAMPLES)
    parts.push(samples.slice(at, at + PART_SAMPLES));
  return parts;
}

function peak(samples) {
  return samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 0);
}

// A 16-bit WAV for the player: every browser plays it. Python gets the float samples.
function wav(samples, sampleRate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) =>
    [...letters].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); // size of the format chunk
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, sampleRate, true);
  bytes.setUint32(28, 2 * sampleRate, true); // bytes a second
  bytes.setUint16(32, 2, true); // bytes a frame
  bytes.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) =>
    bytes.setInt16(44 + 2 * i, 32767 * Math.min(1, Math.max(-1, sample)), true)
  );
  return new Blob([bytes], { type: "audio/wav" });
}

function element(parent, tag, name) {
  const child = document.createElement(tag);
  child.className = `recorder-${name}`;
  parent.append(child);
  return child;
}

// Builds the panel in `el`. `seconds()` is the longest recording; `onRecording(samples,
// sampleRate)` gets each finished one and `onError(sentence)` each failure, also shown here.
function createPanel(el, { seconds, onRecording, onError }) {
  const panel = element(el, "div", "panel");
  element(panel, "style", "style").textContent = STYLE;
  const row = element(panel, "div", "row");
  const button = element(row, "button", "button");
  const time = element(row, "span", "time");
  const level = element(element(row, "div", "meter"), "div", "level");
  const player = element(panel, "audio", "player");
  const message = element(panel, "div", "message");
  player.controls = true;
  player.hidden = true;
  message.setAttribute("role", "status");

  let microphone = null; // open while recording
  let disposed = false;
  let blocks = [];
  let length = 0; // samples in `blocks`

  function say(text, isError = false) {
    message.textContent = text;
    message.dataset.error = isError;
  }
  function setRecording(on) {
    button.textContent = on ? "Stop" : "Record";
    button.setAttribute("aria-pressed", on);
    button.disabled = false;
    if (!on) level.style.width = 0;
  }
  function showTime(elapsed) {
    time.textContent = `${elapsed.toFixed(1)} / ${seconds()} s`;
  }
  function fail(text) {
    say(text, true);
    onError(text);
  }

  function onSamples(block) {
    if (!microphone) return; // before the sample rate is known, or after the last block wanted
    const wanted = Math.round(seconds() * microphone.sampleRate) - length;
    block = block.subarray(0, wanted);
    blocks.push(block);
    length += block.length;
    const highest = peak(block);
    const share = 1 - (20 * Math.log10(highest + 1e-9)) / METER_FLOOR_DB;
    level.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    level.dataset.clipped = highest >= CLIPPED;
    showTime(length / microphone.sampleRate);
    if (block.length === wanted) stop();
  }

  async function start() {
    button.disabled = true;
    blocks = [];
    length = 0;
    say("Allow the microphone if the browser asks.");
    try {
      const opened = await openMicrophone(onSamples, stop);
      if (disposed) return opened.close();
      microphone = opened;
      setRecording(true);
      say("");
    } catch (error) {
      setRecording(false);
      fail(sentence(error));
    }
  }

  async function stop() {
    if (!microphone || button.disabled) return;
    button.disabled = true;
    const { sampleRate, close } = microphone;
    await close();
    microphone = null;
    setRecording(false);
    if (disposed) return;
    if (!length) return fail("Nothing was recorded: press Record, play or sing, then press Stop.");
    const samples = join(blocks);
    blocks = [];
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(wav(samples, sampleRate));
    player.hidden = false;
    onRecording(samples, sampleRate);
  }

  button.onclick = () => (microphone ? stop() : start());
  setRecording(false);
  showTime(0);

  return {
    say,
    disable: () => (button.disabled = true),
    dispose: () => {
      disposed = true;
      microphone?.close();
      URL.revokeObjectURL(player.src);
    },
  };
}

// The anywidget: parts and errors go to the kernel, its answer comes back as `message`.
function render({ model, el }) {
  const panel = createPanel(el, {
    seconds: () => model.get("seconds"),
    onError: (text) => model.send({ type: "error", text }),
    onRecording: (samples, sampleRate) => {
      panel.say("Waiting for the kernel…");
      const id = `${Date.now()}-${Math.random()}`;
      split(samples).forEach((part, index, { length: count }) =>
        model.send({ type: "part", id, index, count, sample_rate: sampleRate }, undefined, [
          part.buffer,
        ])
      );
    },
  });
  const showMessage = () => panel.say(model.get("message"));
  model.on("change:message", showMessage);
  showMessage();
  return () => {
    model.off("change:message", showMessage);
    panel.dispose();
  };
}

function base64(samples) {
  const bytes = new Uint8Array(samples.buffer);
  let binary = "";
  for (let at = 0; at < bytes.length; at += 2 ** 15)
    binary += String.fromCharCode(...bytes.subarray(at, at + 2 ** 15));
  return btoa(binary);
}

// Shows the panel in `el` and resolves when one recording is finished, with the sample rate and
// the number of parts; `part(i)` of the result is one of them in base64. On failure, `error`.
export function recordOnce(el, seconds) {
  return new Promise((resolve) => {
    const finish = (result) => {
      panel.disable();
      resolve(result);
    };
    const panel = createPanel(el, {
      seconds: () => seconds,
      onError: (error) => finish({ error }),
      onRecording: (samples, sampleRate) => {
        const parts = split(samples);
        finish({
          sample_rate: sampleRate,
          count: parts.length,
          part: (index) => base64(parts[index]),
        });
      },
    });
  });
}

export default { render };
