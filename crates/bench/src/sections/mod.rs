//! What is measured, a module each.

mod autofollow;
mod bootstrap;
mod files;
mod files_beside;
mod files_small;
mod files_transfer;
mod lag;
mod load;
mod memory;
mod proxy;
mod tail_catch_up;
mod tail_ground;
mod tail_lag;
mod tail_load;
mod tail_shards;
mod wire;

use anyhow::Result;
use clap::ValueEnum;

use crate::plan::Plan;
use crate::report::Measured;
use crate::world::World;

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Speed of a bootstrap against that of a plain loader
    Bootstrap,
    /// A bootstrap with files against one with documents, and against doing it by hand
    Files,
    /// The same of small indices
    FilesSmall,
    /// The transfer of files by itself, against a plain copy
    FilesTransfer,
    /// What a bootstrap with files takes from the leader's indexing
    FilesBeside,
    /// What replication costs the leader
    Load,
    /// How long changes take
    Lag,
    /// The agents' memory
    Memory,
    /// Bytes between the agents
    Wire,
    /// How long changes take with the translog reader
    TailLag,
    /// How fast a follower catches up with the translog reader
    TailCatchUp,
    /// What the translog reader costs the leader
    TailLoad,
    /// What many tailed shards cost the leader agent
    TailShards,
    /// What the gateway adds to requests that it passes on
    Proxy,
    /// How long it takes until many indices follow that a rule finds at once
    Autofollow,
}

impl Section {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Measures it.
    pub(crate) async fn measure(self, world: &World, plan: &Plan) -> Result<Measured> {
        match self {
            Section::Bootstrap => Box::pin(bootstrap::measure(world, plan)).await,
            Section::Files => Box::pin(files::measure(world, plan)).await,
            Section::FilesSmall => Box::pin(files_small::measure(world, plan)).await,
            Section::FilesTransfer => Box::pin(files_transfer::measure(world, plan)).await,
            Section::FilesBeside => Box::pin(files_beside::measure(world, plan)).await,
            Section::Load => Box::pin(load::measure(world, plan)).await,
            Section::Lag => Box::pin(lag::measure(world, plan)).await,
            Section::Memory => Box::pin(memory::measure(world, plan)).await,
            Section::Wire => Box::pin(wire::measure(world, plan)).await,
            Section::TailLag => Box::pin(tail_lag::measure(world, plan)).await,
            Section::TailCatchUp => Box::pin(tail_catch_up::measure(world, plan)).await,
            Section::TailLoad => Box::pin(tail_load::measure(world, plan)).await,
            Section::TailShards => Box::pin(tail_shards::measure(world, plan)).await,
            Section::Proxy => Box::pin(proxy::measure(world, plan)).await,
            Section::Autofollow => Box::pin(autofollow::measure(world, plan)).await,
        }
    }
}
