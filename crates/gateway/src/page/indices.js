// The table of indices: what needs somebody first, shards only where a row is opened.

import { details, lagOf } from "./api.js";
import * as actions from "./actions.js";
import { chart, spark } from "./chart.js";
import { find, follow, make, mark, redraw, say } from "./dom.js";
import { bytes, count, day, lag, many, rate, span } from "./words.js";

const PAGE = 50;
const STATES = [
  ["all", "All"],
  ["attention", "Need attention"],
  ["FAILED", "Failed"],
  ["PAUSED", "Paused"],
  ["BOOTSTRAPPING", "Bootstrapping"],
  ["SYNCING", "Syncing"],
];
// The signs say the same as the colours.
const SIGNS = { SYNCING: "✓", BOOTSTRAPPING: "⇣", INIT: "…", PAUSED: "‖", FAILED: "✕", STOPPING: "■" };
const POINTS = 60;
const POINT_SECONDS = 30;

const view = { match: "", state: "all", from: 0, open: new Map() };
let refresh = () => {};

/** What to ask for. */
export function wanted() {
  const ask = { size: PAGE, from: view.from };
  if (view.match) ask.match = view.match;
  if (view.state !== "all") ask.state = view.state;
  return ask;
}

/** `changed` is called when other rows are wanted. */
export function start(changed) {
  refresh = changed;
  const stored = new URLSearchParams(location.hash.slice(1));
  view.match = stored.get("match") ?? "";
  const state = stored.get("state");
  view.state = STATES.some(([name]) => name === state) ? state : "all";
  find("match").value = view.match;
  find("match").addEventListener("input", (event) => show({ match: event.target.value.trim() }));
  find("finder").addEventListener("submit", (event) => event.preventDefault());
  find("earlier").addEventListener("click", () => show({ from: Math.max(0, view.from - PAGE) }));
  find("later").addEventListener("click", () => show({ from: view.from + PAGE }));
  for (const [name, words] of STATES) {
    const number = make("b", {}, "–");
    const button = make(
      "button",
      { type: "button", "data-state": name, onclick: () => show({ state: name }) },
      number,
      ` ${words}`,
    );
    find("states").append(button);
  }
}

function show(change) {
  Object.assign(view, { from: 0 }, change);
  const kept = new URLSearchParams();
  if (view.match) kept.set("match", view.match);
  if (view.state !== "all") kept.set("state", view.state);
  // A reload, or whoever is sent the address, sees the same rows.
  history.replaceState(null, "", kept.size ? `#${kept}` : location.pathname);
  refresh();
}

/** Shows an overview. */
export function update(overview) {
  const { counts, indices, matching, from } = overview;
  for (const button of find("states").children) {
    const name = button.dataset.state;
    say(button.firstChild, count(counts[name]));
    mark(button, "aria-pressed", String(name === view.state));
    mark(button, "data-any", String(counts[name] > 0));
  }
  const filtered = view.match !== "" || view.state !== "all";
  say(find("found"), filtered ? `${many(matching, "index matches", "indices match")}, of ${count(counts.all)}.` : "");
  find("table").hidden = indices.length === 0;
  find("none").hidden = indices.length !== 0;
  say(find("none"), nothing(filtered, counts.all));
  find("pager").hidden = matching <= PAGE && from === 0;
  say(
    find("place"),
    `${count(matching === 0 ? 0 : from + 1)} to ${count(from + indices.length)} of ${count(matching)}`,
  );
  find("earlier").disabled = from === 0;
  find("later").disabled = from + indices.length >= matching;
  follow(
    find("table"),
    indices,
    (row) => row.follower_index,
    create,
    (body, row) => body.update(row),
    1,
  );
  const shown = new Set(indices.map((row) => row.follower_index));
  for (const name of view.open.keys()) if (!shown.has(name)) view.open.delete(name);
  if (indices.length === 0 && from > 0) show({ from: 0 });
}

