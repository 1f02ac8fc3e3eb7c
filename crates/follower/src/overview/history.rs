//! How lag went over the last half hour: one sample in five seconds of each index, and of all together.
//!
//! It lives in memory only and is bounded: 360 samples of 12 bytes are 4.3 KB an index, and no more than 2,000 indices are
//! kept, those that came first; so all of it stays below 9 MB. A moment at which lag was not known (paused, no stream
//! open, the agent busy) is a gap, never a zero.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Mutex;

use serde::Serialize;
use slipstream_model::{IndexName, Phase};

use crate::control::{IndexStatus, ShardStatus};
use crate::lock;

/// Seconds from one sample to the next.
pub(super) const SAMPLE_SECONDS: u64 = 5;
/// Samples kept: half an hour of them.
const SAMPLES: usize = 360;
/// Indices that are kept.
const MOST_INDICES: usize = 2_000;
/// Samples in one point of a [`Trend`]: the worst of half a minute.
const SAMPLES_A_POINT: usize = 6;
/// Samples over which the pace of a first copy is taken: two minutes.
const PACE_SAMPLES: usize = 24;

/// How lag went; the oldest sample first, the newest last, one list as long as the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LagHistory {
    /// Seconds from one sample to the next.
    pub every_seconds: u64,
    /// How many samples are kept at most.
    pub samples: usize,
    /// Age of the oldest acknowledged operation not yet readable on the target, in seconds; `None` where it was not known.
    pub lag_seconds: Vec<Option<f32>>,
    /// Acknowledged operations above the durable checkpoint; `None` where it was not known.
    pub lag_operations: Vec<Option<f32>>,
    /// Operations written to the target a second since the sample before.
    pub operations_per_second: Vec<Option<f32>>,
}

/// How an index has been doing, in few numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Trend {
    /// The worst lag of each half minute, in seconds, the oldest first; `None` where it was not known.
    pub lag_seconds: Vec<Option<f32>>,
    /// Operations written to the target a second, over the last five seconds.
    pub operations_per_second: Option<f32>,
    /// How much longer the first copy takes at the pace of the last two minutes, in seconds.
    pub bootstrap_seconds_left: Option<f64>,
}

/// All that is kept.
#[derive(Default)]
pub(super) struct History(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    slot: Option<u64>,
    all: Ring,
    indices: BTreeMap<IndexName, Track>,
}

#[derive(Default)]
struct Track {
    ring: Ring,
    written: u64,
    /// When the first copy had come how far, while it runs.
    copied: VecDeque<(u64, f64)>,
}

/// The last samples.
#[derive(Default)]
struct Ring(VecDeque<Sample>);

/// NaN is "not known".
#[derive(Clone, Copy)]
struct Sample {
    lag: f32,
    behind: f32,
    rate: f32,
}

const UNKNOWN: Sample = Sample {
    lag: f32::NAN,
    behind: f32::NAN,
    rate: f32::NAN,
};

impl History {
    /// Takes the samples of a moment. `slot` counts the moments from the start; one that was missed becomes a gap.
    pub(super) fn record(&self, slot: u64, indices: &[IndexStatus]) {
        let mut kept = lock(&self.0);
        if kept.slot.is_some_and(|last| last >= slot) {
            return;
        }
        let missed = kept.slot.map_or(0, |last| slot - last - 1);
        let missed = usize::try_from(missed).unwrap_or(SAMPLES).min(SAMPLES);
        let elapsed = (missed as u64 + 1) * SAMPLE_SECONDS;
        kept.slot = Some(slot);
        let names: HashSet<&IndexName> = indices.iter().map(|index| &index.follower_index).collect();
        kept.indices.retain(|name, _| names.contains(name));
        let (mut worst, mut first) = (UNKNOWN, true);
        for index in indices {
            let sample = kept.track(index, slot, missed, elapsed);
            worst.lag = worst.lag.max(sample.lag);
            worst.behind = add(worst.behind, sample.behind);
            worst.rate = add(worst.rate, sample.rate);
            first = false;
        }
        if first {
            worst = UNKNOWN;
        }
        kept.all.push(worst, missed);
    }

    /// The history of one index, or of all: there the worst lag, and the sums of the others.
    /// Empty for an index of which nothing is kept.
    pub(super) fn lag(&self, index: Option<&IndexName>) -> LagHistory {
        let kept = lock(&self.0);
        let ring = match index {
            None => Some(&kept.all),
            Some(name) => kept.indices.get(name).map(|track| &track.ring),
        };
        let samples = || ring.into_iter().flat_map(|ring| &ring.0);
        let of = |part: fn(&Sample) -> f32| samples().map(|sample| known(part(sample))).collect();
        LagHistory {
            every_seconds: SAMPLE_SECONDS,
            samples: SAMPLES,
            lag_seconds: of(|sample| sample.lag),
            lag_operations: of(|sample| sample.behind),
            operations_per_second: of(|sample| sample.rate),
        }
    }

