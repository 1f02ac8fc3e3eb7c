//! Which index settings travel from leader to follower, which are held while following, and which never leave.
//!
//! A setting is named flat, with its `index.` prefix, as `GET IDX/_settings?flat_settings=true` shows it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Flat index settings: name with `index.` prefix → value as the engine printed it.
pub type Settings = BTreeMap<String, Value>;

/// What replication does with a setting of the leader index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travel {
    /// The follower has the leader's value at all times.
    Copied,
    /// The follower gets the leader's value when replication stops; until then it would change what is written
    /// (pipelines transform documents a second time) or break an invariant (see [`HELD`]).
    HeldBack,
    /// Belongs to the leader's cluster or to the index's identity, never to its contents.
    Private,
}

/// Settings that the follower index has while it follows, whatever the leader says.
///
/// `gc_deletes` of zero lets a document come back with a lower version right after its tombstone (version restarts);
/// `translog.durability` of `request` is what makes an acknowledged bulk durable (I2).
pub const HELD: [(&str, &str); 2] = [
    ("index.gc_deletes", "0s"),
    ("index.translog.durability", "request"),
];

/// Prefixes of settings that are [`Travel::Private`] because they are what the index is.
const IDENTITY: [&str; 12] = [
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.version.",
    "index.resize.",
    // How copies are kept in step is each cluster's own way.
    "index.replication.",
    "index.remote_store.",
    "index.shrink.",
    "index.history.",
    "index.verified_before_close",
    "index.store.snapshot.",
    // Made of the leader's routing slots when the follower index is created, and fixed from then on.
    "index.number_of_routing_shards",
];

/// Prefixes of settings that are [`Travel::Private`] because they are the leader cluster's own business with it.
const LOCAL: [&str; 12] = [
    "index.blocks.",
    "index.lifecycle.",
    "index.opendistro.",
    "index.plugins.",
    "index.routing.allocation.",
    "index.routing.rebalance.",
    "index.allocation.",
    "index.recovery.",
    "index.frozen",
    "index.soft_deletes.retention_lease.",
    // Accepted and without effect under soft deletes on older engines, refused on newer ones.
    "index.translog.retention.",
    "index.write.wait_for_active_shards",
];

/// Settings that do not travel because of what they would do to what is written.
const PIPELINES: [&str; 2] = ["index.default_pipeline", "index.final_pipeline"];

/// The engines' default of `index.max_result_window`, and the most that is ever asked for at once.
pub const MOST_IN_AN_ANSWER: usize = 10_000;

/// The most documents that an index with these settings gives in one answer and that should be asked for.
pub fn most_in_an_answer(settings: &Settings) -> usize {
    let set = settings.get("index.max_result_window").and_then(Value::as_str);
    let most = set.and_then(|most| most.parse().ok());
    most.unwrap_or(MOST_IN_AN_ANSWER).clamp(1, MOST_IN_AN_ANSWER)
}

/// What happens to the setting `name`.
pub fn travel(name: &str) -> Travel {
    if PIPELINES.contains(&name) || HELD.iter().any(|(held, _)| *held == name) {
        return Travel::HeldBack;
    }
    let private = IDENTITY.iter().chain(&LOCAL).any(|p| {
        if p.ends_with('.') {
            name.starts_with(p)
        } else {
            name == *p
        }
    });
    if private { Travel::Private } else { Travel::Copied }
}

/// What an index that is restored from a snapshot of the leader's does not get, as patterns in which `*` stands for anything.
pub fn left_out_of_a_restore() -> Vec<String> {
    let pattern = |name: &&str| {
        if name.ends_with('.') {
            format!("{name}*")
        } else {
            (*name).to_owned()
        }
    };
    LOCAL.iter().chain(&PIPELINES).map(pattern).collect()
}

/// The settings that a follower index should have while it follows: what travels, the operator's overrides over it, and
/// the held ones over both.
pub fn while_following(leader: &Settings, overrides: &Settings) -> Settings {
    let mut wanted: Settings = leader
        .iter()
        .filter(|(name, _)| travel(name) == Travel::Copied)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    wanted.extend(
        overrides
            .iter()
            .filter(|(n, _)| travel(n) != Travel::HeldBack)
            .map(|(n, v)| (n.clone(), v.clone())),
    );
    wanted.extend(
        HELD.iter()
            .map(|(name, value)| ((*name).to_owned(), Value::from(*value))),
    );
    drop_derived(&mut wanted);
    wanted
}

