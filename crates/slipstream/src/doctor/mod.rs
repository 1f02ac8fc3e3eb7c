//! `slipstream doctor`: tries what an agent needs before it is started, changes nothing, and says what to change.
//!
//! It reads the same file as the agent and goes the same ways: what the agent could not do, this cannot either, for the
//! same reason. Every check is made even if one before it failed, unless it would only repeat that failure.

mod access;
mod cluster;
mod follower;
mod leader;
mod snapshots;
mod tls;

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::cli::AgentArgs;
use crate::config::{FollowerFile, LeaderFile, environment, is_follower};
use crate::failure::Failure;
use crate::output;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// As it should be.
    Ok,
    /// The agent will run; somebody should look at it.
    Warning,
    /// The agent will not do its work.
    Failed,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    what: String,
    outcome: Outcome,
    /// What was found.
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// What was tried so far.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<Check>);

impl Checks {
    fn ok(&mut self, what: &str, found: impl Into<String>) {
        self.add(what, Outcome::Ok, found.into(), None);
    }

    fn warn(&mut self, what: &str, found: impl Into<String>, remedy: &str) {
        self.add(what, Outcome::Warning, found.into(), Some(remedy));
    }

    fn fail(&mut self, what: &str, found: impl Into<String>, remedy: &str) {
        self.add(what, Outcome::Failed, found.into(), Some(remedy));
    }

    fn add(&mut self, what: &str, outcome: Outcome, found: String, remedy: Option<&str>) {
        self.0.push(Check {
            what: what.to_owned(),
            outcome,
            found,
            remedy: remedy.filter(|remedy| !remedy.is_empty()).map(str::to_owned),
        });
    }

    fn failed(&self) -> usize {
        let failed = |check: &&Check| check.outcome == Outcome::Failed;
        self.0.iter().filter(failed).count()
    }

    fn in_words(&self) -> String {
        let lines = self.0.iter().map(|check| {
            let mark = match check.outcome {
                Outcome::Ok => "ok     ",
                Outcome::Warning => "look   ",
                Outcome::Failed => "FAILED ",
            };
            let remedy = check
                .remedy
                .as_ref()
                .map_or_else(String::new, |remedy| format!("\n         → {remedy}"));
            format!("{mark} {}: {}{remedy}", check.what, check.found)
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Tries everything and reports it.
pub(crate) async fn run(args: &AgentArgs, as_json: bool) -> Result<(), Failure> {
    let checks = examine(&args.config).await?;
    let failed = checks.failed();
    output::data(&if as_json {
        json!({ "healthy": failed == 0, "checks": checks.0 }).to_string()
    } else {
        checks.in_words()
    });
    match failed {
        0 => Ok(()),
        1 => Err(Failure::failed("one check failed").advise("see above")),
        failed => Err(Failure::failed(format!("{failed} checks failed")).advise("see above")),
    }
}

async fn examine(path: &Path) -> Result<Checks, Failure> {
    let mut checks = Checks::default();
    if is_follower(path)? {
        let file = FollowerFile::load(path, environment())?;
        checks.ok("configuration", format!("{} of a follower agent", path.display()));
        follower::examine(file, &mut checks).await;
    } else {
        let file = LeaderFile::load(path, environment())?;
        checks.ok("configuration", format!("{} of a leader agent", path.display()));
        leader::examine(file, &mut checks).await;
    }
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_stand_below_what_they_mend_and_only_failures_count() {
        let mut checks = Checks::default();
        checks.ok("cluster", "opensearch 2.19.1");
        checks.warn("clock", "40 s behind", "run an NTP client");
        assert_eq!(checks.failed(), 0);
        checks.fail("store", "not writable", "chown it");
        assert_eq!(checks.failed(), 1);
        assert_eq!(
            checks.in_words(),
            "ok      cluster: opensearch 2.19.1\nlook    clock: 40 s behind\n         → run an NTP client\n\
             FAILED  store: not writable\n         → chown it"
        );
    }
}
