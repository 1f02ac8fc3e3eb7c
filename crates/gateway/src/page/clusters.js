// The clusters on both sides, the agents beside the leaders, everybody's certificate, and the rules. What is wrong with
// them stands above everything, in full; the cards only mark where.

import { find, follow, make, mark, redraw, say } from "./dom.js";
import { clock, count, day, many, span } from "./words.js";

const SOON_MILLIS = 14 * 86_400_000;
const EXCHANGE = "Have a new one issued, put it in place and send the agent SIGHUP.";

const engines = { opensearch: "OpenSearch", elasticsearch: "Elasticsearch" };
const engine = (cluster) => `${engines[cluster.engine] ?? cluster.engine} ${cluster.version}`;

/** Shows what is around the agent. */
export function update({ surroundings, rules, now_millis: now }) {
  const { target, leaders } = surroundings;
  say(find("path"), path(target, leaders));
  const cards = [{ key: "target", target }, ...leaders.map((leader) => ({ key: `leader ${leader.alias}`, leader }))];
  follow(
    find("clusters"),
    cards,
    (card) => card.key,
    () => make("article", {}),
    updateCard,
  );
  const shown = certificates(surroundings);
  follow(
    find("certificates").tBodies[0],
    shown,
    (each) => each.of,
    certificateRow,
    (row, each) => row.update(each, now),
  );
  find("rules-section").hidden = rules.length === 0;
  follow(
    find("rules"),
    rules,
    (rule) => `${rule.leader_alias}:${rule.name}`,
    () => make("li", {}),
    updateRule,
  );
  const troubles = trouble(surroundings, rules, now);
  find("attention").hidden = troubles.length === 0;
  follow(
    find("attention-list"),
    troubles,
    (each) => each.what,
    () => make("li", {}),
    (item, each) => redraw(item, JSON.stringify(each), () => [make("b", {}, each.what), make("span", {}, each.why)]),
  );
  return troubles.length;
}

function path(target, leaders) {
  const name = (cluster, otherwise) => (cluster ? `${cluster.name} (${engine(cluster)})` : otherwise);
  const from = leaders.map((leader) => name(leader.cluster, leader.alias)).join(", ") || "no leader registered";
  return `${from} → ${name(target.cluster, target.url)}`;
}

function certificates({ certificate, leaders }) {
  const shown = new Map([["this follower agent", certificate]]);
  // An agent may be registered under several aliases.
  for (const agent of leaders.flatMap((leader) => leader.agents)) {
    if (agent.certificate) shown.set(`leader agent ${agent.address}`, agent.certificate);
  }
  return [...shown].map(([of, each]) => ({ of, certificate: each }));
}

/** What is wrong outside of the indices. */
function trouble({ target, leaders, ...rest }, rules, now) {
  const found = [];
  if (target.error) found.push({ what: "The target cluster does not answer", why: target.error });
  if (target.health === "red")
    found.push({
      what: "The target cluster is red",
      why: "Primary shards are missing there; writes to their indices wait until they are back.",
    });
  for (const leader of leaders) {
    for (const agent of leader.agents) {
      if (agent.reachable === false)
        found.push({ what: `The leader agent ${agent.address} of ${leader.alias} cannot be used`, why: agent.error });
    }
  }
  for (const { of, certificate } of certificates({ leaders, ...rest })) {
    const left = certificate.expires_at_millis - now;
    if (left < 0) found.push({ what: `The certificate of ${of} has expired`, why: EXCHANGE });
    else if (left < SOON_MILLIS)
      found.push({ what: `The certificate of ${of} expires in ${span(left / 1000)}`, why: EXCHANGE });
  }
  for (const rule of rules) {
    if (rule.leader_error)
      found.push({ what: `The rule ${rule.name} cannot look at ${rule.leader_alias}`, why: rule.leader_error });
    if (rule.failed > 0)
      found.push({
        what: `The rule ${rule.name} could not start ${many(rule.failed, "index", "indices")}`,
        why: "The reasons stand with the rule below.",
      });
  }
  return found;
}

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make(
    "dl",
    {},
    ...shown.map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value))),
  );
}

