//! The plain `_bulk` loader that a bootstrap is compared with, as good as we can make it.
//!
//! Its bodies are ready before its clock starts, it reads nothing, remembers nothing and checks only that no item failed.
//! Batch size and number of connections are tried out on the machine; the best is what counts.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;

use crate::documents::{self, Bodies, Length};
use crate::output::aside;
use crate::rest::Rest;

/// Documents a bulk, and bulks at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) batch: u64,
    pub(crate) parallel: usize,
}

impl Shape {
    const fn new(batch: u64, parallel: usize) -> Self {
        Shape { batch, parallel }
    }
}

/// What is tried, the likeliest first.
const SHAPES: [Shape; 7] = [
    Shape::new(5_000, 2),
    Shape::new(5_000, 4),
    Shape::new(1_000, 4),
    Shape::new(10_000, 2),
    Shape::new(2_500, 3),
    Shape::new(1_000, 2),
    Shape::new(2_500, 8),
];

/// Documents in each bulk of what is only to be there.
const BATCH: u64 = 5_000;
/// Documents that a shape is tried with.
const TRIAL_DOCS: u64 = 100_000;

/// The documents of a load, in bodies of one shape.
pub(crate) struct Load {
    shape: Shape,
    docs: u64,
    shards: u32,
    bodies: Vec<Vec<u8>>,
}

impl Load {
    /// Makes the bodies.
    pub(crate) fn new(docs: u64, shards: u32, shape: Shape) -> Load {
        let bodies = Bodies::new(docs, shape.batch).collect();
        Load {
            shape,
            docs,
            shards,
            bodies,
        }
    }

    /// The fastest of some shapes for loading this many documents into a new index of a cluster. The first is tried
    /// twice: its first time is the warm-up.
    pub(crate) async fn best(rest: &Rest, docs: u64, shards: u32, shapes: usize) -> Result<Load> {
        let trial = docs.min(TRIAL_DOCS);
        let [first, ..] = SHAPES;
        Load::new(trial, shards, first).run(rest, "trial").await?;
        let mut best: Option<(Duration, Shape)> = None;
        for shape in SHAPES.into_iter().take(shapes) {
            let time = Load::new(trial, shards, shape).run(rest, "trial").await?;
            aside(&format!(
                "         {shape:?}: {:.0}/s",
                trial as f64 / time.as_secs_f64()
            ));
            if best.is_none_or(|(fastest, _)| time < fastest) {
                best = Some((time, shape));
            }
        }
        let (_, shape) = best.context("no shape was tried")?;
        Ok(Load::new(docs, shards, shape))
    }

    /// How it loads.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Loads into a new index, and removes it. The clock runs from the creation of the index to the last answer.
    pub(crate) async fn run(&self, rest: &Rest, index: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.create(rest, index).await?;
        let created = begun.elapsed();
        Ok(created + self.run_into(rest, index).await?)
    }

    /// Creates the index that this is to be loaded into.
    pub(crate) async fn create(&self, rest: &Rest, index: &str) -> Result<()> {
        let definition = documents::index(self.shards);
        rest.put(&format!("/{index}"), &definition).await.map(drop)
    }

    /// Loads into an index that was created for it, and removes it. The clock runs until the last answer.
    pub(crate) async fn run_into(&self, rest: &Rest, index: &str) -> Result<Duration> {
        let begun = Instant::now();
        send(rest, index, self.bodies.iter().cloned(), self.shape.parallel).await?;
        let time = begun.elapsed();
        let count = rest.count(index).await?;
        ensure!(
            count == self.docs,
            "[{index}] has {count} documents after loading {}",
            self.docs
        );
        rest.delete_index(index).await?;
        rest.calm().await?;
        Ok(time)
    }
}

/// Makes an index with this many documents. Returns the bytes of all sources.
pub(crate) async fn fill(rest: &Rest, index: &str, docs: u64, shards: u32, length: Length) -> Result<u64> {
    rest.put(&format!("/{index}"), &documents::index(shards)).await?;
    write_bodies(rest, index, Bodies::of(length, docs, BATCH)).await
}

/// Writes this many documents into an index. Returns the bytes of all sources.
pub(crate) async fn write(rest: &Rest, index: &str, docs: u64) -> Result<u64> {
    write_bodies(rest, index, Bodies::new(docs, BATCH)).await
}

async fn write_bodies(rest: &Rest, index: &str, mut bodies: Bodies) -> Result<u64> {
    send(rest, index, bodies.by_ref(), 2).await?;
    Ok(bodies.source_bytes())
}

async fn send(
    rest: &Rest,
    index: &str,
    bodies: impl Iterator<Item = Vec<u8>> + Send,
    parallel: usize,
) -> Result<()> {
    let bodies = Mutex::new(bodies);
    let next = || bodies.lock().ok()?.next();
    let workers = (0..parallel).map(|_| async {
        while let Some(body) = next() {
            rest.bulk(index, body).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(workers).await.map(drop)
}
