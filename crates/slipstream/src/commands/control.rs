//! `slipstream stop`, `pause` and `resume`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::{GatewayArgs, IndexArgs, PauseArgs};
use crate::client::Gateway;
use crate::failure::Failure;
use crate::output;

/// Ends following.
pub(crate) async fn stop(args: &IndexArgs, as_json: bool) -> Result<(), Failure> {
    let answer = call(&args.gateway, &args.index, "_stop", &json!({})).await?;
    report(
        as_json,
        &answer,
        &format!("{} is an ordinary index again", args.index),
    );
    Ok(())
}

/// Holds an index.
pub(crate) async fn pause(args: &PauseArgs, as_json: bool) -> Result<(), Failure> {
    let body = args
        .reason
        .as_ref()
        .map_or_else(|| json!({}), |reason| json!({"reason": reason}));
    let answer = call(&args.gateway, &args.index, "_pause", &body).await?;
    report(
        as_json,
        &answer,
        &format!("{} is paused; its place is kept", args.index),
    );
    Ok(())
}

/// Goes on with an index.
pub(crate) async fn resume(args: &IndexArgs, as_json: bool) -> Result<(), Failure> {
    let answer = call(&args.gateway, &args.index, "_resume", &json!({})).await?;
    report(as_json, &answer, &format!("{} follows again", args.index));
    Ok(())
}

async fn call(gateway: &GatewayArgs, index: &str, what: &str, body: &Value) -> Result<Value, Failure> {
    let segments = ["_plugins", "_replication", index, what];
    Gateway::at(gateway)?
        .call(Method::POST, &segments, Some(body))
        .await
}

/// Says what was done: the gateway's answer, or a sentence.
pub(super) fn report(as_json: bool, answer: &Value, sentence: &str) {
    output::data(&if as_json {
        answer.to_string()
    } else {
        sentence.to_owned()
    });
}
