//! The incumbent's own cluster settings, `plugins.replication.*`, sorted by what they do here.
//!
//! A few make sense and are obeyed. Most tune machinery that is not there: they are kept and shown, so that scripts which set
//! them go on working, and the answer says in a `Warning` header that they are without effect. What the incumbent does not know, or
//! a value that it would not take, is refused.

use std::time::Duration;

use serde_json::Value;
use slipstream_model::size;

use crate::error::ApiError;

/// What all of them begin with.
pub(crate) const PREFIX: &str = "plugins.replication.";

/// What a setting does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It is obeyed.
    Obeyed,
    /// Nothing, for this reason.
    None(&'static str),
}

/// Which values it may have.
#[derive(Debug, Clone, Copy)]
enum Range {
    Flag,
    Number(u64, u64),
    /// In milliseconds.
    Time(u64, u64),
    Bytes,
    /// A second.
    Rate,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

const BATCHES: Effect = Effect::None("batches are sized by bytes");
const LISTENS: Effect = Effect::None("nothing is polled");
const LEASES: Effect = Effect::None("there are no retention leases");
const FILES: Effect = Effect::None("files are copied in parts of the agents' own");
const RULES: Effect = Effect::None("rules look twice a second, and try again by themselves");
const TASKS: Effect = Effect::None("bulk tasks work on four indices at a time and wait for each");
const POOLS: Effect = Effect::None("the leader's nodes do no work for replication");

/// Name behind the prefix, effect, values. The incumbent's ranges; the rate is ours.
const KNOWN: [(&str, Effect, Range); 18] = [
    ("follower.block.start", Effect::Obeyed, Range::Flag),
    ("replicate.delete_index", Effect::Obeyed, Range::Flag),
    (
        "follower.index.recovery.max_bytes_per_sec",
        Effect::Obeyed,
        Range::Rate,
    ),
    (
        "follower.index.ops_batch_size",
        BATCHES,
        Range::Number(16, u64::MAX),
    ),
    (
        "follower.concurrent_readers_per_shard",
        BATCHES,
        Range::Number(1, u64::MAX),
    ),
    (
        "follower.concurrent_writers_per_shard",
        BATCHES,
        Range::Number(1, u64::MAX),
    ),
    ("follower.poll_interval", LISTENS, Range::Time(1, SECOND)),
    (
        "follower.metadata_sync_interval",
        Effect::None("metadata comes ahead of the documents that need it"),
        Range::Time(5 * SECOND, u64::MAX),
    ),
    (
        "follower.retention_lease_max_failure_duration",
        LEASES,
        Range::Time(SECOND, 12 * HOUR),
    ),
    ("follower.index.recovery.chunk_size", FILES, Range::Bytes),
    (
        "follower.index.recovery.max_concurrent_file_chunks",
        FILES,
        Range::Number(1, u64::MAX),
    ),
    (
        "autofollow.fetch_poll_interval",
        RULES,
        Range::Time(30 * SECOND, HOUR),
    ),
    (
        "autofollow.retry_poll_interval",
        RULES,
        Range::Time(MINUTE, 4 * HOUR),
    ),
    (
        "autofollow.concurrent_replication_jobs_trigger_size",
        RULES,
        Range::Number(1, 100),
    ),
    ("leader.thread_pool.size", POOLS, Range::Number(0, u64::MAX)),
    ("leader.thread_pool.queue_size", POOLS, Range::Number(0, u64::MAX)),
    ("follower.bulk_batch_size", TASKS, Range::Number(1, 100)),
    ("follower.bulk_poll_timeout", TASKS, Range::Number(1, 30)),
];

/// A setting that may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) name: String,
    /// `None` puts the default back.
    pub(crate) value: Option<String>,
    /// Why it is without effect, if so.
    pub(crate) idle: Option<&'static str>,
}

/// Judges one setting, given by its full name.
pub(crate) fn judge(name: &str, value: &Value) -> Result<Switch, ApiError> {
    let known = KNOWN
        .iter()
        .find(|(known, ..)| name.strip_prefix(PREFIX) == Some(known));
    let Some((_, effect, range)) = known else {
        return Err(ApiError::illegal(format!(
            "persistent setting [{name}], not recognized"
        )));
    };
    let text = match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => {
            return Err(ApiError::illegal(format!(
                "setting [{name}] must be a single value"
            )));
        }
    };
    if let Some(text) = &text
        && !range.takes(text)
    {
        return Err(ApiError::illegal(format!(
            "Failed to parse value [{text}] for setting [{name}]: {}",
            range.in_words()
        )));
    }
    let idle = match effect {
        Effect::Obeyed => None,
        Effect::None(why) => Some(*why),
    };
    Ok(Switch {
        name: name.to_owned(),
        value: text,
        idle,
    })
}

