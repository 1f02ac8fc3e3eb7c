"""What a script on opensearch-py does through the gateway, replication and everything else.

Environment: GATEWAY and LEADER (URLs), AGENT (the leader agent's HOST:PORT).
"""

import os
import time

from opensearchpy import OpenSearch, helpers
from opensearchpy.exceptions import AuthorizationException, NotFoundError, RequestError, TransportError

GATEWAY, LEADER, AGENT = (os.environ[name] for name in ("GATEWAY", "LEADER", "AGENT"))
ALIAS, SOURCE, COPY, OTHER = "py-leader", "py-source", "py-copy", "py-other"


def eventually(what, look, limit=60):
    end, last = time.monotonic() + limit, None
    while time.monotonic() < end:
        last = look()
        if last:
            return last
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for: {what}")


def refused(kind, status, error, call):
    try:
        call()
    except kind as refusal:
        assert refusal.status_code == status, refusal
        assert refusal.error == error, refusal
        return refusal
    raise AssertionError(f"not refused with {status} {error}")


# Compressed requests too: the gateway looks into bulks.
client = OpenSearch(GATEWAY, http_compress=True)
leader = OpenSearch(LEADER)
replication = client.plugins.replication

assert client.ping() and client.info()["version"]["distribution"] == "opensearch"

# A leader, registered as a remote cluster.
client.cluster.put_settings(body={"persistent": {"cluster": {"remote": {ALIAS: {"seeds": [AGENT]}}}}})
settings = client.cluster.get_settings(params={"flat_settings": "true"})
assert settings["persistent"][f"cluster.remote.{ALIAS}.seeds"] == [AGENT], settings
eventually("the agent is reached", lambda: client.cluster.remote_info()[ALIAS]["connected"])

# Follow.
shards = {"settings": {"number_of_shards": 1, "number_of_replicas": 0}}
leader.indices.create(index=SOURCE, body=shards)
helpers.bulk(leader, ({"_index": SOURCE, "_id": str(n), "n": n} for n in range(250)), refresh=True)
follow = {"leader_alias": ALIAS, "leader_index": SOURCE}
refused(NotFoundError, 404, "no_such_remote_cluster_exception",
        lambda: replication.start(index=COPY, body={"leader_alias": "nobody", "leader_index": SOURCE}))
refused(NotFoundError, 404, "index_not_found_exception",
        lambda: replication.start(index=COPY, body={"leader_alias": ALIAS, "leader_index": "py-missing"}))
refused(RequestError, 400, "action_request_validation_exception",
        lambda: replication.start(index=COPY, body={"leader_alias": ALIAS}))
assert replication.start(index=COPY, body=follow, params={"wait_for_restore": "true"})["acknowledged"]
status = eventually("it is in step", lambda: (lambda told: told if told["status"] == "SYNCING" else None)(
    replication.status(index=COPY, human=True, pretty=True)))
assert status["leader_alias"] == ALIAS and status["leader_index"] == SOURCE, status
assert replication.status(index=COPY, filter_path="status") == {"status": "SYNCING"}
assert replication.follower_stats()["num_syncing_indices"] == 1
assert replication.leader_stats()["num_replicated_indices"] == 1
assert replication.autofollow_stats()["autofollow_stats"] == []
refused(RequestError, 400, "illegal_argument_exception", lambda: replication.start(index=COPY, body=follow))


def count(index):
    client.indices.refresh(index=index)
    return client.count(index=index)["count"]


eventually("all documents are there", lambda: count(COPY) == 250)

# Pause, resume, other settings.
assert replication.pause(index=COPY, body={"reason": "maintenance"})["acknowledged"]
assert replication.status(index=COPY)["reason"] == "maintenance"
refused(RequestError, 400, "resource_already_exists_exception", lambda: replication.pause(index=COPY, body={}))
assert replication.resume(index=COPY, body={})["acknowledged"]
assert replication.update_settings(index=COPY, body={"settings": {"index.number_of_replicas": 1}})["acknowledged"]
eventually("the override is in force", lambda: client.indices.get_settings(index=COPY)[COPY]["settings"]["index"][
    "number_of_replicas"] == "1")

# Reading, in all the ways of the client.
assert client.get(index=COPY, id="7")["_source"] == {"n": 7}
assert client.exists(index=COPY, id="7") and not client.exists(index=COPY, id="no")
assert client.search(index=COPY, body={"query": {"term": {"n": 7}}})["hits"]["total"]["value"] == 1
found = client.msearch(body=[{"index": COPY}, {"query": {"match_all": {}}}, {"index": "py-none"}, {}])["responses"]
assert found[0]["hits"]["total"]["value"] == 250 and found[1]["status"] == 404, found
assert [doc["found"] for doc in client.mget(index=COPY, body={"ids": ["1", "no"]})["docs"]] == [True, False]
assert len(list(helpers.scan(client, index=COPY, size=40))) == 250
pit = client.create_pit(index=COPY, params={"keep_alive": "1m"})["pit_id"]
page = client.search(body={"size": 5, "sort": [{"n": "asc"}], "pit": {"id": pit, "keep_alive": "1m"}})
assert [hit["_source"]["n"] for hit in page["hits"]["hits"]] == list(range(5)), page
client.delete_pit(body={"pit_id": [pit]})
assert any(row["index"] == COPY for row in client.cat.indices(format="json"))
assert client.cluster.health(index=COPY)["timed_out"] is False

