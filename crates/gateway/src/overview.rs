//! `GET /_slipstream/v1/overview`: all that the status page shows at a glance, in one answer of bounded size.
//!
//! With a thousand indices a page cannot draw them all every two seconds: the counts are of all, the rows are those that
//! were asked for, what needs an operator first. A row says what is wrong *and* what to do about it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use slipstream_follower::{
    FailedStart, FilesStatus, IndexStatus, LagHistory, RuleStatus, Surroundings, Trend,
};
use slipstream_model::moment::now_millis;
use slipstream_model::{IndexName, Phase, Reason};

use crate::Gateway;
use crate::error::ApiError;
use crate::params::Params;

/// Rows of an answer, unless others are asked for.
const SIZE: usize = 50;
/// Rows of an answer at most.
const MOST: usize = 500;
/// Warnings of a row, and failed starts of a rule.
const MOST_NOTES: usize = 5;

/// The answer.
#[derive(Serialize)]
struct Overview<'a> {
    /// The release of this agent.
    release: &'static str,
    now_millis: u64,
    surroundings: Surroundings,
    counts: Counts,
    now: Now,
    /// Over all indices.
    lag: LagHistory,
    /// How many indices match what was asked for.
    matching: usize,
    /// The number of the first row among them.
    from: usize,
    indices: Vec<Row<'a>>,
    rules: Vec<Rule>,
}

/// Over all indices, at this moment.
#[derive(Default, Serialize)]
struct Now {
    /// The worst of those whose lag is known.
    lag_seconds: Option<f64>,
    lag_operations: u64,
    /// How many are syncing of which nobody can tell how far behind they are.
    unknown: usize,
}

/// Following indices by state.
#[derive(Default, Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Counts {
    #[serde(rename = "all")]
    all: usize,
    #[serde(rename = "attention")]
    attention: usize,
    init: usize,
    bootstrapping: usize,
    syncing: usize,
    paused: usize,
    failed: usize,
    stopping: usize,
}

/// What an operator should look at, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Attention {
    Failed,
    Waiting,
    Paused,
    Warning,
}

/// One index.
#[derive(Serialize)]
struct Row<'a> {
    follower_index: &'a IndexName,
    leader_alias: &'a str,
    leader_index: &'a IndexName,
    phase: Phase,
    reason: &'a Reason,
    waiting_for: Option<&'a str>,
    warnings: &'a [String],
    more_warnings: usize,
    attention: Option<Attention>,
    remedy: Option<&'static str>,
    started_at_millis: u64,
    lag_seconds: Option<f64>,
    lag_operations: u64,
    shards: usize,
    readers: Vec<Reader<'a>>,
    bootstrap_ratio: Option<f64>,
    files: Option<&'a FilesStatus>,
    trend: Trend,
}

/// How many shards a reader serves.
#[derive(Serialize)]
struct Reader<'a> {
    reader: &'a str,
    shards: usize,
}

/// An auto-follow rule, as far as somebody has to do something.
#[derive(Serialize)]
struct Rule {
    name: String,
    leader_alias: String,
    pattern: String,
    started: u64,
    leader_error: Option<String>,
    failed: usize,
    failed_indices: Vec<FailedStart>,
}

/// Which rows are wanted.
struct Wanted {
    text: String,
    state: Option<Wish>,
    from: usize,
    size: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Attention,
    Phase(Phase),
}

/// `GET /_slipstream/v1/overview`.
pub(crate) async fn overview(State(gateway): State<Arc<Gateway>>, uri: Uri) -> Result<Response, ApiError> {
    let wanted = Wanted::of(&uri)?;
    let control = &gateway.control;
    let all = control.list();
    let counts = Counts::of(&all);
    let mut matching: Vec<&IndexStatus> = all.iter().filter(|index| wanted.takes(index)).collect();
    // Stable, and the list comes by name: rows do not jump.
    matching.sort_by_key(|index| rank(index));
    let rows = matching.iter().skip(wanted.from).take(wanted.size);
    let answer = Overview {
        release: env!("CARGO_PKG_VERSION"),
        now_millis: now_millis(),
        surroundings: control.surroundings(),
        counts,
        now: Now::of(&all),
        lag: control.lag(None),
        matching: matching.len(),
        from: wanted.from,
        indices: rows
            .map(|index| Row::of(index, control.trend(&index.follower_index)))
            .collect(),
        rules: control.rules().into_iter().map(Rule::of).collect(),
    };
    Ok(Json(answer).into_response())
}