function nothing(filtered, all) {
  if (filtered && all > 0) return "No index matches.";
  return "No index follows. Start one: slipstream start INDEX --leader ALIAS --leader-index NAME, or PUT /_plugins/_replication/INDEX/_start.";
}

/** Asks for what opened rows show besides. */
export async function updateOpen() {
  await Promise.all([...view.open].map(([name, opened]) => opened.load(name)));
}

const cell = (label, ...children) => make("td", { role: "cell", "data-label": label }, ...children);

function create(first) {
  const name = first.follower_index;
  const title = make("button", { type: "button", class: "open", "aria-expanded": "false" }, name);
  const source = make("small", {});
  const badge = make("span", { class: "badge" });
  const progress = make("div", { class: "progress", hidden: true });
  const now = make("span", { class: "number" });
  const behind = make("small", {});
  const line = spark();
  const readers = make("span", {});
  const hold = make("button", {
    type: "button",
    onclick: () => (hold.does === "resume" ? actions.resume(name, hold) : actions.pause(name)),
  });
  const stop = make(
    "button",
    { type: "button", class: "danger", "aria-label": `Stop ${name}…`, onclick: () => actions.stop(name) },
    "Stop…",
  );
  const row = make(
    "tr",
    { role: "row" },
    make("th", { role: "rowheader", scope: "row" }, title, source),
    cell("State", badge, progress),
    cell("Lag", make("span", { class: "lag" }, now, line.node), behind),
    cell("Read by", readers),
    make("td", { role: "cell", class: "do" }, hold, stop),
  );
  const notes = make("td", { role: "cell", colspan: "5" });
  const noted = make("tr", { role: "row", class: "notes", hidden: true }, notes);
  const body = make("tbody", { role: "rowgroup", "data-index": name }, row, noted);
  title.addEventListener("click", () => toggle(name, body, title));

  body.update = (index) => {
    body.row = index;
    mark(body, "data-attention", index.attention ?? "none");
    say(source, `follows ${index.leader_alias}:${index.leader_index}`);
    const waits = index.attention === "waiting";
    mark(badge, "data-state", waits ? "PAUSED" : index.phase);
    redraw(badge, `${index.phase} ${waits}`, () => [
      make("span", { "aria-hidden": "true" }, waits ? "!" : (SIGNS[index.phase] ?? "?")),
      ` ${index.phase}${waits ? ", waiting" : ""}`,
    ]);
    copying(progress, index);
    say(now, index.phase === "SYNCING" && index.lag_seconds === null ? "not known" : lag(index.lag_seconds));
    say(behind, index.lag_operations > 0 ? `${many(index.lag_operations, "operation")} behind` : "");
    line.update(index.trend.lag_seconds, POINTS, POINT_SECONDS);
    say(readers, index.readers.map((each) => `${each.reader} × ${count(each.shards)}`).join(", ") || "–");
    hold.does = index.phase === "PAUSED" || index.phase === "FAILED" ? "resume" : "pause";
    say(hold, hold.does === "resume" ? "Resume" : "Pause…");
    mark(hold, "aria-label", hold.does === "resume" ? `Resume ${name}` : `Pause ${name}…`);
    hold.hidden = index.phase === "STOPPING";
    stop.hidden = index.phase === "STOPPING";
    note(noted, notes, index);
  };
  return body;
}

function copying(progress, index) {
  progress.hidden = index.bootstrap_ratio === null;
  if (progress.hidden) return;
  const percent = Math.floor(index.bootstrap_ratio * 100);
  const left = index.trend.bootstrap_seconds_left;
  if (!progress.firstChild) {
    const bar = make("progress", { max: "100", "aria-label": `First copy of ${index.follower_index}` });
    progress.append(bar, make("small", {}), make("small", {}));
  }
  const [bar, done, stage] = progress.children;
  bar.value = percent;
  say(done, `${percent} %${left === null ? "" : `, about ${span(left)} left`}`);
  say(stage, index.files === null ? "" : staged(index.files));
}

