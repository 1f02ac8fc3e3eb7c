#!/usr/bin/env bash
# What a new user types: a leader is registered, an index followed, changed, found, guarded and stopped.
#
# Environment: GATEWAY, LEADER and TARGET (URLs), AGENT (the leader agent's HOST:PORT).
set -euo pipefail

call() { # METHOD URL [BODY]: the answer, its status in the last line
    local body=()
    [ $# -lt 3 ] || body=(-H 'Content-Type: application/json' -d "$3")
    curl -sS --noproxy '*' -X "$1" "$2" "${body[@]}" -w '\n%{http_code}\n'
}
must() { # STATUS WORDS METHOD URL [BODY]
    local answer status=$1 words=$2
    answer=$(call "${@:3}")
    if [ "${answer##*$'\n'}" != "$status" ] || ! grep -qF -- "$words" <<<"$answer"; then
        echo "walkthrough.sh: $3 $4 was to be answered with $status and \`$words\`:" >&2
        echo "$answer" >&2
        exit 1
    fi
}
eventually() { # as must, until it holds
    local end=$((SECONDS + 60))
    while ! (must "$@") 2>/dev/null; do
        [ $SECONDS -lt $end ] || must "$@"
        sleep 0.2
    done
}

must 200 '"acknowledged":true' PUT "$GATEWAY/_cluster/settings" \
    "{\"persistent\":{\"cluster\":{\"remote\":{\"leader-cluster\":{\"seeds\":[\"$AGENT\"]}}}}}"
must 200 '"acknowledged":true' PUT "$LEADER/leader-01" '{"settings":{"number_of_shards":1,"number_of_replicas":0}}'
must 201 '"result":"created"' PUT "$LEADER/leader-01/_doc/1" '{"value":"data1"}'
must 201 '"result":"created"' PUT "$LEADER/leader-01/_doc/3" '{"value":"data3"}'
must 200 '"acknowledged":true' PUT "$GATEWAY/_opendistro/_replication/follower-01/_start" \
    '{"remote_cluster":"leader-cluster","remote_index":"leader-01"}'
must 200 '"result":"updated"' PUT "$LEADER/leader-01/_doc/1" '{"value":"data1-modified"}'
must 201 '"result":"created"' PUT "$LEADER/leader-01/_doc/2" '{"value":"data2"}'
must 200 '"result":"deleted"' DELETE "$LEADER/leader-01/_doc/3"
eventually 200 '"status" : "SYNCING"' GET "$GATEWAY/_opendistro/_replication/follower-01/_status?pretty"
eventually 200 'follower-01 2' GET "$TARGET/_cat/indices/follower-01?h=index,docs.count"
eventually 200 '"_id":"1","_version":2,"_score":1.0,"_source":{"value":"data1-modified"}' \
    GET "$GATEWAY/follower-01/_search?version=true"
eventually 200 '"_id":"2","_version":1,"_score":1.0,"_source":{"value":"data2"}' \
    GET "$GATEWAY/follower-01/_search?version=true"
eventually 404 '"found":false' GET "$GATEWAY/follower-01/_doc/3"
must 403 'index [follower-01] blocked by: [FORBIDDEN/1000/index read-only(cross-cluster-replication)];' \
    PUT "$GATEWAY/follower-01/_doc/9" '{"value":"mine"}'
must 200 '"acknowledged":true' POST "$GATEWAY/_opendistro/_replication/follower-01/_stop" '{}'
must 200 '{"status":"REPLICATION NOT IN PROGRESS"}' GET "$GATEWAY/_opendistro/_replication/follower-01/_status"
must 201 '"result":"created"' PUT "$GATEWAY/follower-01/_doc/9" '{"value":"mine"}'
must 200 '"result":"updated"' PUT "$LEADER/leader-01/_doc/2?refresh=true" '{"value":"too late"}'
sleep 2
must 200 '"_source":{"value":"data2"}' GET "$GATEWAY/follower-01/_doc/2"
echo "curl: all is well"
