// A short film from the camera.

import { byId, clock, showAlert } from "./dom.js";

const LONGEST_S = 60;
const KINDS = [
  "video/mp4;codecs=avc1.42E01E",
  "video/webm;codecs=vp9",
  "video/webm;codecs=vp8",
  "video/webm",
];

/** Open the camera; a refusal is an error in words. */
export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia)
    throw new Error(
      "This browser gives no camera to pages that come without TLS, other than from localhost.",
    );
  try {
    return await navigator.mediaDevices.getUserMedia({
      video: {
        width: { ideal: 640 },
        height: { ideal: 480 },
        facingMode: { ideal: "environment" },
      },
    });
  } catch (error) {
    const text = REFUSALS[error.name] ?? `The camera cannot be used: ${error.message}`;
    throw new Error(text, { cause: error });
  }
}

const REFUSALS = {
  NotAllowedError:
    "The camera was not allowed. Allow it in the browser's address bar, then try again.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is in use by another program.",
};

/** Let go of the camera. */
export const closeCamera = (stream) => stream?.getTracks().forEach((track) => track.stop());

/** Connect the dialog; calls `open(blob, name)` with what was recorded. */
export function connectRecorder(open) {
  const [dialog, view, go] = [byId("recorder"), byId("recorder-view"), byId("recorder-go")];
  let stream = null;
  let recorder = null;
  let timer = 0;

  byId("record").addEventListener("click", async () => {
    showAlert(byId("recorder-error"), null);
    byId("recorder-time").textContent = `Up to ${LONGEST_S} seconds, without sound.`;
    go.textContent = "Start";
    dialog.showModal();
    try {
      stream = await openCamera();
      view.srcObject = stream;
      await view.play();
      go.disabled = false;
      go.focus();
    } catch (error) {
      showAlert(byId("recorder-error"), error.message);
    }
  });

  go.addEventListener("click", () => (recorder ? recorder.stop() : start()));
  byId("recorder-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    if (recorder) {
      recorder.onstop = null; // closed, so not wanted
      recorder.stop();
    }
    end();
  });

  function start() {
    const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
    const pieces = [];
    recorder = new MediaRecorder(stream, { mimeType });
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = () => {
      const blob = new Blob(pieces, { type: recorder.mimeType });
      end();
      dialog.close();
      const ending = blob.type.includes("mp4") ? "mp4" : "webm";
      open(blob, `Recording ${new Date().toLocaleTimeString("en-GB")}.${ending}`);
    };
    recorder.start();
    go.textContent = "Stop and use";
    const began = performance.now();
    timer = setInterval(() => {
      const spent = (performance.now() - began) / 1000;
      byId("recorder-time").textContent = `Recording: ${clock(spent)}`;
      if (spent >= LONGEST_S) recorder?.stop();
    }, 250);
  }

  function end() {
    clearInterval(timer);
    closeCamera(stream);
    view.srcObject = stream = recorder = null;
    go.disabled = true;
  }
}