/// The held-back settings as they should be once replication has stopped; `Null` puts an engine's default back.
pub fn after_stop(leader: &Settings, overrides: &Settings) -> Settings {
    let held = HELD.iter().map(|(name, _)| *name).chain(PIPELINES);
    held.map(|name| {
        let value = overrides
            .get(name)
            .or_else(|| leader.get(name))
            .cloned()
            .unwrap_or(Value::Null);
        (name.to_owned(), value)
    })
    .collect()
}

/// What must be put so that `current` becomes `wanted`: changed and new values, and `Null` for what should be gone.
/// Private settings of either side are left alone.
pub fn difference(current: &Settings, wanted: &Settings) -> Settings {
    let mut change: Settings = wanted
        .iter()
        .filter(|(name, value)| current.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for name in current.keys() {
        if !wanted.contains_key(name) && travel(name) != Travel::Private {
            change.insert(name.clone(), Value::Null);
        }
    }
    change
}

/// With `auto_expand_replicas` on, the number of replicas is the cluster's own doing.
fn drop_derived(settings: &mut Settings) {
    let auto = settings
        .get("index.auto_expand_replicas")
        .and_then(Value::as_str)
        .is_some_and(|v| v != "false");
    if auto {
        settings.remove("index.number_of_replicas");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(pairs: &[(&str, Value)]) -> Settings {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
    }

    #[test]
    fn identity_blocks_and_policies_never_travel() {
        for name in [
            "index.uuid",
            "index.version.created",
            "index.blocks.write",
            "index.lifecycle.name",
        ] {
            assert_eq!(travel(name), Travel::Private, "{name}");
        }
        assert_eq!(travel("index.refresh_interval"), Travel::Copied);
        assert_eq!(travel("index.analysis.analyzer.a.type"), Travel::Copied);
    }

    #[test]
    fn a_restored_index_gets_nothing_of_the_leader_clusters_own_business() {
        let left_out = left_out_of_a_restore();
        for name in [
            "index.blocks.*",
            "index.write.wait_for_active_shards",
            "index.default_pipeline",
        ] {
            assert!(left_out.iter().any(|pattern| pattern == name), "{name}");
        }
        // What the index is cannot be left out: engines refuse to.
        assert!(!left_out.iter().any(|pattern| pattern.starts_with("index.uuid")));
    }

    #[test]
    fn i2_durability_is_held_at_request_and_put_back_on_stop() {
        let leader = settings(&[
            ("index.translog.durability", json!("async")),
            ("index.default_pipeline", json!("p")),
            ("index.number_of_shards", json!("2")),
        ]);
        let following = while_following(&leader, &Settings::new());
        assert_eq!(following["index.translog.durability"], json!("request"));
        assert_eq!(following["index.gc_deletes"], json!("0s"));
        assert!(!following.contains_key("index.default_pipeline"));

        let stopped = after_stop(&leader, &Settings::new());
        assert_eq!(stopped["index.translog.durability"], json!("async"));
        assert_eq!(stopped["index.default_pipeline"], json!("p"));
        assert_eq!(stopped["index.gc_deletes"], Value::Null);
    }

    #[test]
    fn overrides_win_over_the_leader_but_not_over_held_settings() {
        let leader = settings(&[("index.number_of_replicas", json!("2"))]);
        let overrides = settings(&[
            ("index.number_of_replicas", json!("0")),
            ("index.translog.durability", json!("async")),
        ]);
        let following = while_following(&leader, &overrides);
        assert_eq!(following["index.number_of_replicas"], json!("0"));
        assert_eq!(following["index.translog.durability"], json!("request"));
        assert_eq!(
            after_stop(&leader, &overrides)["index.translog.durability"],
            json!("async")
        );
    }

    #[test]
    fn what_the_leader_dropped_is_reset() {
        let current = settings(&[
            ("index.refresh_interval", json!("5s")),
            ("index.uuid", json!("u")),
        ]);
        let change = difference(&current, &Settings::new());
        assert_eq!(change, settings(&[("index.refresh_interval", Value::Null)]));
    }

    #[test]
    fn a_pipeline_that_a_template_of_the_targets_gave_it_is_reset() {
        let current = settings(&[("index.final_pipeline", json!("mark"))]);
        let wanted = while_following(&Settings::new(), &Settings::new());
        let change = difference(&current, &wanted);
        assert_eq!(change.get("index.final_pipeline"), Some(&Value::Null));
    }
}
