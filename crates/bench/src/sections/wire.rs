//! Bytes between the agents against the bytes of the documents' sources.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::agents::{Agents, Setup};
use crate::documents::{self, Documents};
use crate::output::aside;
use crate::pace::Pace;
use crate::plan::Plan;
use crate::relay::Relay;
use crate::report::{Measured, Row, Unit};
use crate::rest::until;
use crate::spread::Spread;
use crate::world::World;

/// Rates of steady writing, a second: single documents.
const RATES: [f64; 2] = [1.0, 100.0];

/// Measures bootstraps and steady writes in turn.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let agents = Agents::start(
        world,
        Setup {
            relay: true,
            ..Setup::default()
        },
    )
    .await?;
    let relay = agents.relay.as_ref().context("there is no relay")?;
    let (source, bytes) = world.filled(plan.wire_docs, 1).await?;
    let (mut bootstraps, mut steady) = (Spread::default(), RATES.map(|_| Spread::default()));
    for sample in 0..plan.samples {
        let copy = world.name("counted");
        let before = relay.bytes();
        agents.follow(&copy, &source).await?;
        bootstraps.add((relay.bytes() - before) as f64 / bytes as f64);
        agents.leave(&world.target.rest, &copy).await?;
        for (rate, spread) in RATES.into_iter().zip(&mut steady) {
            let time = if rate < 10.0 {
                plan.slow_lag_time
            } else {
                plan.lag_time
            };
            spread.add(paced(world, &agents, relay, rate, time, sample as u64).await?);
        }
        aside(&format!("         sample {} of {}", sample + 1, plan.samples));
    }
    world.leader.rest.delete_index(&source).await?;
    let mut rows = vec![Row::new(
        "Bytes between the agents / sources, bootstrap",
        Unit::Ratio,
        bootstraps,
    )];
    rows.extend(RATES.into_iter().zip(steady).map(|(rate, spread)| {
        Row::new(
            format!("Bytes between the agents / sources, at {rate:.0}/s"),
            Unit::Ratio,
            spread,
        )
    }));
    Ok(Measured {
        title: "Window reader: bytes between the agents".to_owned(),
        how: format!(
            "Bytes in both directions of the TCP connections between the agents, TLS, gRPC, ids, sequence numbers, \
             acknowledgements and keep-alive included, over the bytes of the documents' sources. {} documents bootstrap; \
             single writes are counted until the last has arrived. No warm-up: bytes do not get cold.",
            plan.wire_docs
        ),
        rows,
    })
}

/// Writes single documents at a rate into a replicated index, and returns bytes passed over bytes written.
async fn paced(
    world: &World,
    agents: &Agents,
    relay: &Relay,
    rate: f64,
    time: Duration,
    seed: u64,
) -> Result<f64> {
    let (index, copy) = (world.name("steady"), world.name("steady-copy"));
    let (leader, target) = (&world.leader.rest, &world.target.rest);
    leader.put(&format!("/{index}"), &documents::index(1)).await?;
    agents.follow(&copy, &index).await?;
    let before = relay.bytes();
    let mut row = Documents::new();
    let (mut written, mut last) = (0, None);
    let mut pace = Pace::new(rate, time, seed);
    // The first at once: however short the time is, there is something to compare with.
    loop {
        let (id, source) = row.next_one();
        written += source.len();
        leader.put_document(&index, &id, source).await?;
        last.replace(id);
        if !pace.next().await {
            break;
        }
    }
    until("the last write to arrive", async || {
        let answer = target
            .post(&format!("/{copy}/_mget?_source=false"), &json!({ "ids": [last] }))
            .await?;
        Ok((answer["docs"][0]["found"] == true).then_some(()))
    })
    .await?;
    let passed = relay.bytes() - before;
    agents.leave(target, &copy).await?;
    leader.delete_index(&index).await?;
    Ok(passed as f64 / written as f64)
}
