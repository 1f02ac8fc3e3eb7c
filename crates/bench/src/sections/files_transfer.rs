//! The transfer of files by itself, against a plain copy of as many bytes over TLS: what chunks, checksums and fairness cost.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::agents::{Agents, Setup};
use crate::copying;
use crate::output::aside;
use crate::plan::Plan;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::until;
use crate::spread::Spread;
use crate::world::World;

/// The share of a plain copy's speed.
const GOAL: f64 = 0.7;
/// Holds the files back until the snapshot is whole, in MB a second.
const CAP: u32 = 1;

/// Measures both in turn.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let (source, _) = world.filled(plan.memory_docs, 1).await?;
    let agents = Agents::start(world, Setup::with_files()).await?;
    let [mut ratios, mut of_one, mut ours, mut many, mut one]: [Spread; 5] = Default::default();
    let (mut bytes, mut files) = (0, 0);
    for sample in 0..=plan.samples {
        let (missing, with_us) = transfer(world, &agents, &source).await?;
        (bytes, files) = (missing.bytes, missing.files);
        let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
        let plain = async |files| {
            let took = copying::over_tls(&world.target.repo_path(), files, bytes).await?;
            anyhow::Ok(rate(took.as_secs_f64()))
        };
        let (with_us, as_many, alone) = (rate(with_us), plain(files).await?, plain(1).await?);
        aside(&format!(
            "         {} MiB: {with_us:.0} MB/s; plain {as_many:.0} MB/s, as one file {alone:.0} MB/s",
            bytes >> 20
        ));
        // The first warms up.
        if sample > 0 {
            ratios.add(with_us / as_many);
            of_one.add(with_us / alone);
            ours.add(with_us);
            many.add(as_many);
            one.add(alone);
        }
    }
    world.leader.rest.delete_index(&source).await?;
    Ok(Measured {
        title: "Bootstrap with files: the transfer by itself".to_owned(),
        how: format!(
            "A cap holds the files of an index of {} MiB back until the leader's snapshot is whole; the clock runs from the cap's end to the \
             last file. The plain copy sends as many bytes from as many files to as many ({files} the last time), over one TLS connection (TLS 1.3, the same \
             ciphers) between two tasks of this program, and checks nothing; then the same as one file, which spares it the making of files. Both read from \
             the page cache and write to it.",
            bytes >> 20
        ),
        rows: vec![
            Row::new("Files: transfer / plain copy over TLS", Unit::Ratio, ratios).goal(Goal::AtLeast(GOAL)),
            Row::new(
                "Files: transfer / plain copy of one file as large",
                Unit::Ratio,
                of_one,
            ),
            Row::new("transfer, MB", Unit::PerSecond, ours),
            Row::new("plain copy, MB", Unit::PerSecond, many),
            Row::new("plain copy of one file, MB", Unit::PerSecond, one),
        ],
    })
}

/// What was missing at the cap's end.
#[derive(Clone, Copy)]
struct Missing {
    files: u64,
    bytes: u64,
}

/// What came after the cap's end, and in how many seconds.
async fn transfer(world: &World, agents: &Agents, source: &str) -> Result<(Missing, f64)> {
    let copy = world.name("transferred");
    let gateway = agents.gateway();
    agents.cap(Some(CAP)).await?;
    let mut begun = None;
    let following = agents.follow(&copy, source);
    let watching = async {
        let path = format!("/_slipstream/v1/indices/{copy}");
        until("the files to have come", async || {
            // It may not have been started yet.
            let Ok(details) = gateway.get(&path).await else {
                return Ok(None);
            };
            let files = &details["files"];
            let number = |name: &str| files[name].as_u64().context("no files");
            match (files["stage"].as_str(), begun) {
                (Some("transfer"), None) => {
                    let missing = Missing {
                        files: number("files_total")? - number("files_received")?,
                        bytes: number("bytes_total")? - number("bytes_received")?,
                    };
                    begun = Some((missing, Instant::now()));
                    agents.cap(None).await?;
                    Ok(None)
                }
                (Some("snapshot" | "transfer"), _) | (None, None) => Ok(None),
                (_, Some((missing, since))) => Ok(Some((missing, since.elapsed().as_secs_f64()))),
                (_, None) => bail!("the files came under the cap: {details}"),
            }
        })
        .await
    };
    let (_, found) = futures::future::try_join(following, watching).await?;
    agents.leave(&world.target.rest, &copy).await?;
    world.calm().await?;
    Ok(found)
}
