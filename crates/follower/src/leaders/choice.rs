//! Which agent is to stream a shard, from what is known of the agents and of where the shard's copies are.
//!
//! Among equals the choice is by the hash of agent and shard: it spreads shards over agents, is the same each time, and
//! an agent that comes or goes moves only the shards that are its own.

use std::hash::{DefaultHasher, Hash, Hasher};

use slipstream_model::ShardKey;

/// An agent as far as the choice goes.
pub(super) trait Candidate {
    /// Its address.
    fn agent(&self) -> &str;
    /// The id of the node beside it; `None` where that is not known, or the agent does not read files anyway.
    fn tailed_node(&self) -> Option<&str>;
}

/// The nodes that hold one shard, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// The node of the primary; `None` while there is no primary.
    pub(super) primary: Option<String>,
    /// The nodes of the other copies.
    pub(super) replicas: Vec<String>,
}

/// What an agent has of a shard, in the order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Files {
    None,
    Replica,
    Primary,
}

fn files<C: Candidate>(candidate: &C, holders: Option<&Holders>) -> Files {
    let (Some(node), Some(holders)) = (candidate.tailed_node(), holders) else {
        return Files::None;
    };
    if holders.primary.as_deref() == Some(node) {
        Files::Primary
    } else if holders.replicas.iter().any(|replica| replica == node) {
        Files::Replica
    } else {
        Files::None
    }
}

fn weight<C: Candidate>(candidate: &C, shard: &ShardKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    (candidate.agent(), shard).hash(&mut hasher);
    hasher.finish()
}

/// The agent for a shard; `None` only if there are no agents. `avoid` is the address of one that is taken last.
pub(super) fn choose<'a, C: Candidate>(
    candidates: &'a [C],
    holders: Option<&Holders>,
    shard: &ShardKey,
    avoid: Option<&str>,
) -> Option<&'a C> {
    candidates.iter().max_by_key(|candidate| {
        (
            avoid != Some(candidate.agent()),
            files(*candidate, holders),
            weight(*candidate, shard),
        )
    })
}

