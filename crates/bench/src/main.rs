//! The measurements behind `BENCHMARKS.md`.
//!
//! Every number is a ratio of two things measured in turn within one run on one machine, or stands beside what it has
//! to be compared with: an absolute number from a busy laptop says nothing to anybody else. Each is taken several times
//! after a warm-up, and shown as the median with the least and the greatest.

mod agents;
mod args;
mod copying;
mod cores;
mod documents;
mod field;
mod load;
mod machine;
mod output;
mod pace;
mod plan;
mod process;
mod relay;
mod report;
mod rest;
mod sections;
mod spread;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;

use crate::args::Args;
use crate::machine::Machine;
use crate::output::{aside, data};
use crate::plan::Plan;
use crate::report::Report;
use crate::world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            aside(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let begun = Instant::now();
    let plan = Plan::of(args);
    let machine = Machine::look(&args.binary()?)?;
    let Some(world) = World::start(args).await? else {
        return Ok(());
    };
    let mut report = Report::default();
    for section in args.sections() {
        aside(&format!("{:>5} s  {}", begun.elapsed().as_secs(), section.name()));
        let measured = section.measure(&world, &plan).await;
        report.add(measured.with_context(|| format!("the section `{}` failed", section.name()))?);
    }
    let text = report.text(&machine, &world, args, begun.elapsed());
    data(&text);
    if let Some(path) = &args.write {
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}
