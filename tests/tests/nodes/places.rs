//! Where the copies of an index are by the leader's own account, and which copy the status says is read.

use std::collections::BTreeMap;

use slipstream_testkit::client::Es;

/// The names of the nodes that hold a shard's started copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    pub(crate) primary: Option<String>,
    pub(crate) replicas: Vec<String>,
}

impl Holders {
    /// Whether a text of the status says that the primary is read.
    pub(crate) fn is_primary(&self, reader: &str) -> bool {
        self.primary
            .as_deref()
            .is_some_and(|node| reader == tail_of("primary", node))
    }

    /// Whether it says that a replica is read.
    pub(crate) fn is_replica(&self, reader: &str) -> bool {
        self.replicas
            .iter()
            .any(|node| reader == tail_of("replica", node))
    }

    /// Whether it says that one of the copies is read.
    pub(crate) fn is_either(&self, reader: &str) -> bool {
        self.is_primary(reader) || self.is_replica(reader)
    }
}

fn tail_of(role: &str, node: &str) -> String {
    format!("translog: this agent reads the files of the {role} on node [{node}]")
}

/// The holders of each shard of an index. A copy that is moving is left out.
pub(crate) async fn holders(leader: &Es, index: &str) -> BTreeMap<u64, Holders> {
    let (_, copies) = leader.get(&format!("/_cat/shards/{index}?format=json")).await;
    let mut holders: BTreeMap<u64, Holders> = BTreeMap::new();
    for copy in copies.as_array().into_iter().flatten() {
        let text = |name: &str| copy[name].as_str().unwrap_or_default();
        let Ok(shard) = text("shard").parse() else {
            continue;
        };
        let of_shard = holders.entry(shard).or_default();
        match (text("state"), text("prirep")) {
            ("STARTED", "p") => of_shard.primary = Some(text("node").to_owned()),
            ("STARTED", _) => of_shard.replicas.push(text("node").to_owned()),
            _ => {}
        }
    }
    holders
}
