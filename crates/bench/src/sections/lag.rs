//! Lag: from the leader's acknowledgement of a write until a realtime GET on the target finds it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::agents::{Agents, Setup};
use crate::documents::{self, Documents};
use crate::output::aside;
use crate::pace::Pace;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::{PATIENCE, Rest};
use crate::spread::Spread;
use crate::world::World;

/// The refresh interval of the leader's index.
const INTERVAL: Duration = Duration::from_secs(1);
/// The median lag should be at most this multiple of it.
const GOAL: f64 = 1.2;
/// The shorter rhythm that an operator may set.
const SHORT_MS: u32 = 100;
/// At most this many writes a second are watched, so that the watching does not become the load.
const WATCHED: f64 = 10.0;
/// Between two looks at the target.
const LOOK: Duration = Duration::from_millis(5);
/// Writes that wait to be seen.
const WAITING: usize = 4096;

/// One rhythm and rate.
struct Case {
    refresh_ms: Option<u32>,
    rate: f64,
    time: Duration,
    medians: Spread,
    tails: Spread,
}

impl Case {
    fn interval(&self) -> Duration {
        self.refresh_ms
            .map_or(INTERVAL, |ms| Duration::from_millis(ms.into()))
    }
}

/// Measures all cases in turn, over and over.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let default = Agents::start(world, Setup::default()).await?;
    let short = Agents::start(
        world,
        Setup {
            refresh_ms: Some(SHORT_MS),
            ..Setup::default()
        },
    )
    .await?;
    let case = |refresh_ms, rate, time| Case {
        refresh_ms,
        rate,
        time,
        medians: Spread::default(),
        tails: Spread::default(),
    };
    let mut cases = [
        case(None, 1.0, plan.slow_lag_time),
        case(None, 100.0, plan.lag_time),
        case(Some(SHORT_MS), 1.0, plan.slow_lag_time / 2),
        case(Some(SHORT_MS), 100.0, plan.lag_time),
    ];
    let mut seed = 0;
    for case in &cases[1..2] {
        watch(world, &default, case, plan.lead_in, seed)
            .await
            .context("the warm-up")?;
    }
    for _ in 0..plan.samples {
        for case in &mut cases {
            seed += 2;
            let agents = if case.refresh_ms.is_some() {
                &short
            } else {
                &default
            };
            let lags = watch(world, agents, case, plan.lead_in, seed).await?;
            let (median, tail) = (lags.median(), lags.quantile(0.99));
            aside(&format!(
                "         {}/s, refresh_ms {:?}: p50 {median:.3} s, p99 {tail:.3} s of {}",
                case.rate,
                case.refresh_ms,
                lags.len()
            ));
            case.medians.add(median);
            case.tails.add(tail);
        }
    }
    Ok(Measured {
        title: "Window reader: lag".to_owned(),
        how: format!(
            "From the leader's acknowledgement of a single write until a realtime multi-get on the target finds the \
             document, looked for every {} ms, as a multiple of the refresh interval: the index's own of 1 s, or \
             `limits.refresh_ms = {SHORT_MS}`, which replaces it. Writes come at random moments; at most {WATCHED:.0} a \
             second are watched. p50 and p99 are those of each sample, so that at 1/s p99 is the greatest of a few.",
            LOOK.as_millis()
        ),
        rows: cases.into_iter().flat_map(rows).collect(),
    })
}

fn rows(case: Case) -> [Row; 4] {
    let interval = case.interval();
    let rhythm = case.refresh_ms.map_or_else(
        || "index's own refresh".to_owned(),
        |ms| format!("`refresh_ms = {ms}`"),
    );
    let name = format!("{rhythm}, at {:.0}/s", case.rate);
    let headline = |what| {
        format!(
            "Lag {what} / {} ms refresh, at {:.0}/s",
            interval.as_millis(),
            case.rate
        )
    };
    let multiple = |spread: &Spread| spread.divided_by(interval.as_secs_f64());
    let median = Row::new(headline("p50"), Unit::Ratio, multiple(&case.medians));
    let tail = Row::new(headline("p99"), Unit::Ratio, multiple(&case.tails));
    let median = if case.refresh_ms.is_none() {
        median.goal(Goal::AtMost(GOAL))
    } else {
        median
    };
    [
        median,
        tail,
        Row::new(format!("{name}: p50"), Unit::Seconds, case.medians),
        Row::new(format!("{name}: p99"), Unit::Seconds, case.tails),
    ]
}

/// Replicates a new index, writes, and returns the lag of each watched write.
async fn watch(world: &World, agents: &Agents, case: &Case, lead_in: Duration, seed: u64) -> Result<Spread> {
    let (index, copy) = (world.name("lag"), world.name("lag-copy"));
    let leader = &world.leader.rest;
    leader.put(&format!("/{index}"), &documents::index(1)).await?;
    agents.follow(&copy, &index).await?;
    let (to_watcher, acknowledged) = mpsc::channel(WAITING);
    let write = async {
        // Owned here, so that the watcher learns of the end.
        let to_watcher = to_watcher;
        let mut row = Documents::new();
        let mut pace = Pace::new(case.rate.max(WATCHED), lead_in, seed);
        while pace.next().await {
            let (id, source) = row.next_one();
            leader.put_document(&index, &id, source).await?;
        }
        let mut pace = Pace::new(case.rate, case.time, seed + 1);
        let every = (case.rate / WATCHED).max(1.0) as u64;
        let mut number = 0;
        while pace.next().await {
            let (id, source) = row.next_one();
            leader.put_document(&index, &id, source).await?;
            if number % every == 0 {
                to_watcher.send((id, Instant::now())).await?;
            }
            number += 1;
        }
        anyhow::Ok(())
    };
    let ((), lags) = tokio::try_join!(write, arrivals(&world.target.rest, &copy, acknowledged))?;
    agents.leave(&world.target.rest, &copy).await?;
    leader.delete_index(&index).await?;
    ensure!(
        lags.len() > 0,
        "no write was watched: the time is too short for {}/s",
        case.rate
    );
    Ok(lags)
}

/// Looks for what was acknowledged until all of it has arrived.
async fn arrivals(
    target: &Rest,
    index: &str,
    mut acknowledged: mpsc::Receiver<(String, Instant)>,
) -> Result<Spread> {
    let mut waiting: Vec<(String, Instant)> = Vec::new();
    let mut lags = Vec::new();
    loop {
        if waiting.is_empty() {
            let Some(write) = acknowledged.recv().await else {
                return Ok(lags.into_iter().collect());
            };
            waiting.push(write);
        }
        while let Ok(write) = acknowledged.try_recv() {
            waiting.push(write);
        }
        let ids: Vec<&str> = waiting.iter().map(|(id, _)| id.as_str()).collect();
        let answer = target
            .post(&format!("/{index}/_mget?_source=false"), &json!({ "ids": ids }))
            .await?;
        let now = Instant::now();
        let mut found = answer["docs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|doc| doc["found"] == true);
        waiting.retain(|(_, at)| {
            let arrived = found.next().unwrap_or(false);
            if arrived {
                lags.push(now.duration_since(*at));
            }
            !arrived
        });
        if let Some((id, at)) = waiting.first() {
            ensure!(
                at.elapsed() < PATIENCE,
                "[{index}][{id}] has not arrived after {} s",
                PATIENCE.as_secs()
            );
        }
        sleep(LOOK).await;
    }
}
