//! Lag of the translog reader, against a write straight into the target: the least that anything could take which brings
//! a document there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::agents::{Agents, Reader, Setup};
use crate::documents;
use crate::field::Field;
use crate::output::aside;
use crate::pace::Pace;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::PATIENCE;
use crate::spread::Spread;
use crate::world::World;

/// Writes a second.
const RATES: [f64; 3] = [1.0, 100.0, 1000.0];
/// At most this many of them are watched, and as many go straight into the target.
const WATCHED: f64 = 20.0;
/// Connections of the writes that are not watched.
const WRITERS: usize = 16;
/// The median lag should be at most this multiple of a write's median.
const MEDIAN_GOAL: f64 = 1.5;
/// The 99th percentile of this one's.
const TAIL_GOAL: f64 = 5.0;
/// For this long a copy is asked without a pause whether it has a document; then with pauses of a share of the time that
/// has passed, which is the most by which a lag is overstated.
const TIGHT: Duration = Duration::from_millis(16);
const PAUSE_SHARE: u32 = 16;

/// One number of indices and one rate.
struct Case {
    indices: usize,
    rate: f64,
    time: Duration,
    lags: [Spread; 2],
    writes: [Spread; 2],
    ratios: [Spread; 2],
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
            reached: Spread::default(),
        }
    }

    fn add(&mut self, seen: &Seen) {
        for (at, share) in [0.5, 0.99].into_iter().enumerate() {
            let (lag, write) = (seen.lags.quantile(share), seen.writes.quantile(share));
            self.lags[at].add(lag);
            self.writes[at].add(write);
            self.ratios[at].add(lag / write);
        }
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
    for &indices in plan.tailed {
        let ground = Arc::new(Ground::lay(world, &agents, indices).await?);
        let mut cases = RATES.map(|rate| Case::new(indices, rate, plan));
        ground.watch(RATES[2], lead_in, seed).await?;
        // The JVMs are warm from here on; new indices need less.
        lead_in = plan.tail_lead_in / 4;
        for _ in 0..plan.samples {
            for case in &mut cases {
                seed += 2;
                let seen = ground.watch(case.rate, case.time, seed).await?;
                aside(&format!("         {indices} indices, {:.0}/s: {seen}", case.rate));
                case.add(&seen);
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
             that has passed; and in turn with that, at moments of their own, writes \
             of the same kind straight into indices of the target, as many as follow, each timed until its answer. Writes come at \
             random moments, one after another into all indices; {WATCHED:.0} a second are watched at most, the others come on \
             {WRITERS} connections. Indices have one shard and never refresh: a search would find nothing. p50 and p99 are \
             those of each sample of {} s, at 1/s of {} s, so that there p99 is the greatest of a few.",
            TIGHT.as_millis(),
            plan.tail_time.as_secs(),
            plan.slow_tail_time.as_secs(),
        ),
        rows,
    })
}

/// What one sample has seen.
struct Seen {
    lags: Spread,
    writes: Spread,
    /// Writes on the leader, a second.
    reached: f64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |spread: &Spread, share| spread.quantile(share) * 1000.0;
        write!(
            f,
            "lag p50 {:.2} ms, p99 {:.2} ms of {}; PUT p50 {:.2} ms, p99 {:.2} ms of {}; {:.0}/s",
            ms(&self.lags, 0.5),
            ms(&self.lags, 0.99),
            self.lags.len(),
            ms(&self.writes, 0.5),
            ms(&self.writes, 0.99),
            self.writes.len(),
            self.reached
        )
    }
}

/// Replicated indices, and as many of the target's own: the next write into one of a hundred finds its shard less warm than
/// one into always the same does, whoever writes it.
struct Ground {
    field: Field,
    direct: Vec<String>,
    next: AtomicU64,
}

