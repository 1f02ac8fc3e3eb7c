//! How much is measured: enough to tell, within twenty minutes on two cores.

use std::time::Duration;

use crate::args::Args;

/// The sizes of a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Samples of each measurement, after one warm-up.
    pub(crate) samples: usize,
    /// Documents of a bootstrap whose speed is measured.
    pub(crate) bootstrap_docs: u64,
    /// Documents of the bootstrap during which the agents' memory is watched.
    pub(crate) memory_docs: u64,
    /// Documents of a bootstrap whose bytes are counted.
    pub(crate) wire_docs: u64,
    /// How many shapes of the loader are tried at most.
    pub(crate) shapes: usize,
    /// Numbers of shards to bootstrap.
    pub(crate) shards: &'static [u32],
    /// Samples of the leader's load, whose differences are small.
    pub(crate) load_samples: usize,
    /// How long each of them takes.
    pub(crate) load_time: Duration,
    /// Writes before anything paced is measured, so that the index is not an idle one.
    pub(crate) lead_in: Duration,
    /// How long lag is watched at one write a second.
    pub(crate) slow_lag_time: Duration,
    /// How long lag is watched at more, and bytes are counted.
    pub(crate) lag_time: Duration,
    /// Numbers of indices that are tailed at once.
    pub(crate) tailed: Vec<usize>,
    /// How long the lag of a tail is watched each time, at one write a second.
    pub(crate) slow_tail_time: Duration,
    /// At more.
    pub(crate) tail_time: Duration,
    /// Writes before that, so that both JVMs have compiled what serves them.
    pub(crate) tail_lead_in: Duration,
    /// Documents that a follower is behind.
    pub(crate) catch_up_docs: u64,
    /// Documents whose cost for the leader is measured, with the translog reader and without.
    pub(crate) tail_load_docs: u64,
    /// Samples of that: differences of one percent are looked for.
    pub(crate) tail_load_samples: usize,
    /// Rounds before the first that counts: it takes so many until the leader's JVM gets no faster.
    pub(crate) tail_load_warm_ups: usize,
    /// How many indices of ten shards are tailed to see what many shards cost.
    pub(crate) many_indices: usize,
    /// How long they rest before they count as idle.
    pub(crate) many_rest: Duration,
    /// How long they are then watched, each time.
    pub(crate) many_watch: Duration,
    /// Tiny indices that begin with files together.
    pub(crate) tiny: usize,
    /// Documents of a middling index that begins with files.
    pub(crate) middling_docs: u64,
    /// Samples of the leader's indexing rate beside bootstraps.
    pub(crate) beside_samples: usize,
    /// Small requests that are passed on, a sample.
    pub(crate) proxied: usize,
    /// Indices that a rule finds at once.
    pub(crate) found: usize,
    /// Samples of that.
    pub(crate) found_samples: usize,
    /// How long an agent rests before its memory counts as an idle one's.
    pub(crate) rest: Duration,
}

impl Plan {
    /// The plan that the command line asks for.
    pub(crate) fn of(args: &Args) -> Plan {
        let seconds = Duration::from_secs;
        let mut plan = if args.is_quick() {
            Plan {
                samples: 1,
                bootstrap_docs: 5_000,
                memory_docs: 5_000,
                wire_docs: 5_000,
                shapes: 2,
                shards: &[1, 2],
                load_samples: 1,
                load_time: seconds(2),
                lead_in: seconds(1),
                slow_lag_time: seconds(3),
                lag_time: seconds(2),
                tailed: vec![1, 3],
                slow_tail_time: seconds(2),
                tail_time: seconds(1),
                tail_lead_in: seconds(1),
                catch_up_docs: 5_000,
                tail_load_docs: 5_000,
                tail_load_samples: 1,
                tail_load_warm_ups: 1,
                many_indices: 3,
                many_rest: seconds(2),
                many_watch: seconds(3),
                tiny: 5,
                middling_docs: 2_000,
                beside_samples: 1,
                proxied: 40,
                found: 20,
                found_samples: 1,
                rest: seconds(1),
            }
        } else {
            Plan {
                samples: 3,
                bootstrap_docs: 300_000,
                memory_docs: 1_000_000,
                wire_docs: 100_000,
                shapes: usize::MAX,
                shards: &[1, 4],
                load_samples: 5,
                load_time: seconds(12),
                lead_in: seconds(3),
                slow_lag_time: seconds(30),
                lag_time: seconds(15),
                tailed: vec![1, 10, 100],
                slow_tail_time: seconds(10),
                tail_time: seconds(5),
                tail_lead_in: seconds(40),
                catch_up_docs: 500_000,
                tail_load_docs: 40_000,
                tail_load_samples: 12,
                tail_load_warm_ups: 8,
                many_indices: 100,
                many_rest: seconds(45),
                many_watch: seconds(30),
                tiny: 100,
                middling_docs: 200_000,
                beside_samples: 6,
                proxied: 2_000,
                found: 500,
                found_samples: 3,
                rest: seconds(8),
            }
        };
        if let Some(docs) = args.docs {
            (plan.bootstrap_docs, plan.memory_docs, plan.wire_docs) = (docs, docs, docs);
            plan.catch_up_docs = docs;
        }
        if !args.tailed.is_empty() {
            plan.tailed = args.tailed.iter().map(|indices| usize::from(*indices)).collect();
        }
        if let Some(shards) = args.tailed_shards {
            plan.many_indices = shards as usize / 10;
        }
        if let Some(found) = args.found {
            plan.found = found as usize;
        }
        if let Some(samples) = args.samples {
            plan.found_samples = samples as usize;
            (plan.samples, plan.load_samples) = (samples as usize, samples as usize);
            plan.tail_load_samples = samples as usize;
            plan.beside_samples = samples as usize;
        }
        plan
    }
}
