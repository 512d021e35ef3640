// The button that plays a recording of a machine's list.

import { node, time } from "./words.js";

const SENT = "http"; // the service keeps no recording that a request has sent

// onListen(row) returns the link to the recording, or null if that failed.
// Returns null for a recording that cannot be played.
export function listening(row, onListen) {
  if (row.source === SENT) return null;
  const made = node("div", "", { className: "row listening" });
  const button = node("button", "Listen", { type: "button" });
  const audio = node("audio", "", { controls: true, hidden: true, preload: "auto" });
  const hint = node("p", "", { className: "hint" });
  hint.setAttribute("role", "status");
  audio.setAttribute("aria-label", "Recording");
  audio.addEventListener("error", () => {
    hint.textContent =
      "The recording cannot be played: it was deleted, the link is over, or the browser does not play this format.";
  });
  button.addEventListener("click", async () => {
    const link = await onListen(row);
    if (!link) return;
    hint.replaceChildren(...replaced(row, link));
    play(audio, link.url, row.events[0]?.start_s ?? 0);
  });
  made.append(button, audio, hint);
  return made;
}

function play(audio, url, start) {
  audio.hidden = false;
  audio.onloadedmetadata = () => {
    audio.currentTime = start;
    audio.play().catch(() => {}); // where the browser refuses, the person presses its own button
  };
  audio.src = url; // a new link each time: one to S3 is over after minutes
}

// What to say if another recording has got the name of this one.
function replaced(row, { recorded_at: at }) {
  const same = new Date(at).getTime() === new Date(row.recorded_at).getTime();
  return same ? [] : ["This recording was replaced; you hear the one of ", time(at), "."];
}