/** What happens to the leader's files. */
function staged({ stage, bytes_total: all, bytes_received: received, bytes_restored: restored, bytes_per_second: pace }) {
  const fast = pace === null ? "" : `, ${bytes(pace)}/s`;
  if (stage === "snapshot") return `the leader takes a snapshot, ${bytes(received)} of it have come${fast}`;
  if (stage === "transfer") return `files: ${bytes(received)} of ${bytes(all)} have come${fast}`;
  if (stage === "restore") return `files: ${bytes(restored)} of ${bytes(all)} are restored${fast}`;
  return "learning what the files hold";
}

/** Why it is as it is, and what to do about it. */
function note(row, node, index) {
  row.hidden = index.attention === null;
  const why = [];
  if (index.attention === "failed" || index.attention === "paused") why.push(["Why", index.reason]);
  if (index.waiting_for) why.push(["Waiting for", index.waiting_for]);
  for (const warning of index.warnings) why.push(["Warning", warning]);
  if (index.more_warnings > 0) why.push(["Warning", `and ${count(index.more_warnings)} more`]);
  if (index.remedy) why.push(["What to do", index.remedy]);
  redraw(node, JSON.stringify(why), () => why.map(([label, text]) => make("p", {}, make("b", {}, `${label}: `), text)));
}

function toggle(name, body, title) {
  const opened = view.open.get(name);
  if (opened) {
    opened.row.remove();
    view.open.delete(name);
  } else {
    const made = open(body);
    view.open.set(name, made);
    body.append(made.row);
    made.load(name);
  }
  mark(title, "aria-expanded", String(!opened));
}

const SHARD = ["Shard", "Leader at", "Here at", "Behind", "Lag", "Copied", "Retries", "Reader, and why"];

function open(body) {
  const history = chart();
  const facts = make("p", { class: "facts" });
  const heads = SHARD.map((words) => make("th", { scope: "col" }, words));
  const rows = make("tbody", {});
  const table = make(
    "table",
    { class: "shards" },
    make("caption", {}, "Shards"),
    make("thead", {}, make("tr", {}, ...heads)),
    rows,
  );
  const label = `Shards of ${body.dataset.index}`;
  const scroll = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table);
  const cell = make("td", { role: "cell", colspan: "5" }, facts, history.node, scroll);
  return {
    row: make("tr", { role: "row", class: "details" }, cell),
    async load(name) {
      try {
        const index = await details(name);
        say(
          facts,
          `Started ${day(index.started_at_millis)}${index.begun_with ? ` with ${index.begun_with}` : ""}. Writes ${rate(body.row.trend.operations_per_second)} operations a second.`,
        );
        follow(
          rows,
          index.shards,
          (shard) => shard.shard,
          () => make("tr", {}, ...SHARD.map(() => make("td", {}))),
          updateShard,
        );
        history.update(await lagOf(name));
      } catch (error) {
        say(facts, error.message);
      }
    },
  };
}

const checkpoint = (number) => (number < 0 ? "nothing yet" : count(number));

function updateShard(row, shard) {
  const copied =
    shard.bootstrap_through === null
      ? "all"
      : `${Math.floor((100 * (shard.scanned + 1)) / Math.max(1, shard.bootstrap_through + 1))} %`;
  const behind = Math.max(0, shard.leader_checkpoint - shard.follower_checkpoint);
  const known = shard.reader !== null;
  const texts = [
    String(shard.shard),
    checkpoint(shard.leader_checkpoint),
    checkpoint(shard.follower_checkpoint),
    known ? count(behind) : "not known",
    known ? lag(shard.lag_seconds) : "not known",
    copied,
    count(shard.retries),
    shard.reader ?? "none: no stream is open",
  ];
  texts.forEach((text, at) => say(row.children[at], text));
}
