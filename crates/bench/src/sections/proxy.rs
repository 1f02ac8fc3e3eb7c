//! What it costs to go through the gateway: the same requests, in turn, to the target itself and through its proxy.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::agents::{Agents, Setup};
use crate::documents::{self, Bodies};
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::Rest;
use crate::spread::Spread;
use crate::world::World;

/// What the gateway may add to the median of a request.
const GOAL: f64 = 0.0003;
/// Documents of a bulk of about a megabyte, its action lines included.
const BULK: u64 = 3_000;
/// Documents of the index that is asked.
const DOCS: u64 = 3_000;

/// A kind of request.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Get,
    Search,
    Bulk,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Get, Kind::Search, Kind::Bulk];

    fn name(self) -> &'static str {
        match self {
            Kind::Get => "GET of a document",
            Kind::Search => "_search of ten documents",
            Kind::Bulk => "_bulk of 1 MB",
        }
    }

    /// How many there are, if there are this many small ones.
    fn requests(self, small: usize) -> usize {
        match self {
            Kind::Get | Kind::Search => small,
            Kind::Bulk => (small / 20).max(3),
        }
    }

    async fn send(self, rest: &Rest, index: &str, number: u64, body: &[u8]) -> Result<Duration> {
        let id = documents::id(number % DOCS);
        let search =
            json!({ "size": 10, "track_total_hits": false, "query": { "term": { "level": "WARN" } } });
        let body = body.to_vec();
        let begun = Instant::now();
        match self {
            Kind::Get => rest.get(&format!("/{index}/_doc/{id}")).await.map(drop)?,
            Kind::Search => rest
                .post(&format!("/{index}/_search"), &search)
                .await
                .map(|_: Value| ())?,
            Kind::Bulk => rest.bulk(index, body).await?,
        }
        Ok(begun.elapsed())
    }
}

/// Measures each kind of request both ways, one after the other.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let agents = Agents::start(
        world,
        Setup {
            proxy: true,
            ..Setup::default()
        },
    )
    .await?;
    let index = world.name("asked");
    let target = &world.target.rest;
    target.put(&format!("/{index}"), &documents::index(1)).await?;
    let body = Bodies::new(BULK, BULK).next().unwrap_or_default();
    target.bulk(&index, body.clone()).await?;
    target.count(&index).await?;
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        let (mut direct, mut through, mut added) = Default::default();
        // The first round is the warm-up.
        for round in 0..=plan.samples {
            let ways = [target, agents.gateway()];
            let mut times: [Vec<Duration>; 2] = Default::default();
            for number in 0..kind.requests(plan.proxied) {
                for (rest, times) in ways.iter().zip(&mut times) {
                    let body = if matches!(kind, Kind::Bulk) {
                        body.as_slice()
                    } else {
                        &[]
                    };
                    times.push(kind.send(rest, &index, number as u64, body).await?);
                }
            }
            if round > 0 {
                let [without, with] = times.map(|times| Spread::from_iter(times).median());
                add(&mut direct, without);
                add(&mut through, with);
                add(&mut added, with - without);
            }
        }
        let name = kind.name();
        rows.extend([
            Row::new(format!("{name}: added by the gateway"), Unit::Seconds, added).goal(Goal::AtMost(GOAL)),
            Row::new(format!("{name}: to the target itself"), Unit::Seconds, direct),
            Row::new(format!("{name}: through the gateway"), Unit::Seconds, through),
        ]);
    }
    target.delete_index(&index).await?;
    Ok(Measured {
        title: "Gateway: passing requests on".to_owned(),
        how: format!(
            "The same request, one at a time and in turn, to the target and through the gateway's proxy, over connections that \
             stay open; {} small ones and {} bulks a sample, of which the median counts. What the gateway adds is the \
             difference of the medians.",
            plan.proxied,
            Kind::Bulk.requests(plan.proxied),
        ),
        rows,
    })
}

fn add(spread: &mut Spread, value: f64) {
    spread.add(value);
}
