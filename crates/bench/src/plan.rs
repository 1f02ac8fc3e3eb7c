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
                rest: seconds(8),
            }
        };
        if let Some(docs) = args.docs {
            (plan.bootstrap_docs, plan.memory_docs, plan.wire_docs) = (docs, docs, docs);
        }
        if let Some(samples) = args.samples {
            (plan.samples, plan.load_samples) = (samples as usize, samples as usize);
        }
        plan
    }
}