/// The agent that reads the files of a copy, if `current` does not.
pub(super) fn better<'a, C: Candidate>(
    candidates: &'a [C],
    holders: &Holders,
    shard: &ShardKey,
    current: &str,
) -> Option<&'a C> {
    let reads = |candidate: &C| files(candidate, Some(holders)) > Files::None;
    if candidates.iter().any(|c| c.agent() == current && reads(c)) {
        return None;
    }
    choose(candidates, Some(holders), shard, Some(current)).filter(|chosen| reads(chosen))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slipstream_model::ShardId;

    use super::*;

    /// `agent`, `node`, whether it tails.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Agent(&'static str, &'static str, bool);

    impl Candidate for Agent {
        fn agent(&self) -> &str {
            self.0
        }

        fn tailed_node(&self) -> Option<&str> {
            Some(self.1).filter(|node| self.2 && !node.is_empty())
        }
    }

    fn shard(number: u32) -> ShardKey {
        ShardKey {
            index: "logs".into(),
            shard: ShardId(number),
        }
    }

    fn holders(primary: Option<&str>, replicas: &[&str]) -> Holders {
        Holders {
            primary: primary.map(str::to_owned),
            replicas: replicas.iter().map(|&node| node.to_owned()).collect(),
        }
    }

    /// What it is, the agents, where the copies are, who is avoided or serves now, who is chosen.
    type Case<'a, Chosen> = (&'a str, &'a [Agent], Holders, Option<&'a str>, Chosen);

    const A: Agent = Agent("a:1", "na", true);
    const B: Agent = Agent("b:1", "nb", true);
    const C: Agent = Agent("c:1", "nc", true);
    const B_WINDOW: Agent = Agent("b:1", "nb", false);
    const B_OLD: Agent = Agent("b:1", "", false);

    #[test]
    fn files_decide_before_the_hash_does() {
        let table: [Case<&str>; 9] = [
            (
                "the primary's",
                &[A, B, C],
                holders(Some("nb"), &["na", "nc"]),
                None,
                "b:1",
            ),
            (
                "the only replica's",
                &[A, B, C],
                holders(Some("nx"), &["nc"]),
                None,
                "c:1",
            ),
            (
                "a replica while there is no primary",
                &[A, B, C],
                holders(None, &["na"]),
                None,
                "a:1",
            ),
            (
                "the primary's does not tail",
                &[A, B_WINDOW],
                holders(Some("nb"), &["na"]),
                None,
                "a:1",
            ),
            (
                "the primary's is too old",
                &[A, B_OLD],
                holders(Some("nb"), &["na"]),
                None,
                "a:1",
            ),
            (
                "the primary's is avoided",
                &[A, B],
                holders(Some("nb"), &["na"]),
                Some("b:1"),
                "a:1",
            ),
            (
                "avoided for one without files",
                &[A, B],
                holders(Some("nb"), &[]),
                Some("b:1"),
                "a:1",
            ),
            (
                "avoided, and the only one",
                &[B],
                holders(Some("nb"), &[]),
                Some("b:1"),
                "b:1",
            ),
            ("alone without files", &[A], holders(Some("nx"), &[]), None, "a:1"),
        ];
        for (case, agents, holders, avoid, expected) in table {
            for number in 0..20 {
                let chosen = choose(agents, Some(&holders), &shard(number), avoid).unwrap();
                assert_eq!(chosen.agent(), expected, "{case}");
            }
        }
        assert_eq!(choose::<Agent>(&[], None, &shard(0), None), None);
    }

    #[test]
    fn an_old_agent_never_stands_beside_a_nameless_node() {
        let nowhere = holders(Some(""), &[]);
        assert_eq!(files(&Agent("b:1", "", true), Some(&nowhere)), Files::None);
    }

    #[test]
    fn without_files_the_shards_spread_and_only_a_lost_agents_shards_move() {
        let all = [A, B_WINDOW, C];
        let choice = |agents: &[Agent], number| choose(agents, None, &shard(number), None).unwrap().clone();
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        for number in 0..300 {
            let chosen = choice(&all, number);
            *count.entry(chosen.0).or_default() += 1;
            let without = choice(&[A, B_WINDOW], number);
            assert!(
                chosen == C || chosen == without,
                "shard {number} moved for nothing"
            );
        }
        assert_eq!(count.len(), 3);
        assert!(count.values().all(|&streams| streams > 60), "{count:?}");
    }

    #[test]
    fn replicas_of_many_agents_are_spread_too() {
        let holders = holders(Some("nx"), &["na", "nb"]);
        let chosen: Vec<&str> = (0..50)
            .map(|number| {
                choose(&[A, B, C], Some(&holders), &shard(number), None)
                    .unwrap()
                    .0
            })
            .collect();
        assert!(chosen.contains(&"a:1") && chosen.contains(&"b:1") && !chosen.contains(&"c:1"));
    }

    #[test]
    fn another_agent_is_better_only_if_it_reads_files_that_the_current_one_does_not() {
        let table: [Case<Option<&str>>; 8] = [
            (
                "the shard moved to b",
                &[A, B],
                holders(Some("nb"), &[]),
                Some("a:1"),
                Some("b:1"),
            ),
            (
                "b has a replica at least",
                &[A, B],
                holders(Some("nx"), &["nb"]),
                Some("a:1"),
                Some("b:1"),
            ),
            (
                "of two the primary's",
                &[A, B, C],
                holders(Some("nc"), &["nb"]),
                Some("a:1"),
                Some("c:1"),
            ),
            (
                "a has a copy itself",
                &[A, B],
                holders(Some("nb"), &["na"]),
                Some("a:1"),
                None,
            ),
            (
                "b does not tail",
                &[A, B_WINDOW],
                holders(Some("nb"), &[]),
                Some("a:1"),
                None,
            ),
            (
                "the current one does not tail",
                &[A, B_WINDOW],
                holders(Some("nb"), &["na"]),
                Some("b:1"),
                Some("a:1"),
            ),
            (
                "the current one is gone",
                &[B],
                holders(Some("nb"), &[]),
                Some("a:1"),
                Some("b:1"),
            ),
            (
                "nobody has files",
                &[A, B],
                holders(Some("nx"), &[]),
                Some("a:1"),
                None,
            ),
        ];
        for (case, agents, holders, current, expected) in table {
            let found = better(agents, &holders, &shard(0), current.unwrap()).map(Candidate::agent);
            assert_eq!(found, expected, "{case}");
        }
    }
}
