//! How fast indices move, from one look to the next: operations a second, and when a first copy will be done.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Index, Shard};

/// What was seen of all indices so far.
#[derive(Default)]
pub(super) struct Paces(HashMap<String, Pace>);

struct Pace {
    at: Instant,
    written: u64,
    per_second: Option<f64>,
    /// When the first copy was first seen, and what it had behind it.
    copying: Option<(Instant, u64)>,
    left: Option<Duration>,
}

impl Paces {
    /// Takes in a look.
    pub(super) fn see(&mut self, found: &[Index], now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for index in found {
            let name = &index.follower_index;
            let pace = Pace::of(index, before.remove(name), now);
            self.0.insert(name.clone(), pace);
        }
    }

    /// Operations that an index has written a second between the last two looks.
    pub(super) fn per_second(&self, index: &Index) -> Option<f64> {
        self.0.get(&index.follower_index)?.per_second
    }

    /// How long the first copy will take, at the pace at which it went so far.
    pub(super) fn left(&self, index: &Index) -> Option<Duration> {
        self.0.get(&index.follower_index)?.left
    }
}

impl Pace {
    fn of(index: &Index, before: Option<Pace>, now: Instant) -> Pace {
        let written = index.shards.iter().map(|shard| shard.operations_written).sum();
        let per_second = before.as_ref().and_then(|before| {
            let seconds = now.duration_since(before.at).as_secs_f64();
            // It counts anew when the agent starts or the index is resumed.
            let more: u64 = u64::checked_sub(written, before.written)?;
            (seconds > 0.0).then(|| more as f64 / seconds)
        });
        let (done, all) = copied(index);
        let copying = (done < all).then(|| {
            before
                .and_then(|before| before.copying)
                .filter(|(_, at_first)| *at_first <= done)
                .unwrap_or((now, done))
        });
        let left = copying.and_then(|(since, at_first)| {
            let seconds = now.duration_since(since).as_secs_f64();
            let moved = (done - at_first) as f64;
            (moved > 0.0).then(|| Duration::from_secs_f64((all - done) as f64 * seconds / moved))
        });
        Pace {
            at: now,
            written,
            per_second,
            copying,
            left,
        }
    }
}

/// What an index's first copy has behind it, and all of it: bytes of files, or sequence numbers.
pub(crate) fn copied(index: &Index) -> (u64, u64) {
    if let Some(files) = &index.files {
        // Each byte travels twice: to the target's repository, and from there into the index.
        let done = files.bytes_received.midpoint(files.bytes_restored);
        return (done.min(files.bytes_total), files.bytes_total);
    }
    let of = |shard: &Shard| {
        let count = |seq_no: i64| u64::try_from(seq_no + 1).unwrap_or(0);
        let through = shard.bootstrap_through.unwrap_or(shard.scanned);
        (count(shard.scanned.min(through)), count(through))
    };
    let shards = index.shards.iter().map(of);
    shards.fold((0, 0), |sum, shard| (sum.0 + shard.0, sum.1 + shard.1))
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::index;
    use super::*;
    use crate::client::Files;

    #[test]
    fn rates_and_remaining_time_come_from_what_moved_between_looks() {
        let (mut paces, begun) = (Paces::default(), Instant::now());
        let at = |scanned: i64, written: u64| {
            let mut index = index("BOOTSTRAPPING");
            index.shards[0].bootstrap_through = Some(99);
            index.shards[0].scanned = scanned;
            index.shards[0].operations_written = written;
            vec![index]
        };
        let first = at(9, 10);
        paces.see(&first, begun);
        assert_eq!((paces.per_second(&first[0]), paces.left(&first[0])), (None, None));
        let then = at(29, 30);
        paces.see(&then, begun + Duration::from_secs(2));
        assert_eq!(paces.per_second(&then[0]), Some(10.0));
        assert_eq!(paces.left(&then[0]), Some(Duration::from_secs(7)));
        // Another life of the agent counts from 0 again.
        let anew = at(29, 5);
        paces.see(&anew, begun + Duration::from_secs(4));
        assert_eq!(paces.per_second(&anew[0]), None);
    }

    #[test]
    fn progress_counts_sequence_numbers_over_all_shards() {
        let mut index = index("BOOTSTRAPPING");
        let shard = index.shards.remove(0);
        for (scanned, bootstrap_through) in [(24, Some(99)), (-1, Some(-1)), (9, None)] {
            index.shards.push(Shard {
                scanned,
                bootstrap_through,
                ..shard.clone()
            });
        }
        assert_eq!(copied(&index), (35, 110));
        index.files = Some(Files {
            bytes_total: 100,
            bytes_received: 100,
            bytes_restored: 20,
            stage: "restore".to_owned(),
            bytes_per_second: None,
            seconds_left: None,
        });
        assert_eq!(copied(&index), (60, 100), "while it begins with files");
    }
}
