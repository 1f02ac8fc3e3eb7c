//! `slipstream start`, and waiting for it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::json;

use super::control::report;
use super::status::copied;
use crate::cli::StartArgs;
use crate::client::{Gateway, read};
use crate::failure::Failure;

/// How often `--wait` looks.
const LOOK: Duration = Duration::from_millis(250);

/// Starts following, and with `--wait` returns only once the leader's contents have been copied.
pub(crate) async fn run(args: &StartArgs, as_json: bool) -> Result<(), Failure> {
    let gateway = Gateway::at(&args.gateway)?;
    let index = args.follower_index.as_str();
    let mut body = json!({"leader_alias": args.leader, "leader_index": args.leader_index});
    if let Some(how) = &args.bootstrap {
        // Not for an agent of an earlier release, which would refuse it.
        body["bootstrap"] = json!(how);
    }
    let answer = gateway
        .call(
            Method::PUT,
            &["_plugins", "_replication", index, "_start"],
            Some(&body),
        )
        .await?;
    if args.wait {
        wait(&gateway, index).await?;
        report(
            as_json,
            &answer,
            &format!("{index} follows {}:{}", args.leader, args.leader_index),
        );
    } else {
        report(
            as_json,
            &answer,
            &format!(
                "{index} is being copied from {}:{}",
                args.leader, args.leader_index
            ),
        );
    }
    Ok(())
}

/// Waits as long as the copy takes: how long that is only the operator can judge, by the bar.
async fn wait(gateway: &Gateway, index: &str) -> Result<(), Failure> {
    // Draws on stderr, and only on a terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(index.to_owned());
    loop {
        let Some(answer) = gateway.index(index).await? else {
            return Err(Failure::failed(format!(
                "{index} does not follow any more: somebody stopped it"
            )));
        };
        let state = read(&answer)?;
        let (done, all) = copied(&state);
        bar.set_length(all);
        bar.set_position(done);
        match state.phase.as_str() {
            "SYNCING" => break,
            "INIT" | "BOOTSTRAPPING" => {}
            phase => {
                bar.abandon();
                return Err(Failure::failed(format!("{index} is {phase}: {}", state.reason))
                    .advise(format!("mend the cause, then `slipstream resume {index}`")));
            }
        }
        if let Some(what) = state.waiting_for {
            bar.set_message(format!("{index} ({what})"));
        }
        tokio::time::sleep(LOOK).await;
    }
    bar.finish_and_clear();
    Ok(())
}
