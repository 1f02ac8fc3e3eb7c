//! Who answers: `GET /` and `_nodes`.

use serde_json::{Value, json};

use crate::call::Reply;
use crate::cluster::{Cluster, Flavor};
use crate::time::unix_millis;

/// The name of the only node.
const NODE: &str = "sandbox";

/// `GET /`.
pub(crate) fn info(cluster: &Cluster) -> Reply {
    let (more, tagline) = match cluster.flavor {
        Flavor::OpenSearch => (
            json!({
                "distribution": "opensearch", "lucene_version": "9.12.1",
                "minimum_wire_compatibility_version": "7.10.0", "minimum_index_compatibility_version": "7.0.0",
            }),
            "The OpenSearch Project: https://opensearch.org/",
        ),
        Flavor::Elasticsearch => (
            json!({
                "build_flavor": "oss", "lucene_version": "8.7.0",
                "minimum_wire_compatibility_version": "6.8.0", "minimum_index_compatibility_version": "6.0.0-beta1",
            }),
            "You Know, for Search",
        ),
    };
    let mut version = more;
    version["number"] = json!(cluster.flavor.version());
    version["build_type"] = json!("sandbox");
    version["build_hash"] = json!("unknown");
    version["build_snapshot"] = json!(false);
    Reply::json(&json!({
        "name": NODE, "cluster_name": cluster.name, "cluster_uuid": cluster.uuid, "version": version,
        "tagline": tagline,
    }))
}

/// The node as lists of nodes show it.
pub(crate) fn summary(cluster: &Cluster) -> Value {
    let address = cluster.address.to_string();
    let manager = match cluster.flavor {
        Flavor::OpenSearch => "cluster_manager",
        Flavor::Elasticsearch => "master",
    };
    json!({
        "name": NODE, "transport_address": address, "host": cluster.address.ip().to_string(), "ip": address,
        "roles": [manager, "data", "ingest"], "attributes": {},
    })
}

/// `GET _nodes/_local/stats/jvm`: nothing of it but the time.
pub(crate) fn stats(cluster: &Cluster) -> Reply {
    let now = unix_millis();
    Reply::json(&json!({
        "_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": cluster.name,
        "nodes": {&cluster.node: {"timestamp": now, "name": NODE, "jvm": {"timestamp": now}}},
    }))
}

/// `GET _nodes` and `_nodes/_local`. No `path` is told: there are no translog files for an agent to look for.
pub(crate) fn nodes(cluster: &Cluster) -> Reply {
    let mut node = summary(cluster);
    let address = cluster.address.to_string();
    node["ip"] = json!(cluster.address.ip().to_string());
    node["version"] = json!(cluster.flavor.version());
    node["settings"] = json!({"cluster": {"name": cluster.name}, "node": {"name": NODE}});
    node["http"] = json!({"bound_address": [address], "publish_address": address});
    node["plugins"] = json!([]);
    node["modules"] = json!([]);
    Reply::json(&json!({
        "_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": cluster.name,
        "nodes": {&cluster.node: node},
    }))
}
