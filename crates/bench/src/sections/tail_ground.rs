//! Where lag is measured: indices that follow, others that do not, and who writes and watches there.

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

use crate::agents::Agents;
use crate::documents;
use crate::field::Field;
use crate::pace::Pace;
use crate::rest::PATIENCE;
use crate::spread::Spread;
use crate::world::World;

/// At most this many of them are watched, and as many go straight into the target.
pub(super) const WATCHED: f64 = 20.0;
/// Connections of the writes that are not watched.
pub(super) const WRITERS: usize = 16;
/// For this long a copy is asked without a pause whether it has a document; then with pauses of a share of the time that
/// has passed, which is the most by which a lag is overstated. Where many lags are long, asking is what the target does most.
pub(super) const TIGHT: Duration = Duration::from_millis(8);
pub(super) const PAUSE_SHARE: u32 = 8;

/// What one sample has seen.
pub(super) struct Seen {
    pub(super) lags: Spread,
    /// What each lag ends with: the answer that has the document.
    pub(super) answers: Spread,
    pub(super) writes: Spread,
    /// Writes on the leader, a second.
    pub(super) reached: f64,
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
pub(super) struct Ground {
    pub(super) field: Field,
    /// Indices of the leader that nobody follows.
    alone: Vec<String>,
    direct: Vec<String>,
    next: AtomicU64,
}

impl Ground {
    pub(super) async fn lay(world: &World, agents: &Agents, indices: usize) -> Result<Ground> {
        let definition = json!({
            "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1" },
            "mappings": { "properties": { "number": { "type": "long" }, "word": { "type": "keyword" } } },
        });
        let direct: Vec<String> = (0..indices).map(|_| world.name("direct")).collect();
        for index in &direct {
            world.target.rest.put(&format!("/{index}"), &definition).await?;
        }
        let alone: Vec<String> = (0..indices).map(|_| world.name("alone")).collect();
        for index in &alone {
            world.leader.rest.put(&format!("/{index}"), &definition).await?;
        }
        Ok(Ground {
            alone,
            field: Field::plant(world, agents, indices, &definition).await?,
            direct,
            next: AtomicU64::new(0),
        })
    }

    pub(super) async fn clear(&self, agents: &Agents) -> Result<()> {
        self.field.clear(agents).await?;
        for index in &self.direct {
            self.field.target.delete_index(index).await?;
        }
        for index in &self.alone {
            self.field.leader.delete_index(index).await?;
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
    pub(super) async fn watch(self: &Arc<Self>, rate: f64, time: Duration, seed: u64) -> Result<Seen> {
        let begun = Instant::now();
        let mut writers = self.others(rate, time, seed, Ground::write);
        let (found, writes) = self.probe(rate.min(WATCHED), time, seed).await?;
        let (lags, answers): (Vec<_>, Vec<_>) = found.into_iter().unzip();
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
            answers: answers.into_iter().collect(),
            writes: writes.into_iter().collect(),
            reached: written as f64 / begun.elapsed().as_secs_f64(),
        })
    }

    /// Writes at a rate into both clusters; how long the target takes for those that would be watched.
    pub(super) async fn both(self: &Arc<Self>, rate: f64, time: Duration, seed: u64) -> Result<Spread> {
        let mut writers = self.others(rate, time, seed, Ground::write_both);
        let mut pace = Pace::new(rate.min(WATCHED), time, seed + 1);
        let mut writes = JoinSet::new();
        while pace.next().await || writes.is_empty() {
            writes.spawn(Arc::clone(self).write_both());
        }
        let writes: Result<Vec<_>> = writes.join_all().await.into_iter().collect();
        while let Some(written) = writers.join_next().await {
            written??;
        }
        Ok(writes?.into_iter().collect())
    }

    /// The connections that share what is written and not watched. Each returns how many documents it has written.
    fn others<W>(
        self: &Arc<Self>,
        rate: f64,
        time: Duration,
        seed: u64,
        write: impl Fn(Arc<Self>) -> W + Copy + Send + 'static,
    ) -> JoinSet<Result<usize>>
    where
        W: Future<Output = Result<Duration>> + Send,
    {
        let mut writers = JoinSet::new();
        if rate > WATCHED {
            let pace = Arc::new(Mutex::new(Pace::new(rate - WATCHED, time, seed)));
            for _ in 0..WRITERS {
                let (ground, pace) = (Arc::clone(self), Arc::clone(&pace));
                writers.spawn(async move {
                    let mut written = 0;
                    while pace.lock().await.next().await {
                        write(Arc::clone(&ground)).await?;
                        written += 1;
                    }
                    Ok(written)
                });
            }
        }
        writers
    }

    /// A write into the leader.
    async fn write(self: Arc<Self>) -> Result<Duration> {
        let (number, id, source) = self.document();
        let (index, _) = self.index(number);
        let begun = Instant::now();
        self.field.leader.put_document(index, &id, source).await?;
        Ok(begun.elapsed())
    }

    /// A write into each cluster at the same moment; how long the target's took.
    async fn write_both(self: Arc<Self>) -> Result<Duration> {
        let (number, id, source) = self.document();
        let index = &self.alone[number % self.alone.len()];
        let leader = self.field.leader.put_document(index, &id, source.clone());
        let (written, took) = tokio::join!(leader, self.put_straight(number, &id, source));
        written?;
        took
    }

    /// Lags and straight writes in turn, so many of each a second, whether those before have ended or not: what stands
    /// still delays all that falls into that time, as it would for everybody else.
    async fn probe(
        self: &Arc<Self>,
        rate: f64,
        time: Duration,
        seed: u64,
    ) -> Result<(Vec<(Duration, Duration)>, Vec<Duration>)> {
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

    /// From the leader's acknowledgement until the target has shown the document, and how much of that the last answer took.
    async fn lag(self: Arc<Self>) -> Result<(Duration, Duration)> {
        let (number, id, source) = self.document();
        let (index, copy) = self.index(number);
        self.field.leader.put_document(index, &id, source).await?;
        let acknowledged = Instant::now();
        loop {
            let asked = Instant::now();
            if self.field.target.holds(copy, &id).await? {
                return Ok((acknowledged.elapsed(), asked.elapsed()));
            }
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
    }

    /// A write straight into the target.
    async fn straight(self: Arc<Self>) -> Result<Duration> {
        let (number, id, source) = self.document();
        self.put_straight(number, &id, source).await
    }

    async fn put_straight(&self, number: usize, id: &str, source: String) -> Result<Duration> {
        let index = &self.direct[number % self.direct.len()];
        let begun = Instant::now();
        self.field.target.put_document(index, id, source).await?;
        Ok(begun.elapsed())
    }
}
