//! `slipstream verify`: a comparison begun over the gateway, watched until it ends; with `--repair`, what differs is put
//! right by the agent.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::control::report;
use crate::cli::VerifyArgs;
use crate::client::{Gateway, read};
use crate::failure::Failure;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Differences that are told to people; `--json` has all that the agent keeps.
const SHOWN: usize = 20;

#[derive(Debug, Deserialize)]
struct Verification {
    outcome: String,
    reason: Option<String>,
    shards_done: u64,
    shards: u64,
    documents: u64,
    differences: Vec<Difference>,
    more_differences: bool,
    repaired: Option<Repaired>,
    took_millis: u64,
}

#[derive(Debug, Deserialize)]
struct Repaired {
    written: u64,
    deleted: u64,
}

#[derive(Debug, Deserialize)]
struct Difference {
    shard: u32,
    id: String,
    kind: String,
    leader_version: Option<i64>,
    follower_version: Option<i64>,
}

/// Compares an index.
pub(crate) async fn run(args: &VerifyArgs, as_json: bool) -> Result<(), Failure> {
    // "Different" has a status of its own, so whatever keeps the answer away counts as "could not tell".
    let (answer, found) = compare(args).await.map_err(Failure::untold)?;
    report(as_json, &answer, &found.in_words(&args.index));
    match found.outcome.as_str() {
        "equal" => Ok(()),
        "different" => Err(
            Failure::failed(format!("{} differs from its leader", args.index)).advise(
                if args.repair {
                    "what is left changes all the time or is too much: look at its status, or stop, delete and start again"
                } else {
                    "look for writes that went to the target directly, then put it right: slipstream verify --repair"
                },
            ),
        ),
        _ => Err(Failure::failed(format!("it could not be told whether {} is equal", args.index)).untold()),
    }
}

async fn compare(args: &VerifyArgs) -> Result<(Value, Verification), Failure> {
    let gateway = Gateway::at(&args.gateway)?;
    let segments = ["_slipstream", "v1", "indices", &args.index, "verify"];
    gateway
        .call(Method::POST, &segments, Some(&json!({ "repair": args.repair })))
        .await?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} shards, {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let doing = if args.repair { "repairing" } else { "comparing" };
    bar.set_message(format!("{doing} {}", args.index));
    loop {
        let answer = gateway.call(Method::GET, &segments, None).await?;
        let found: Verification = read(&answer)?;
        if found.outcome != "running" {
            bar.finish_and_clear();
            return Ok((answer, found));
        }
        bar.set_length(found.shards);
        bar.set_position(found.shards_done);
        sleep(LOOK).await;
    }
}

impl Verification {
    fn in_words(&self, index: &str) -> String {
        let found = self.found_in_words(index);
        match &self.repaired {
            Some(Repaired { written, deleted }) => {
                format!("{written} documents written again, {deleted} deleted\n{found}")
            }
            None => found,
        }
    }

    fn found_in_words(&self, index: &str) -> String {
        let seconds = Duration::from_millis(self.took_millis).as_secs_f64();
        match self.outcome.as_str() {
            "equal" => format!(
                "{index} is equal: {} documents, compared in {seconds:.1} s",
                self.documents
            ),
            "different" => {
                let mut lines: Vec<String> = self
                    .differences
                    .iter()
                    .take(SHOWN)
                    .map(Difference::in_words)
                    .collect();
                let hidden = self.differences.len().saturating_sub(SHOWN);
                if hidden > 0 || self.more_differences {
                    let more = if self.more_differences { "or more " } else { "" };
                    lines.push(format!("… and {hidden} {more}others (--json shows more)"));
                }
                lines.join("\n")
            }
            _ => self.reason.clone().unwrap_or_default(),
        }
    }
}

impl Difference {
    fn in_words(&self) -> String {
        let version = |version: Option<i64>| version.map_or_else(|| "none".to_owned(), |v| v.to_string());
        format!(
            "shard {} document {:?} is {} (version on the leader {}, here {})",
            self.shard,
            self.id,
            self.kind,
            version(self.leader_version),
            version(self.follower_version)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_in_a_line_and_differences_in_one_each() {
        let found = |outcome: &str, differences: Value| {
            let answer = json!({"outcome": outcome, "reason": null, "shards_done": 1, "shards": 1, "documents": 7,
                "differences": differences, "more_differences": false, "repaired": null, "took_millis": 1_230});
            Verification::deserialize(&answer).unwrap().in_words("f")
        };
        assert_eq!(
            found("equal", json!([])),
            "f is equal: 7 documents, compared in 1.2 s"
        );
        let one = json!([{"shard": 0, "id": "a", "kind": "missing", "leader_version": 3, "follower_version": null}]);
        assert_eq!(
            found("different", one),
            "shard 0 document \"a\" is missing (version on the leader 3, here none)"
        );
    }
}