const state = (kind, sign, words) =>
  make("span", { class: "badge", "data-state": kind }, make("span", { "aria-hidden": "true" }, sign), ` ${words}`);

function updateCard(card, { target, leader }) {
  const { asked_at_millis: asked, ...kept } = target ?? {};
  redraw(card, JSON.stringify(target ? [kept, asked === null] : bare(leader)), () =>
    target ? targetCard(target) : leaderCard(leader),
  );
}

/** Without what changes with each look and shows nothing. */
const bare = (leader) => ({
  ...leader,
  agents: leader.agents.map(({ asked_at_millis: asked, reachable, ...rest }) => ({
    ...rest,
    reachable,
    asked: reachable === false ? asked : null,
  })),
});

const identity = (cluster) => [
  ["cluster", cluster?.name],
  ["engine", cluster && engine(cluster)],
  ["uuid", cluster?.uuid],
];

function targetCard(target) {
  const answers = target.error
    ? state("FAILED", "✕", "does not answer")
    : target.asked_at_millis === null
      ? state("INIT", "…", "not asked yet")
      : state(
          target.health === "red" ? "FAILED" : target.health === "yellow" ? "PAUSED" : "SYNCING",
          target.health === "green" ? "✓" : "!",
          target.health ?? "answers",
        );
  return [
    make("h3", {}, "Target ", answers),
    facts([
      ...identity(target.cluster),
      ["nodes", target.nodes === null ? null : count(target.nodes)],
      ["asked at", target.url],
    ]),
  ];
}

function leaderCard(leader) {
  return [
    make("h3", {}, `Leader ${leader.alias}`),
    facts(identity(leader.cluster)),
    make("ul", {}, ...leader.agents.map(agentItem)),
  ];
}

function agentItem(agent) {
  const answers =
    agent.reachable === null
      ? state("INIT", "…", "not asked yet")
      : agent.reachable
        ? state("SYNCING", "✓", "answers")
        : state("FAILED", "✕", `not usable, asked at ${clock(agent.asked_at_millis)}`);
  const place = agent.node ? `beside node ${agent.node}` : null;
  const files = agent.release ? (agent.reads_translog ? "reads translog files" : "reads over REST") : null;
  const about = [agent.release && `release ${agent.release}`, place, files].filter(Boolean).join(", ");
  return make(
    "li",
    {},
    make("p", {}, make("b", {}, `agent ${agent.address} `), answers),
    about ? make("p", { class: "about" }, about) : null,
  );
}

function certificateRow() {
  const cell = (label) => make("td", { role: "cell", "data-label": label });
  const of = make("th", { role: "rowheader", scope: "row" });
  const [names, until] = [cell("Names"), cell("Expires")];
  const row = make("tr", { role: "row" }, of, names, until);
  row.update = ({ of: whose, certificate }, now) => {
    const left = certificate.expires_at_millis - now;
    const kind = left < 0 ? "FAILED" : left < SOON_MILLIS ? "PAUSED" : "SYNCING";
    const words = left < 0 ? "expired" : `${span(left / 1000)} left`;
    say(of, whose);
    say(names, certificate.names.join(", ") || "none");
    redraw(until, `${kind} ${words}`, () => [
      `${day(certificate.expires_at_millis)} `,
      state(kind, kind === "SYNCING" ? "✓" : "!", words),
    ]);
    mark(row, "data-state", kind);
  };
  return row;
}

function updateRule(item, rule) {
  redraw(item, JSON.stringify(rule), () => [
    make(
      "p",
      {},
      make("b", {}, rule.name),
      ` follows ${rule.pattern} of ${rule.leader_alias}; started ${many(rule.started, "index", "indices")}`,
    ),
    ...(rule.leader_error ? [make("p", { class: "fault" }, rule.leader_error)] : []),
    ...rule.failed_indices.map((failed) =>
      make("p", { class: "fault" }, `${failed.leader_index} could not be started: ${failed.reason}`),
    ),
    ...(rule.failed > rule.failed_indices.length
      ? [make("p", { class: "fault" }, `and ${count(rule.failed - rule.failed_indices.length)} more`)]
      : []),
  ]);
}