/// `GET /_slipstream/v1/indices/{index}/lag`.
pub(crate) async fn lag(
    State(gateway): State<Arc<Gateway>>,
    Path(index): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::of(&uri, &[])?;
    let name = IndexName::new(index);
    match gateway.control.status(&name) {
        Some(_) => Ok(Json(gateway.control.lag(Some(&name))).into_response()),
        None => Err(ApiError::not_found(format!(
            "No replication in progress for index:{name}"
        ))),
    }
}

impl Wanted {
    fn of(uri: &Uri) -> Result<Self, ApiError> {
        let params = Params::of(uri, &["match", "state", "from", "size"])?;
        let number = |name: &str, default: usize, most: usize| {
            let Some(text) = params.get(name) else {
                return Ok(default);
            };
            let number = text.parse().ok().filter(|number| *number <= most);
            number.ok_or_else(|| {
                ApiError::illegal(format!(
                    "Failed to parse value [{text}] of [{name}]: it is a number from 0 to {most}"
                ))
            })
        };
        let state = match params.get("state") {
            None | Some("") => None,
            Some("attention") => Some(Wish::Attention),
            Some(text) => {
                let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == text);
                Some(Wish::Phase(phase.ok_or_else(|| {
                    let phases = Phase::ALL.map(Phase::as_str).join(", ");
                    ApiError::illegal(format!("[state] is [attention] or one of {phases}, not [{text}]"))
                })?))
            }
        };
        Ok(Wanted {
            text: params.get("match").unwrap_or_default().trim().to_lowercase(),
            state,
            from: number("from", 0, usize::MAX >> 1)?,
            size: number("size", SIZE, MOST)?,
        })
    }

    fn takes(&self, index: &IndexStatus) -> bool {
        let state = match self.state {
            None => true,
            Some(Wish::Attention) => attention(index).is_some(),
            Some(Wish::Phase(phase)) => index.phase == phase,
        };
        let names = [
            index.follower_index.as_str(),
            index.leader_index.as_str(),
            index.leader_alias.as_str(),
        ];
        state && names.iter().any(|name| name.to_lowercase().contains(&self.text))
    }
}

impl Now {
    fn of(indices: &[IndexStatus]) -> Self {
        let mut now = Now::default();
        for index in indices.iter().filter(|index| index.phase == Phase::Syncing) {
            match index.lag_seconds() {
                Some(lag) => {
                    now.lag_seconds = Some(now.lag_seconds.unwrap_or(0.0).max(lag));
                    now.lag_operations += index.lag_operations();
                }
                None => now.unknown += 1,
            }
        }
        now
    }
}

impl Counts {
    fn of(indices: &[IndexStatus]) -> Self {
        let mut counts = Counts {
            all: indices.len(),
            ..Counts::default()
        };
        for index in indices {
            counts.attention += usize::from(attention(index).is_some());
            *match index.phase {
                Phase::Init => &mut counts.init,
                Phase::Bootstrapping => &mut counts.bootstrapping,
                Phase::Syncing => &mut counts.syncing,
                Phase::Paused => &mut counts.paused,
                Phase::Failed => &mut counts.failed,
                Phase::Stopping => &mut counts.stopping,
            } += 1;
        }
        counts
    }
}

impl<'a> Row<'a> {
    fn of(index: &'a IndexStatus, trend: Trend) -> Self {
        let attention = attention(index);
        let warnings = &index.warnings[..index.warnings.len().min(MOST_NOTES)];
        Row {
            follower_index: &index.follower_index,
            leader_alias: &index.leader_alias,
            leader_index: &index.leader_index,
            phase: index.phase,
            reason: &index.reason,
            waiting_for: index.waiting_for.as_deref(),
            warnings,
            more_warnings: index.warnings.len() - warnings.len(),
            attention,
            remedy: attention.and_then(remedy),
            started_at_millis: index.started_at_millis,
            lag_seconds: index.lag_seconds(),
            lag_operations: index.lag_operations(),
            shards: index.shards.len(),
            readers: readers(index.shards.iter().filter_map(|shard| shard.reader.as_deref())),
            bootstrap_ratio: index
                .bootstrap_ratio()
                .filter(|_| index.phase == Phase::Bootstrapping),
            files: index.files.as_ref(),
            trend,
        }
    }
}

impl Rule {
    fn of(rule: RuleStatus) -> Self {
        let failed = rule.failed_indices.len();
        let mut failed_indices = rule.failed_indices;
        failed_indices.truncate(MOST_NOTES);
        Rule {
            name: rule.name,
            leader_alias: rule.leader_alias,
            pattern: rule.pattern,
            started: rule.started,
            leader_error: rule.leader_error,
            failed,
            failed_indices,
        }
    }
}

