//! Files or documents: what an index begins with, and why.

use slipstream_cluster::{Engine, EngineVersion};
use slipstream_model::Bootstrap;
use slipstream_store::Definition;
use slipstream_wire::v1;
use thiserror::Error;

use super::super::describe::Description;
use super::super::task::TaskContext;
use super::way::{self, NoWay, Way};
use crate::control::ControlError;
use crate::leaders::{Connected, LeaderError};

/// What an index begins with.
#[derive(Debug)]
pub(in crate::index) enum Choice {
    /// With the leader's files, on this way.
    Files(Way),
    /// With its documents, for this reason.
    Documents(String),
    /// With files, as the operator wants it, which cannot be.
    Neither(ControlError),
}

/// Why an index cannot, or should not, begin with files.
#[derive(Debug, Error)]
enum Why {
    #[error(
        "this agent has neither a folder for snapshots ([cluster] snapshot_path) nor serves files ([snapshots])"
    )]
    Nowhere,
    #[error(transparent)]
    Leader(#[from] LeaderError),
    #[error("the leader agent: {0}")]
    Agent(String),
    #[error("the target cluster does not say what it is")]
    Target(#[from] slipstream_cluster::ClusterError),
    #[error("{0}")]
    Settled(String),
    #[error("{}", in_words(.0))]
    NoWay(Vec<NoWay>),
}

impl Why {
    /// Whether it may be otherwise in a moment.
    fn passes(&self) -> bool {
        match self {
            Why::Leader(_) | Why::Agent(_) | Why::Target(_) => true,
            Why::NoWay(ways) => ways.iter().any(|way| matches!(way, NoWay::Unknown(_))),
            Why::Nowhere | Why::Settled(_) => false,
        }
    }
}

fn in_words(ways: &[NoWay]) -> String {
    let ways: Vec<String> = ways.iter().map(|way| crate::chain(way)).collect();
    ways.join("; ")
}

/// Chooses. What cannot be found out now speaks for documents, which always work.
pub(in crate::index) async fn choose(
    context: &TaskContext,
    definition: &Definition,
    leader: &Description,
) -> Choice {
    if definition.bootstrap == Some(Bootstrap::Documents) {
        return Choice::Documents("they were asked for".to_owned());
    }
    let wanted = definition.bootstrap == Some(Bootstrap::Files);
    match possible(context, definition, leader, wanted).await {
        Ok(way) => Choice::Files(way),
        Err(why) if wanted => {
            let words = format!(
                "[{}] cannot begin with files: {}",
                definition.follower_index,
                crate::chain(&why)
            );
            Choice::Neither(if why.passes() {
                ControlError::Unavailable(words)
            } else {
                ControlError::Invalid(words)
            })
        }
        Err(why) => Choice::Documents(crate::chain(&why)),
    }
}

/// The way on which an index can begin with files; however small it is, if that is `wanted`.
async fn possible(
    context: &TaskContext,
    definition: &Definition,
    leader: &Description,
    wanted: bool,
) -> Result<Way, Why> {
    if context.snapshot_path.is_none() && context.file_server.is_none() {
        return Err(Why::Nowhere);
    }
    let link = context.leaders.link(&definition.leader_alias)?;
    let connected = link.connect().await?;
    let target = context.cluster.identity().await?;
    readable(&connected, (target.engine, target.version)).map_err(Why::Settled)?;
    let request = v1::SurveyRequest {
        index: definition.leader_index.to_string(),
        index_uuid: leader.uuid.to_string(),
    };
    let survey = connected.snapshots().survey(request).await;
    let survey = survey
        .map_err(|status| Why::Agent(status.message().to_owned()))?
        .into_inner();
    if !survey.unavailable.is_empty() {
        return Err(Why::Settled(survey.unavailable));
    }
    if !wanted && survey.bytes < context.snapshot_from_bytes {
        return Err(Why::Settled(format!(
            "it has {} KiB, and below {} MiB documents are as fast (limits.snapshot_from_mb)",
            survey.bytes >> 10,
            context.snapshot_from_bytes >> 20
        )));
    }
    way::find(context).await.map_err(Why::NoWay)
}

fn readable(leader: &Connected, target: (Engine, EngineVersion)) -> Result<(), String> {
    let hello = &leader.hello;
    let numbers: Vec<u32> = hello
        .engine_version
        .split(['.', '-'])
        .map_while(|number| number.parse().ok())
        .collect();
    let &[major, minor, ..] = numbers.as_slice() else {
        return Err(format!(
            "the leader's version `{}` is no version",
            hello.engine_version
        ));
    };
    let engine = match hello.engine.as_str() {
        "opensearch" => Engine::OpenSearch,
        _ => Engine::Elasticsearch,
    };
    if restores((engine, major, minor), target) {
        return Ok(());
    }
    Err(format!(
        "{} {} cannot read a snapshot of {} {}",
        target.0, target.1, hello.engine, hello.engine_version
    ))
}

/// Whether a target can restore what a leader of this release snapshots: nothing newer than itself, one major release back, and of
/// Elasticsearch what OpenSearch 1 and 2 come from. Whether an old *index* can be read, the target says when asked to.
fn restores(leader: (Engine, u32, u32), target: (Engine, EngineVersion)) -> bool {
    let (engine, major, minor) = leader;
    let (into, version) = target;
    match (engine, into) {
        (Engine::Elasticsearch, Engine::OpenSearch) => (major, minor) <= (7, 10) && version.major <= 2,
        (Engine::OpenSearch, Engine::Elasticsearch) => false,
        _ => (major, minor) <= (version.major, version.minor) && version.major - major <= 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_target_can_read_is_sent_to_it_as_files() {
        use Engine::{Elasticsearch, OpenSearch};
        for (leader, target, can) in [
            ((OpenSearch, 2, 19), (OpenSearch, 2, 19), true),
            ((OpenSearch, 2, 19), (OpenSearch, 3, 6), true),
            ((OpenSearch, 3, 6), (OpenSearch, 2, 19), false),
            ((OpenSearch, 2, 19), (OpenSearch, 2, 15), false),
            ((OpenSearch, 1, 3), (OpenSearch, 3, 6), false),
            ((OpenSearch, 1, 3), (Elasticsearch, 7, 10), false),
            ((Elasticsearch, 7, 10), (OpenSearch, 2, 19), true),
            ((Elasticsearch, 7, 10), (OpenSearch, 3, 6), false),
            ((Elasticsearch, 7, 17), (OpenSearch, 2, 19), false),
            ((Elasticsearch, 7, 17), (Elasticsearch, 8, 19), true),
        ] {
            let version = EngineVersion::new(target.1, target.2, 0);
            assert_eq!(
                restores(leader, (target.0, version)),
                can,
                "{leader:?} → {target:?}"
            );
        }
    }
}