    /// How an index has been doing; empty if nothing is kept of it.
    pub(super) fn trend(&self, index: &IndexName) -> Trend {
        let kept = lock(&self.0);
        let Some(track) = kept.indices.get(index) else {
            return Trend::default();
        };
        // The newest point ends with the newest sample.
        let samples: Vec<Sample> = track.ring.0.iter().rev().copied().collect();
        let mut points: Vec<Option<f32>> = samples
            .chunks(SAMPLES_A_POINT)
            .map(|chunk| known(chunk.iter().map(|sample| sample.lag).fold(f32::NAN, f32::max)))
            .collect();
        points.reverse();
        Trend {
            lag_seconds: points,
            operations_per_second: samples.first().and_then(|sample| known(sample.rate)),
            bootstrap_seconds_left: track.seconds_left(),
        }
    }
}

impl Kept {
    fn track(&mut self, index: &IndexStatus, slot: u64, missed: usize, elapsed: u64) -> Sample {
        let written: u64 = index.shards.iter().map(|shard| shard.operations_written).sum();
        let known_before = self.indices.contains_key(&index.follower_index);
        if !known_before && self.indices.len() >= MOST_INDICES {
            return sample(index, f32::NAN);
        }
        let track = self.indices.entry(index.follower_index.clone()).or_default();
        // Counters begin again with every life of the sessions.
        let since = written.checked_sub(track.written).unwrap_or(written);
        let rate = if known_before {
            since as f32 / elapsed as f32
        } else {
            f32::NAN
        };
        track.written = written;
        track.copies(index, slot);
        let sample = sample(index, rate);
        track.ring.push(sample, if known_before { missed } else { 0 });
        sample
    }
}

impl Track {
    fn copies(&mut self, index: &IndexStatus, slot: u64) {
        let ratio = index
            .bootstrap_ratio()
            .filter(|_| index.phase == Phase::Bootstrapping);
        let Some(ratio) = ratio else {
            self.copied.clear();
            return;
        };
        if self.copied.back().is_some_and(|(_, last)| *last > ratio) {
            self.copied.clear();
        }
        if self.copied.len() > PACE_SAMPLES {
            self.copied.pop_front();
        }
        self.copied.push_back((slot, ratio));
    }

    fn seconds_left(&self) -> Option<f64> {
        let ((from, first), (to, last)) = (self.copied.front()?, self.copied.back()?);
        let pace = (last - first) / ((to - from) * SAMPLE_SECONDS) as f64;
        (pace > 0.0).then(|| (1.0 - last) / pace)
    }
}

impl Ring {
    fn push(&mut self, sample: Sample, missed: usize) {
        for sample in std::iter::repeat_n(UNKNOWN, missed).chain([sample]) {
            if self.0.len() == SAMPLES {
                self.0.pop_front();
            }
            self.0.push_back(sample);
        }
    }
}

/// What is true of an index now.
fn sample(index: &IndexStatus, rate: f32) -> Sample {
    let lag = index.lag_seconds();
    let behind = lag.map(|_| index.lag_operations());
    Sample {
        lag: lag.map_or(f32::NAN, |lag| lag as f32),
        behind: behind.map_or(f32::NAN, |behind| behind as f32),
        rate,
    }
}

/// The sum, where one of them is known.
fn add(a: f32, b: f32) -> f32 {
    match (known(a), known(b)) {
        (None, _) => b,
        (_, None) => a,
        (Some(a), Some(b)) => a + b,
    }
}

fn known(value: f32) -> Option<f32> {
    (!value.is_nan()).then_some(value)
}

impl IndexStatus {
    /// The worst lag of its shards. `None` where it cannot be known: it does not follow, or a shard has no stream open,
    /// so that nobody tells what the leader has.
    pub fn lag_seconds(&self) -> Option<f64> {
        let all_heard = !self.shards.is_empty() && self.shards.iter().all(|shard| shard.reader.is_some());
        (self.phase == Phase::Syncing && all_heard).then(|| {
            self.shards
                .iter()
                .map(|shard| shard.lag_seconds)
                .fold(0.0, f64::max)
        })
    }

    /// Operations that the leader has acknowledged, as last heard, and that are not yet durable here.
    pub fn lag_operations(&self) -> u64 {
        self.shards.iter().map(ShardStatus::lag_operations).sum()
    }

    /// How much of the first copy is done, from 0 to 1: of the leader's files while it begins with those, else over the shards
    /// that copy documents or have done so; `None` before any was opened.
    pub fn bootstrap_ratio(&self) -> Option<f64> {
        if let Some(files) = &self.files {
            // Each byte travels twice: to the folder of the target's repository, and from there into the index.
            let done = (files.bytes_received + files.bytes_restored) as f64 / 2.0;
            let all = files.bytes_total as f64;
            // While the leader takes its snapshot some of it comes, and how much there will be is not known.
            return Some(if all > 0.0 { (done / all).min(1.0) } else { 0.0 });
        }
        let (mut done, mut all) = (0.0, 0.0);
        for shard in &self.shards {
            let through = shard.bootstrap_through.unwrap_or(shard.follower_checkpoint) + 1;
            all += through.max(0) as f64;
            done += (shard.scanned + 1).clamp(0, through.max(0)) as f64;
        }
        (!self.shards.is_empty()).then(|| if all > 0.0 { done / all } else { 0.0 })
    }
}