impl Ground {
    async fn lay(world: &World, agents: &Agents, indices: usize) -> Result<Ground> {
        let definition = json!({
            "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" },
            "mappings": { "properties": { "number": { "type": "long" }, "word": { "type": "keyword" } } },
        });
        let direct: Vec<String> = (0..indices).map(|_| world.name("direct")).collect();
        for index in &direct {
            world.target.rest.put(&format!("/{index}"), &definition).await?;
        }
        Ok(Ground {
            field: Field::plant(world, agents, indices, &definition).await?,
            direct,
            next: AtomicU64::new(0),
        })
    }

    async fn clear(&self, agents: &Agents) -> Result<()> {
        self.field.clear(agents).await?;
        for index in &self.direct {
            self.field.target.delete_index(index).await?;
        }
        Ok(())
    }

    /// Where the document with a number goes: the index on the leader, and its copy.
    fn index(&self, number: usize) -> (&str, &str) {
        let (index, copy) = &self.field.indices[number % self.field.indices.len()];
        (index, copy)
    }

    /// A new document: its number, id and source.
    fn document(&self) -> (usize, String, String) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let source = format!("{{\"number\":{number},\"word\":\"streams\"}}");
        (number as usize, documents::id(number), source)
    }

    /// Writes at a rate, and watches.
    async fn watch(self: &Arc<Self>, rate: f64, time: Duration, seed: u64) -> Result<Seen> {
        let begun = Instant::now();
        let watched = rate.min(WATCHED);
        let mut writers = JoinSet::new();
        if rate > watched {
            let pace = Arc::new(Mutex::new(Pace::new(rate - watched, time, seed)));
            for _ in 0..WRITERS {
                writers.spawn(Arc::clone(self).write(Arc::clone(&pace)));
            }
        }
        let (lags, writes) = self.probe(watched, time, seed).await?;
        let mut written = lags.len();
        while let Some(more) = writers.join_next().await {
            written += more??;
        }
        ensure!(
            !lags.is_empty() && !writes.is_empty(),
            "nothing was watched: the time is too short for {rate}/s"
        );
        Ok(Seen {
            lags: lags.into_iter().collect(),
            writes: writes.into_iter().collect(),
            reached: written as f64 / begun.elapsed().as_secs_f64(),
        })
    }

    /// One of the connections that share the pace. Returns how many documents it has written.
    async fn write(self: Arc<Self>, pace: Arc<Mutex<Pace>>) -> Result<usize> {
        let mut written = 0;
        while pace.lock().await.next().await {
            let (number, id, source) = self.document();
            let (index, _) = self.index(number);
            self.field.leader.put_document(index, &id, source).await?;
            written += 1;
        }
        Ok(written)
    }

    /// Lags and straight writes in turn, so many of each a second, whether those before have ended or not: what stands
    /// still delays all that falls into that time, as it would for everybody else.
    async fn probe(
        self: &Arc<Self>,
        rate: f64,
        time: Duration,
        seed: u64,
    ) -> Result<(Vec<Duration>, Vec<Duration>)> {
        let mut random = ChaCha8Rng::seed_from_u64(seed + 1);
        let (begun, period) = (Instant::now(), Duration::from_secs_f64(0.5 / rate));
        let (mut lags, mut writes) = (JoinSet::new(), JoinSet::new());
        for turn in 0.. {
            let moment = f64::from(turn) + random.random::<f64>();
            let at = begun + period.mul_f64(moment);
            if at >= begun + time {
                break;
            }
            sleep_until(at).await;
            if turn % 2 == 0 {
                lags.spawn(Arc::clone(self).lag());
            } else {
                writes.spawn(Arc::clone(self).straight());
            }
        }
        let lags: Result<_> = lags.join_all().await.into_iter().collect();
        let writes: Result<_> = writes.join_all().await.into_iter().collect();
        Ok((lags?, writes?))
    }

    /// From the leader's acknowledgement to the target's.
    async fn lag(self: Arc<Self>) -> Result<Duration> {
        let (number, id, source) = self.document();
        let (index, copy) = self.index(number);
        self.field.leader.put_document(index, &id, source).await?;
        let acknowledged = Instant::now();
        while !self.field.target.holds(copy, &id).await? {
            let waited = acknowledged.elapsed();
            ensure!(
                waited < PATIENCE,
                "[{copy}][{id}] has not arrived after {} s",
                PATIENCE.as_secs()
            );
            // Asking without a pause takes a core away from what is asked for.
            if waited >= TIGHT {
                sleep(waited / PAUSE_SHARE).await;
            }
        }
        Ok(acknowledged.elapsed())
    }

    /// A write straight into the target.
    async fn straight(self: Arc<Self>) -> Result<Duration> {
        let (number, id, source) = self.document();
        let index = &self.direct[number % self.direct.len()];
        let begun = Instant::now();
        self.field.target.put_document(index, &id, source).await?;
        Ok(begun.elapsed())
    }
}
