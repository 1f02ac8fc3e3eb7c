// Pause, resume, stop: asked back where something would be lost, and told how it ended.

import { tell } from "./api.js";
import { find, make, say } from "./dom.js";

const outcome = find("outcome");
let refresh = () => {};

/** `done` is called after each change. */
export function start(done) {
  refresh = done;
  const stop = find("stop");
  find("stop-name").addEventListener("input", (event) => {
    stop.querySelector(".main").disabled = event.target.value.trim() !== stop.index;
  });
  wire(
    stop,
    "_stop",
    () => ({}),
    (name) => `${name} is stopped: it takes writes now.`,
  );
  wire(find("pause"), "_pause", reason, (name) => `${name} is paused.`);
}

function reason() {
  const text = find("pause-reason").value.trim();
  return text === "" ? {} : { reason: text };
}

function wire(dialog, verb, body, words) {
  const main = dialog.querySelector(".main");
  const refusal = dialog.querySelector(".refusal");
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (main.disabled) return;
    const name = dialog.index;
    main.disabled = true;
    dialog.setAttribute("aria-busy", "true");
    say(refusal, "");
    try {
      await tell(name, verb, body());
      dialog.close();
      // The button that asked is gone soon.
      if (verb === "_stop") find("indices").focus();
      report(words(name), true);
    } catch (error) {
      say(refusal, refused(error));
      main.disabled = false;
    }
    dialog.removeAttribute("aria-busy");
    refresh();
  });
}

function refused(error) {
  if (error.status === 401) return "Not done: nobody is signed in. Reload the page to sign in.";
  return `Not done: ${error.message}`;
}

function open(dialog, name, field) {
  dialog.index = name;
  say(dialog.querySelector(".name"), name);
  say(dialog.querySelector(".refusal"), "");
  field.value = "";
  dialog.querySelector(".main").disabled = dialog.id === "stop";
  dialog.showModal();
  field.focus();
}

export const pause = (name) => open(find("pause"), name, find("pause-reason"));
export const stop = (name) => open(find("stop"), name, find("stop-name"));

export async function resume(name, button) {
  button.disabled = true;
  try {
    await tell(name, "_resume");
    report(`${name} goes on.`, true);
  } catch (error) {
    report(`${name} could not be resumed. ${refused(error)}`, false);
  }
  button.disabled = false;
  refresh();
}

let fading = 0;

/** Says how it ended; a failure stays until it is closed. */
export function report(text, well) {
  clearTimeout(fading);
  const close = make(
    "button",
    { type: "button", "aria-label": "Close this message", onclick: () => outcome.replaceChildren() },
    "×",
  );
  outcome.replaceChildren(make("p", { class: well ? "well" : "ill" }, make("span", {}, text), close));
  if (well) fading = setTimeout(() => outcome.replaceChildren(), 10_000);
}
