// What a program on @opensearch-project/opensearch does through the gateway, replication and everything else.
//
// Environment: GATEWAY and LEADER (URLs), AGENT (the leader agent's HOST:PORT).

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { Client, errors } from '@opensearch-project/opensearch';

const { GATEWAY, LEADER, AGENT } = process.env;
const [ALIAS, SOURCE, COPY, OTHER] = ['js-leader', 'js-source', 'js-copy', 'js-other'];

const client = new Client({ node: GATEWAY, compression: 'gzip' });
const leader = new Client({ node: LEADER });

async function eventually(what, look, limit = 60_000) {
  const end = Date.now() + limit;
  while (Date.now() < end) {
    const seen = await look();
    if (seen) return seen;
    await sleep(100);
  }
  assert.fail(`waited in vain for: ${what}`);
}

async function refused(status, type, call) {
  await assert.rejects(call, (error) => {
    assert(error instanceof errors.ResponseError, String(error));
    assert.equal(error.statusCode, status);
    assert.equal(error.body.error.type, type);
    return true;
  });
}

const count = async (index) => {
  await client.indices.refresh({ index });
  return (await client.count({ index })).body.count;
};

assert.equal((await client.info()).body.version.distribution, 'opensearch');
assert.equal((await client.ping()).body, true);

await client.cluster.putSettings({ body: { persistent: { cluster: { remote: { [ALIAS]: { seeds: AGENT } } } } } });
assert.deepEqual((await client.cluster.remoteInfo()).body[ALIAS].seeds, [AGENT]);

const shards = { settings: { number_of_shards: 2, number_of_replicas: 0 } };
await leader.indices.create({ index: SOURCE, body: shards });
const lines = (index, from, to) =>
  Array.from({ length: to - from }, (_, at) => [{ index: { _index: index, _id: `${from + at}` } }, { n: from + at }]).flat();
await leader.bulk({ body: lines(SOURCE, 0, 200), refresh: true });

const follow = { leader_alias: ALIAS, leader_index: SOURCE };
await refused(404, 'no_such_remote_cluster_exception', () =>
  client.replication.start({ index: COPY, body: { ...follow, leader_alias: 'nobody' } }));
await refused(404, 'index_not_found_exception', () =>
  client.replication.start({ index: COPY, body: { ...follow, leader_index: 'js-missing' } }));
assert.equal((await client.replication.start({ index: COPY, body: follow })).body.acknowledged, true);
const state = async () => (await client.replication.status({ index: COPY })).body;
await eventually('it is in step', async () => (await state()).status === 'SYNCING');
await eventually('all documents are there', async () => (await count(COPY)) === 200);
assert.equal((await client.replication.followerStats()).body.index_stats[COPY].operations_written > 0, true);
await client.replication.pause({ index: COPY, body: { reason: 'maintenance' } });
assert.equal((await state()).reason, 'maintenance');
await refused(400, 'resource_already_exists_exception', () => client.replication.pause({ index: COPY, body: {} }));
await client.replication.resume({ index: COPY, body: {} });
await refused(400, 'resource_already_exists_exception', () => client.replication.resume({ index: COPY, body: {} }));

// Reading.
assert.deepEqual((await client.get({ index: COPY, id: '7' })).body._source, { n: 7 });
assert.equal((await client.exists({ index: COPY, id: 'no' })).body, false);
const found = await client.search({ index: COPY, body: { query: { range: { n: { lt: 5 } } } } });
assert.equal(found.body.hits.total.value, 5);
let scrolled = 0;
for await (const hit of client.helpers.scrollDocuments({ index: COPY, body: { size: 40 } })) scrolled += hit.n >= 0 ? 1 : 0;
assert.equal(scrolled, 200);
const pit = (await client.createPit({ index: COPY, keep_alive: '1m' })).body.pit_id;
const page = await client.search({ body: { size: 3, sort: [{ n: 'desc' }], pit: { id: pit, keep_alive: '1m' } } });
assert.deepEqual(page.body.hits.hits.map((hit) => hit._source.n), [199, 198, 197]);
await client.deletePit({ body: { pit_id: [pit] } });
assert.equal((await client.cat.indices({ index: COPY, format: 'json' })).body[0].index, COPY);

// Writing: the following index is blocked, everything else is not.
await client.indices.create({ index: OTHER, body: shards });
const blocked = 'cluster_block_exception';
await refused(403, blocked, () => client.index({ index: COPY, body: {} }));
await refused(403, blocked, () => client.delete({ index: COPY, id: '7' }));
await refused(403, blocked, () => client.deleteByQuery({ index: 'js-*', body: { query: { match_all: {} } } }));
await refused(403, blocked, () => client.indices.delete({ index: COPY }));
const answer = (await client.bulk({ body: [...lines(OTHER, 0, 1), ...lines(COPY, 0, 1)], refresh: true })).body;
assert.equal(answer.errors, true);
assert.deepEqual(answer.items.map((item) => item.index.status), [201, 403]);
const dropped = [];
const result = await client.helpers.bulk({
  datasource: Array.from({ length: 600 }, (_, n) => ({ n })),
  flushBytes: 4_000,
  onDocument: (document) => ({ index: { _index: document.n % 100 === 7 ? COPY : OTHER, _id: `h${document.n}` } }),
  onDrop: (document) => dropped.push(document),
});
assert.deepEqual([result.total, result.successful, result.failed], [600, 594, 6]);
assert(dropped.every((drop) => drop.status === 403 && drop.error.type === blocked));
assert.deepEqual([await count(OTHER), await count(COPY)], [595, 200]);

// Stopped, it is an index like any other.
await client.replication.stop({ index: COPY, body: {} });
assert.deepEqual(await state(), { status: 'REPLICATION NOT IN PROGRESS' });
await client.index({ index: COPY, id: 'mine', body: { n: -1 } });
assert.equal(await count(COPY), 201);
await refused(400, 'illegal_argument_exception', () => client.replication.stop({ index: COPY, body: {} }));
console.log('opensearch-js: all is well');