# Other indices are written to as ever, the following one is not.
client.indices.put_index_template(name="py-template", body={"index_patterns": [OTHER + "*"], "template": shards})
assert client.indices.exists_index_template(name="py-template")
client.index(index=OTHER, id="1", body={"mine": True}, refresh=True)
client.indices.put_alias(index=OTHER, name="py-alias")
assert client.search(index="py-alias")["hits"]["total"]["value"] == 1
block = "cluster_block_exception"
for write in (
    lambda: client.index(index=COPY, body={}),
    lambda: client.update(index=COPY, id="7", body={"doc": {"n": 8}}),
    lambda: client.delete(index=COPY, id="7"),
    lambda: client.update_by_query(index=COPY, body={"query": {"match_all": {}}}),
    lambda: client.delete_by_query(index="py-*", body={"query": {"match_all": {}}}),
    lambda: client.reindex(body={"source": {"index": OTHER}, "dest": {"index": COPY}}),
    lambda: client.indices.put_mapping(index=COPY, body={"properties": {"x": {"type": "long"}}}),
    lambda: client.indices.put_settings(index=COPY, body={"index.number_of_replicas": 0}),
    lambda: client.indices.put_alias(index=COPY, name="py-mine"),
    lambda: client.indices.update_aliases(body={"actions": [{"add": {"index": COPY, "alias": "py-mine"}}]}),
    lambda: client.indices.close(index=COPY),
    lambda: client.indices.delete(index=COPY),
):
    refusal = refused(AuthorizationException, 403, block, write)
    assert f"index [{COPY}] blocked by" in str(refusal.info), refusal.info
lines = [{"index": {"_index": COPY, "_id": "x"}}, {"n": 1}, {"index": {"_index": OTHER, "_id": "2"}}, {"n": 2},
         {"delete": {"_index": COPY, "_id": "7"}}]
answer = client.bulk(body=lines, params={"refresh": "true"})
assert answer["errors"] and [next(iter(item.values()))["status"] for item in answer["items"]] == [403, 201, 403], answer
done, failed = helpers.bulk(client, [{"_index": index, "_id": "3", "n": 3} for index in (COPY, OTHER)],
                            raise_on_error=False)
assert done == 1 and failed[0]["index"]["error"]["type"] == block, failed
streamed = list(helpers.streaming_bulk(client, ({"_index": OTHER, "_id": f"s{n}", "n": n} for n in range(1200))))
assert len(streamed) == 1200 and all(fine for fine, _ in streamed)
assert count(OTHER) == 1203 and count(COPY) == 250

# A rule.
rule = {"leader_alias": ALIAS, "name": "py-rule", "pattern": "py-auto-*", "follower_index_pattern": "x-{{leader_index}}"}
assert replication.create_replication_rule(body=rule)["acknowledged"]
refused(RequestError, 400, "resource_already_exists_exception",
        lambda: replication.create_replication_rule(body=rule))
leader.index(index="py-auto-1", id="1", body={"n": 1}, refresh=True)
eventually("the rule has followed", lambda: replication.status(index="x-py-auto-1")["status"] == "SYNCING")
assert replication.delete_replication_rule(body={"leader_alias": ALIAS, "name": "py-rule"})["acknowledged"]

# Many at once, by the transport: the client has no names for these calls.
call = client.transport.perform_request
base = "/_plugins/_replication"
for operation, state in (("_bulk_pause", "PAUSED"), ("_bulk_resume", "SYNCING")):
    task = call("POST", f"{base}/{operation}", body={"pattern": "*", "filters": {"exclude_index": [COPY]}})["task_id"]
    told = eventually(operation, lambda: (lambda told: told if told["completed"] else None)(
        call("GET", f"{base}/_task_status/{task}")))
    assert (told["num_success"], told["num_failed"]) == (1, 0), told
    eventually(state, lambda: call("GET", f"{base}/_bulk_status", params={"pattern": "x-*"})["indices"][
        "x-py-auto-1"]["status"] == state)

# After the stop it is an index like any other.
assert replication.stop(index=COPY, body={})["acknowledged"]
assert replication.status(index=COPY) == {"status": "REPLICATION NOT IN PROGRESS"}
refused(RequestError, 400, "illegal_argument_exception", lambda: replication.stop(index=COPY, body={}))
client.index(index=COPY, id="mine", body={"n": -1}, refresh=True)
assert count(COPY) == 251
assert replication.stop(index="x-py-auto-1", body={})["acknowledged"]
client.indices.delete(index="x-py-auto-1")
client.cluster.put_settings(body={"persistent": {"cluster": {"remote": {ALIAS: {"seeds": None}}}}})
assert ALIAS not in client.cluster.remote_info()
try:
    OpenSearch(GATEWAY).transport.perform_request("GET", "/_plugins/_replication/nothing")
    raise AssertionError("a call that does not exist was answered")
except TransportError as refusal:
    assert refusal.status_code == 400, refusal
print("opensearch-py: all is well")
