//! The command line.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use slipstream_testkit::servers::Release;

use crate::sections::Section;

/// Measures slipstream between two real clusters on this machine.
#[derive(Debug, Parser)]
#[command(name = "slipstream-bench", version)]
pub(crate) struct Args {
    /// Run all sections in small, to see that they work. The numbers mean nothing
    #[arg(long)]
    quick: bool,
    /// Measure only this; may be given several times
    #[arg(long, visible_alias = "only", value_enum, value_name = "NAME")]
    section: Vec<Section>,
    /// Documents that bootstrap or are caught up with, instead of each section's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1_000..=5_000_000))]
    pub(crate) docs: Option<u64>,
    /// Samples of each measurement, instead of the plan's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=50))]
    pub(crate) samples: Option<u64>,
    /// Indices that are tailed at once to see the lag, instead of the plan's own numbers; may be given several times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=900))]
    pub(crate) tailed: Vec<u16>,
    /// Shards that are tailed to see what many cost, ten to an index, instead of the plan's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=5_000))]
    pub(crate) tailed_shards: Option<u64>,
    /// Indices that an auto-follow rule finds at once, instead of the plan's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=900))]
    pub(crate) found: Option<u64>,
    /// Let everything share all cores where a section would give each side half of them
    #[arg(long)]
    pub(crate) shared_cores: bool,
    /// Leader and target
    #[arg(long, value_name = "LEADER,TARGET", default_value = "opensearch-2.19.1,opensearch-2.19.1", value_parser = pair)]
    pub(crate) pair: (Release, Release),
    /// The agents' binary, instead of the `slipstream` beside this program
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
}

impl Args {
    /// Whether the numbers are only to show that everything works.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    /// What to measure, in the order of the report.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let all = Section::value_variants().iter().copied();
        all.filter(|section| self.section.is_empty() || self.section.contains(section))
            .collect()
    }

    /// The product's binary.
    pub(crate) fn binary(&self) -> Result<PathBuf> {
        let beside = || Ok(std::env::current_exe()?.with_file_name("slipstream"));
        let binary = self.binary.clone().map_or_else(beside, anyhow::Ok)?;
        ensure!(
            binary.exists(),
            "`{}` is not there: build it with `cargo build --release -p slipstream`, or name another by --binary",
            binary.display()
        );
        Ok(binary)
    }
}

fn pair(text: &str) -> std::result::Result<(Release, Release), String> {
    let known = || Release::ALL.map(Release::slug).join(", ");
    let find = |name: &str| {
        let found = Release::ALL.into_iter().find(|release| release.slug() == name);
        found.ok_or_else(|| format!("`{name}` is none of {}", known()))
    };
    let (leader, target) = text
        .split_once(',')
        .ok_or("expected two releases with a comma in between")?;
    Ok((find(leader)?, find(target)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_named_as_their_zips() {
        let given = pair("elasticsearch-7.10.2,opensearch-2.19.1");
        assert_eq!(
            given,
            Ok((Release::Elasticsearch7_10_2, Release::OpenSearch2_19_1))
        );
        assert!(pair("opensearch-2.19.1").is_err());
        assert!(pair("opensearch-2.19.1,solr-1").is_err_and(|e| e.starts_with("`solr-1` is none of ")));
    }
}