impl ShardStatus {
    /// Operations that the leader has acknowledged, as last heard, and that are not yet durable here.
    pub fn lag_operations(&self) -> u64 {
        u64::try_from(self.leader_checkpoint - self.follower_checkpoint).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::Reason;

    use super::*;

    fn index(name: &str, phase: Phase, lag: f64, written: u64) -> IndexStatus {
        let shard = ShardStatus {
            shard: 0,
            leader_checkpoint: 99,
            follower_checkpoint: 89,
            scanned: 89,
            bootstrap_through: None,
            reader: Some("window: no copy here".to_owned()),
            lag_seconds: lag,
            operations_read: 0,
            operations_read_translog: 0,
            operations_written: written,
            bytes_read: 0,
            failed_reads: 0,
            retries: 0,
            throttled: 0,
            write_millis: 0,
        };
        IndexStatus {
            follower_index: name.into(),
            leader_alias: "l".to_owned(),
            leader_index: name.into(),
            phase,
            reason: Reason::new(""),
            waiting_for: None,
            started_at_millis: 0,
            shards: vec![shard],
            warnings: Vec::new(),
            files: None,
            begun_with: None,
        }
    }

    #[test]
    fn lag_is_kept_over_time_and_what_is_not_known_is_a_gap() {
        let history = History::default();
        history.record(0, &[index("a", Phase::Syncing, 1.5, 100)]);
        history.record(1, &[index("a", Phase::Paused, 9.0, 100)]);
        // Slot 2 was missed.
        history.record(3, &[index("a", Phase::Syncing, 0.5, 200)]);
        let mut unheard = index("a", Phase::Syncing, 0.0, 200);
        unheard.shards[0].reader = None;
        history.record(4, &[unheard]);
        let lag = history.lag(Some(&"a".into()));
        assert_eq!(lag.lag_seconds, [Some(1.5), None, None, Some(0.5), None]);
        assert_eq!(lag.lag_operations, [Some(10.0), None, None, Some(10.0), None]);
        assert_eq!(
            lag.operations_per_second,
            [None, Some(0.0), None, Some(10.0), Some(0.0)]
        );
        assert_eq!(history.trend(&"a".into()).lag_seconds, [Some(1.5)]);
        assert!(history.lag(Some(&"b".into())).lag_seconds.is_empty());
    }

    #[test]
    fn all_together_are_the_worst_lag_and_the_sum_of_the_work() {
        let history = History::default();
        for slot in 0..2 {
            let written = slot * 50;
            history.record(
                slot,
                &[
                    index("a", Phase::Syncing, 1.0, written),
                    index("b", Phase::Syncing, 3.0, written),
                    index("c", Phase::Failed, 0.0, 0),
                ],
            );
        }
        let all = history.lag(None);
        assert_eq!(all.lag_seconds, [Some(3.0), Some(3.0)]);
        assert_eq!(all.lag_operations[1], Some(20.0));
        assert_eq!(all.operations_per_second[1], Some(20.0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_has_ended_is_forgotten() {
        let history = History::default();
        let many: Vec<IndexStatus> = (0..MOST_INDICES + 10)
            .map(|n| index(&format!("i{n}"), Phase::Syncing, 0.0, 0))
            .collect();
        history.record(0, &many);
        assert_eq!(lock(&history.0).indices.len(), MOST_INDICES);
        for slot in 1..1_000 {
            history.record(slot, &many[..1]);
        }
        assert_eq!(lock(&history.0).indices.len(), 1);
        let ring = history.lag(Some(&"i0".into()));
        assert_eq!(ring.lag_seconds.len(), SAMPLES);
        assert_eq!(
            history.trend(&"i0".into()).lag_seconds.len(),
            SAMPLES / SAMPLES_A_POINT
        );
        assert_eq!(size_of::<Sample>() * SAMPLES, 4_320, "as the documentation says");
        // A machine that slept for a year does not take a year to fill the gap.
        history.record(u64::MAX, &many[..1]);
        assert_eq!(history.lag(None).lag_seconds.iter().flatten().count(), 1);
    }

    #[test]
    fn the_end_of_a_first_copy_is_told_from_its_pace() {
        let history = History::default();
        for (slot, scanned) in [(0, -1), (1, 99), (2, 199)] {
            let mut copying = index("a", Phase::Bootstrapping, 0.0, 0);
            copying.shards[0].bootstrap_through = Some(999);
            copying.shards[0].scanned = scanned;
            history.record(slot, &[copying]);
        }
        let left = history.trend(&"a".into()).bootstrap_seconds_left.unwrap();
        assert!((left - 40.0).abs() < 1e-6, "{left}");
        history.record(3, &[index("a", Phase::Syncing, 0.0, 0)]);
        assert_eq!(history.trend(&"a".into()).bootstrap_seconds_left, None);
    }
}
