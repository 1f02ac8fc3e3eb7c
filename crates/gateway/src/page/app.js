// Asks the gateway again and again, and says so when it does not answer.

import { overview } from "./api.js";
import * as actions from "./actions.js";
import { chart } from "./chart.js";
import * as clusters from "./clusters.js";
import { find, make, mark, say } from "./dom.js";
import * as indices from "./indices.js";
import { clock, count, lag, many, rate, span } from "./words.js";

const EVERY = 2_000;
const SOON = 1_000;
const SELDOM = 60_000;

const main = find("main");
const alarm = find("alarm");
const connection = find("connection");
const worst = chart();

let timer = 0;
let asking = null;
let answered = null;
let failure = null;
let failures = 0;
let hiddenFor = 0;
let nextAt = 0;

/** How long to wait before the next time: less often while nobody looks or nobody answers. */
function pause(looking) {
  if (failures > 0) return Math.min(1_000 * 2 ** (failures - 1), 15_000);
  if (document.hidden) return Math.min(EVERY * 2 ** ++hiddenFor, SELDOM);
  hiddenFor = 0;
  return looking ? SOON : EVERY;
}

async function ask() {
  clearTimeout(timer);
  const mine = {};
  asking = mine;
  let looking = false;
  try {
    const answer = await overview(indices.wanted());
    // Other rows were asked for meanwhile, and their answer comes by itself.
    if (asking !== mine) return;
    if (failure !== null) actions.report("The agent answers again.", true);
    [answered, failure, failures, looking] = [Date.now(), null, 0, answer.surroundings.looking];
    show(answer);
    await indices.updateOpen();
  } catch (error) {
    if (asking !== mine) return;
    if (error.status === undefined) console.error(error);
    failure = error;
    failures += 1;
  }
  if (asking !== mine) return;
  const wait = pause(looking);
  nextAt = Date.now() + wait;
  timer = setTimeout(ask, wait);
  status();
}

function show(answer) {
  const { lag: history, counts, now } = answer;
  say(find("lag-now"), lag(now.lag_seconds));
  say(find("lag-worst"), lag(worst.worst(history)));
  say(find("lag-behind"), now.lag_seconds === null ? "–" : count(now.lag_operations));
  find("lag-unknown").hidden = now.unknown === 0;
  say(find("lag-unknown"), `Not known of ${many(now.unknown, "index", "indices")}: no stream is open there.`);
  say(find("lag-rate"), rate(history.operations_per_second.at(-1)));
  worst.update(history);
  indices.update(answer);
  const troubles = clusters.update(answer) + counts.attention;
  document.title = troubles > 0 ? `(${troubles}) slipstream` : "slipstream";
  say(find("release"), `slipstream ${answer.release}`);
  main.removeAttribute("aria-busy");
}

/** Whether what is shown is of now. */
function status() {
  const stale = failure !== null;
  document.body.classList.toggle("stale", stale);
  for (const button of document.querySelectorAll(".do button, dialog .main")) {
    if (stale) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
  mark(connection, "data-state", stale ? "FAILED" : "SYNCING");
  if (!stale) {
    say(connection, answered === null ? "Asking the agent…" : `Live, as of ${clock(answered)}`);
    alarm.hidden = true;
    return;
  }
  say(
    connection,
    answered === null ? "No answer yet" : `As of ${clock(answered)}, ${span((Date.now() - answered) / 1_000)} ago`,
  );
  // The alarm is read aloud when it changes: seconds that pass stand in the line above only.
  if (alarm.hidden || alarm.words !== words()) {
    alarm.words = words();
    alarm.hidden = false;
    alarm.replaceChildren(make("p", {}, alarm.words), make("button", { type: "button", onclick: ask }, "Ask now"));
  }
}

function words() {
  const since = answered === null ? "" : ` What is shown is as of ${clock(answered)}.`;
  if (failure.status === undefined) return `This page has a fault, reload it: ${failure.message}.${since}`;
  if (failure.status === 401) return `Nobody is signed in: reload the page to sign in.${since}`;
  if (failure.status === 0) {
    const when = answered === null ? "does not answer" : `has not answered since ${clock(answered)}`;
    return `The agent ${when} (${failure.message}). ${answered === null ? "" : "What is shown is as of then. "}It is asked again by itself.`;
  }
  return `The gateway refuses: ${failure.message}.${since}`;
}

find("lag-chart").append(worst.node);
actions.start(ask);
indices.start(ask);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && nextAt - Date.now() > SOON) ask();
});
// A button that can do nothing now stays where it is for the keyboard, and does nothing.
document.addEventListener(
  "click",
  (event) => {
    if (event.target.closest?.("[aria-disabled]")) {
      event.preventDefault();
      event.stopPropagation();
    }
  },
  true,
);
setInterval(status, 1_000);
ask();
