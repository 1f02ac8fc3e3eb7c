//! `slipstream autofollow add`, `remove` and `list`.

use std::fmt::Write;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::control::report;
use crate::cli::{AddRuleArgs, AutofollowCommand};
use crate::client::{Gateway, read};
use crate::failure::Failure;

/// Where rules are made and ended.
const RULES: [&str; 3] = ["_plugins", "_replication", "_autofollow"];

/// Makes, ends or shows rules.
pub(crate) async fn run(command: &AutofollowCommand, as_json: bool) -> Result<(), Failure> {
    match command {
        AutofollowCommand::Add(args) => add(args, as_json).await,
        AutofollowCommand::Remove {
            name,
            leader,
            gateway,
        } => {
            let body = json!({ "leader_alias": leader, "name": name });
            let gateway = Gateway::at(gateway)?;
            let answer = gateway.call(Method::DELETE, &RULES, Some(&body)).await?;
            report(
                as_json,
                &answer,
                &format!("the rule {name} has ended; what it has started goes on"),
            );
            Ok(())
        }
        AutofollowCommand::List(gateway) => {
            let gateway = Gateway::at(gateway)?;
            let answer = gateway
                .call(Method::GET, &["_slipstream", "v1", "autofollow"], None)
                .await?;
            let rules: Rules = read(&answer)?;
            report(as_json, &answer, &rules.in_words());
            Ok(())
        }
    }
}

async fn add(args: &AddRuleArgs, as_json: bool) -> Result<(), Failure> {
    let mut body = json!({
        "leader_alias": args.leader,
        "name": args.name,
        "pattern": args.pattern,
        "exclude": args.exclude,
    });
    if let Some(template) = &args.follower_index {
        body["follower_index_pattern"] = json!(template);
    }
    let gateway = Gateway::at(&args.gateway)?;
    let answer = gateway.call(Method::POST, &RULES, Some(&body)).await?;
    let sentence = format!(
        "{} of {} are followed by the rule {}",
        args.pattern, args.leader, args.name
    );
    report(as_json, &answer, &sentence);
    Ok(())
}

#[derive(Deserialize)]
struct Rules {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
    leader_alias: String,
    pattern: String,
    exclude: Vec<String>,
    follower_index_pattern: String,
    started: u64,
    leader_error: Option<String>,
    failed_indices: Vec<FailedIndex>,
}

#[derive(Deserialize)]
struct FailedIndex {
    leader_index: String,
    reason: String,
}

impl Rules {
    fn in_words(&self) -> String {
        if self.rules.is_empty() {
            return "there are no rules".to_owned();
        }
        let mut text = String::new();
        for rule in &self.rules {
            let excluded = if rule.exclude.is_empty() {
                String::new()
            } else {
                format!(" without {}", rule.exclude.join(", "))
            };
            // Writing to a `String` cannot fail.
            _ = writeln!(
                text,
                "{}: {} of {}{excluded} as {}, {} started since the agent started",
                rule.name, rule.pattern, rule.leader_alias, rule.follower_index_pattern, rule.started
            );
            if let Some(error) = &rule.leader_error {
                _ = writeln!(text, "  the leader cannot be asked: {error}");
            }
            for failed in &rule.failed_indices {
                _ = writeln!(
                    text,
                    "  {} could not be started: {}; it is tried again",
                    failed.leader_index, failed.reason
                );
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_with_what_they_could_not_start_and_why() {
        let rules = json!({"rules": [{
            "name": "logs", "leader_alias": "eu", "pattern": "logs-*", "exclude": ["logs-tmp-*"],
            "follower_index_pattern": "{{leader_index}}", "started": 3, "failed_starts": 2, "failed_leader_calls": 0,
            "leader_error": null, "failed_indices": [{"leader_index": "logs-9", "reason": "it is in the way"}],
            "looked_at_millis": 1,
        }]});
        assert_eq!(
            Rules::deserialize(&rules).unwrap().in_words(),
            "logs: logs-* of eu without logs-tmp-* as {{leader_index}}, 3 started since the agent started\n  \
             logs-9 could not be started: it is in the way; it is tried again"
        );
        assert_eq!(Rules { rules: Vec::new() }.in_words(), "there are no rules");
    }
}