impl Range {
    fn takes(self, text: &str) -> bool {
        match self {
            Range::Flag => matches!(text, "true" | "false"),
            Range::Number(least, most) => text.parse().is_ok_and(|n: u64| (least..=most).contains(&n)),
            Range::Time(least, most) => time(text).is_some_and(|time| {
                let millis = time.as_millis();
                (u128::from(least)..=u128::from(most)).contains(&millis)
            }),
            Range::Bytes => size::bytes(text).is_some(),
            Range::Rate => size::rate(text).is_some(),
        }
    }

    fn in_words(self) -> String {
        match self {
            Range::Flag => "only [true] or [false] are allowed".to_owned(),
            Range::Number(least, u64::MAX) => format!("must be a number >= {least}"),
            Range::Number(least, most) => format!("must be a number from {least} to {most}"),
            Range::Time(least, u64::MAX) => format!("must be a time such as [30s], >= {least}ms"),
            Range::Time(least, most) => format!("must be a time such as [30s], from {least}ms to {most}ms"),
            Range::Bytes => "must be a size such as [10mb]".to_owned(),
            Range::Rate => "must be a size such as [40mb], or [-1] for no limit".to_owned(),
        }
    }
}

/// A time as the engines write it: a whole number and its unit.
fn time(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => 24 * HOUR,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(name: &str, value: &Value) -> Result<Switch, ApiError> {
        judge(&format!("{PREFIX}{name}"), value)
    }

    #[test]
    fn what_is_obeyed_and_what_is_without_effect_is_told_apart() {
        let block = judged("follower.block.start", &json!(true)).unwrap();
        assert_eq!((block.value.as_deref(), block.idle), (Some("true"), None));
        let delete = judged("replicate.delete_index", &json!("true")).unwrap();
        assert_eq!((delete.value.as_deref(), delete.idle), (Some("true"), None));
        let rate = judged("follower.index.recovery.max_bytes_per_sec", &json!("40mb")).unwrap();
        assert_eq!((rate.value.as_deref(), rate.idle), (Some("40mb"), None));
        let poll = judged("follower.poll_interval", &json!("50ms")).unwrap();
        assert_eq!(poll.idle, Some("nothing is polled"));
        assert_eq!(
            judged("follower.poll_interval", &Value::Null).unwrap().value,
            None
        );
    }

    /// The incumbent's table: a default, and a value beyond the range.
    #[test]
    fn every_setting_of_the_incumbents_takes_what_it_takes_there_and_no_more() {
        let table = [
            ("follower.block.start", json!(false), json!("on")),
            ("replicate.delete_index", json!(false), json!(1)),
            ("follower.index.ops_batch_size", json!(50_000), json!(15)),
            ("follower.concurrent_readers_per_shard", json!(2), json!(0)),
            ("follower.concurrent_writers_per_shard", json!("2"), json!(0)),
            ("follower.poll_interval", json!("50ms"), json!("1001ms")),
            ("follower.metadata_sync_interval", json!("60s"), json!("4s")),
            (
                "follower.retention_lease_max_failure_duration",
                json!("1h"),
                json!("13h"),
            ),
            ("follower.index.recovery.chunk_size", json!("10mb"), json!("much")),
            (
                "follower.index.recovery.max_concurrent_file_chunks",
                json!(5),
                json!(0),
            ),
            ("autofollow.fetch_poll_interval", json!("30s"), json!("29s")),
            ("autofollow.retry_poll_interval", json!("1h"), json!("5h")),
            (
                "autofollow.concurrent_replication_jobs_trigger_size",
                json!(3),
                json!(101),
            ),
            ("leader.thread_pool.size", json!(0), json!(-1)),
            ("leader.thread_pool.queue_size", json!(1_000), json!("many")),
            ("follower.bulk_batch_size", json!(10), json!(101)),
            ("follower.bulk_poll_timeout", json!(15), json!(31)),
        ];
        for (name, good, bad) in table {
            let taken = judged(name, &good).unwrap();
            let obeyed = matches!(name, "follower.block.start" | "replicate.delete_index");
            assert_eq!(taken.idle.is_none(), obeyed, "{name}");
            assert!(judged(name, &bad).is_err(), "{name}: {bad}");
        }
    }

    #[test]
    fn values_that_the_incumbent_would_not_take_are_refused() {
        for (name, value) in [
            ("follower.block.start", json!("maybe")),
            ("follower.poll_interval", json!("2s")),
            ("follower.poll_interval", json!(50)),
            ("autofollow.fetch_poll_interval", json!("1s")),
            ("follower.index.ops_batch_size", json!(1)),
            ("follower.index.recovery.chunk_size", json!("10")),
            ("follower.index.recovery.max_bytes_per_sec", json!(40)),
            ("follower.block.start", json!(["true"])),
            ("bogus", json!(1)),
        ] {
            assert!(judged(name, &value).is_err(), "{name}: {value}");
        }
    }
}