fn attention(index: &IndexStatus) -> Option<Attention> {
    match index.phase {
        Phase::Failed => Some(Attention::Failed),
        Phase::Paused => Some(Attention::Paused),
        _ if index.waiting_for.is_some() => Some(Attention::Waiting),
        _ if !index.warnings.is_empty() => Some(Attention::Warning),
        _ => None,
    }
}

/// What needs somebody comes first, then what is on its way, then what follows.
fn rank(index: &IndexStatus) -> (u8, Option<Attention>) {
    match attention(index) {
        Some(attention) => (0, Some(attention)),
        None if index.phase == Phase::Syncing => (2, None),
        None => (1, None),
    }
}

fn remedy(attention: Attention) -> Option<&'static str> {
    match attention {
        Attention::Failed => Some("Mend what the reason names, then resume: it goes on where it stopped."),
        Attention::Paused => {
            Some("Resume when the reason is over: it goes on where it stopped, however long that was.")
        }
        Attention::Waiting => {
            Some("It is tried again by itself and nothing is lost. If it lasts, mend what it names.")
        }
        // Each warning says itself what to do, if anything.
        Attention::Warning => None,
    }
}

/// Which readers serve how many shards, by name.
fn readers<'a>(serving: impl Iterator<Item = &'a str>) -> Vec<Reader<'a>> {
    let mut readers: Vec<Reader<'a>> = Vec::new();
    for reader in serving {
        let name = reader.split_once(": ").map_or(reader, |(name, _)| name);
        match readers.iter_mut().find(|known| known.reader == name) {
            Some(known) => known.shards += 1,
            None => readers.push(Reader {
                reader: name,
                shards: 1,
            }),
        }
    }
    readers.sort_by_key(|reader| reader.reader);
    readers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, phase: Phase) -> IndexStatus {
        IndexStatus {
            follower_index: name.into(),
            leader_alias: "conn1".to_owned(),
            leader_index: format!("leader-{name}").as_str().into(),
            phase,
            reason: Reason::new(""),
            waiting_for: None,
            started_at_millis: 0,
            shards: Vec::new(),
            warnings: Vec::new(),
            files: None,
            begun_with: None,
        }
    }

    fn wanted(query: &str) -> Wanted {
        Wanted::of(&format!("/o?{query}").parse().unwrap()).ok().unwrap()
    }

    #[test]
    fn what_needs_somebody_comes_first_and_says_what_to_do() {
        let mut waiting = index("c", Phase::Syncing);
        waiting.waiting_for = Some("the target".to_owned());
        let mut warned = index("d", Phase::Syncing);
        warned.warnings = (0..9).map(|n| n.to_string()).collect();
        let mut all = [
            index("a", Phase::Syncing),
            index("b", Phase::Bootstrapping),
            waiting,
            warned,
            index("e", Phase::Paused),
            index("f", Phase::Failed),
        ];
        all.sort_by_key(rank);
        let names: Vec<&str> = all.iter().map(|index| index.follower_index.as_str()).collect();
        assert_eq!(names, ["f", "c", "e", "d", "b", "a"]);
        assert_eq!(Counts::of(&all).attention, 4);
        let rows: Vec<Row<'_>> = all.iter().map(|index| Row::of(index, Trend::default())).collect();
        assert!(rows[..3].iter().all(|row| row.remedy.is_some()));
        assert_eq!((rows[3].warnings.len(), rows[3].more_warnings), (5, 4));
        assert!(rows[5].attention.is_none());
    }

    #[test]
    fn readers_are_counted_by_name_whatever_their_reasons() {
        let serving = [
            "window: no copy here",
            "translog: the primary",
            "translog: a replica",
        ];
        let counted = readers(serving.into_iter());
        let told: Vec<(&str, usize)> = counted.iter().map(|each| (each.reader, each.shards)).collect();
        assert_eq!(told, [("translog", 2), ("window", 1)]);
    }

    #[test]
    fn rows_are_found_by_any_name_and_by_state() {
        let paused = index("logs-1", Phase::Paused);
        for (query, takes) in [
            ("", true),
            ("match=LOGS", true),
            ("match=leader-l", true),
            ("match=conn1", true),
            ("match=metrics", false),
            ("state=PAUSED", true),
            ("state=attention", true),
            ("state=SYNCING", false),
        ] {
            assert_eq!(wanted(query).takes(&paused), takes, "{query}");
        }
        for query in ["state=paused", "size=501", "size=x", "from=-1", "sise=1"] {
            let refused = Wanted::of(&format!("/o?{query}").parse().unwrap());
            assert!(refused.is_err(), "{query}");
        }
    }
}
