//! Lag of the translog reader, against a write straight into the target: the least that anything could take which brings
//! a document there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::tail_ground::{Ground, PAUSE_SHARE, Seen, TIGHT, WATCHED, WRITERS};
use crate::agents::{Agents, Reader, Setup};
use crate::output::aside;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::spread::Spread;
use crate::world::World;

/// Writes a second.
const RATES: [f64; 3] = [1.0, 100.0, 1000.0];
/// The median lag should be at most this multiple of a write's median.
const MEDIAN_GOAL: f64 = 1.5;
/// The 99th percentile of this one's.
const TAIL_GOAL: f64 = 5.0;
/// One number of indices and one rate.
struct Case {
    indices: usize,
    rate: f64,
    time: Duration,
    lags: [Spread; 2],
    writes: [Spread; 2],
    ratios: [Spread; 2],
    /// The median of a write into the target while both clusters are written to, and what the lag is of it.
    both: [Spread; 2],
    answers: Spread,
    reached: Spread,
}

impl Case {
    fn new(indices: usize, rate: f64, plan: &Plan) -> Case {
        Case {
            indices,
            rate,
            time: if rate < 10.0 {
                plan.slow_tail_time
            } else {
                plan.tail_time
            },
            lags: Default::default(),
            writes: Default::default(),
            ratios: Default::default(),
            both: Default::default(),
            answers: Spread::default(),
            reached: Spread::default(),
        }
    }

    fn add(&mut self, seen: &Seen, both: &Spread) {
        let (lag, write) = (seen.lags.quantile(0.5), both.quantile(0.5));
        self.both[0].add(write);
        self.both[1].add(lag / write);
        for (at, share) in [0.5, 0.99].into_iter().enumerate() {
            let (lag, write) = (seen.lags.quantile(share), seen.writes.quantile(share));
            self.lags[at].add(lag);
            self.writes[at].add(write);
            self.ratios[at].add(lag / write);
        }
        self.answers.add(seen.answers.quantile(0.5));
        self.reached.add(seen.reached);
    }

    fn rows(self) -> Vec<Row> {
        let indices = if self.indices == 1 {
            "1 index".to_owned()
        } else {
            format!("{} indices", self.indices)
        };
        let name = format!("{indices}, {:.0}/s", self.rate);
        let mut rows = vec![Row::new(format!("{name}: writes"), Unit::PerSecond, self.reached)];
        let shares = ["p50", "p99"].into_iter().zip([MEDIAN_GOAL, TAIL_GOAL]);
        let measured = self.ratios.into_iter().zip(self.lags).zip(self.writes);
        for ((share, goal), ((ratio, lag), write)) in shares.zip(measured) {
            let headline = format!("Tail's lag {share} / `PUT` into the target, {name}");
            rows.push(Row::new(headline, Unit::Ratio, ratio).goal(Goal::AtMost(goal)));
            rows.push(Row::new(format!("{name}: lag {share}"), Unit::Seconds, lag));
            rows.push(Row::new(format!("{name}: `PUT` {share}"), Unit::Seconds, write));
        }
        let row = format!("{name}: of the lag, the answer that has the document, p50");
        rows.push(Row::new(row, Unit::Seconds, self.answers));
        let [write, ratio] = self.both;
        let headline = format!("Tail's lag p50 / `PUT` with both clusters written to, {name}");
        rows.push(Row::new(headline, Unit::Ratio, ratio));
        let row = format!("{name}: `PUT` p50 with both written to");
        rows.push(Row::new(row, Unit::Seconds, write));
        rows
    }
}

/// Measures all rates in turn, over and over, with each number of indices.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let setup = Setup {
        reader: Reader::Translog,
        ..Setup::default()
    };
    let agents = Agents::start(world, setup).await?;
    let (mut rows, mut seed) = (Vec::new(), 0);
    let mut lead_in = plan.tail_lead_in;
    for &indices in &plan.tailed {
        let ground = Arc::new(Ground::lay(world, &agents, indices).await?);
        let mut cases = RATES.map(|rate| Case::new(indices, rate, plan));
        ground.watch(RATES[2], lead_in, seed).await?;
        // The JVMs are warm from here on; new indices need less.
        lead_in = plan.tail_lead_in / 4;
        for _ in 0..plan.samples {
            for case in &mut cases {
                seed += 2;
                let seen = ground.watch(case.rate, case.time, seed).await?;
                seed += 2;
                let both = ground.both(case.rate, case.time, seed).await?;
                aside(&format!(
                    "         {indices} indices, {:.0}/s: {seen}; both written, PUT p50 {:.2} ms",
                    case.rate,
                    both.quantile(0.5) * 1000.0
                ));
                case.add(&seen, &both);
            }
        }
        ground.field.check(&agents).await?;
        ground.clear(&agents).await?;
        rows.extend(cases.into_iter().flat_map(Case::rows));
    }
    Ok(Measured {
        title: "Translog reader: lag".to_owned(),
        how: format!(
            "From the leader's acknowledgement of a single write of some 40 bytes until a realtime `GET` on the follower \
             index finds it, asked again as soon as it is answered, after {} ms with pauses of a {PAUSE_SHARE}th of the time \
             that has passed (so a lag is overstated by up to one question and its answer); and in turn with that, at moments of their own, writes \
             of the same kind straight into indices of the target, as many as follow, each timed until its answer. Writes come at \
             random moments, one after another into all indices; {WATCHED:.0} a second are watched at most, the others come on \
             {WRITERS} connections. *With both written to*, no index is followed, and whoever writes to the leader writes the same \
             to the target at the same moment: what the target takes while the leader works on the same cores, without agents. \
             Indices have one shard and never refresh: a search would find nothing. p50 and p99 are \
             those of each sample of {} s, at 1/s of {} s, so that there p99 is the greatest of a few.",
            TIGHT.as_millis(),
            plan.tail_time.as_secs(),
            plan.slow_tail_time.as_secs(),
        ),
        rows,
    })
}
