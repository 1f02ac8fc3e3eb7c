//! Files or documents: what an index begins with, and why.

use std::path::PathBuf;

use slipstream_cluster::{Engine, EngineVersion};
use slipstream_model::IndexName;
use slipstream_wire::v1;

use super::super::describe::Description;
use super::super::task::TaskContext;
use crate::leaders::Connected;

/// What an index begins with.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::index) enum Choice {
    /// With the leader's files, by way of this folder.
    Files(PathBuf),
    /// With its documents, for this reason.
    Documents(String),
}

/// Chooses. What cannot be found out now speaks for documents, which always work.
pub(in crate::index) async fn choose(
    context: &TaskContext,
    alias: &str,
    index: &IndexName,
    leader: &Description,
) -> Choice {
    let Some(folder) = &context.snapshot_path else {
        return Choice::Documents("this agent has no folder for snapshots (snapshot_path)".to_owned());
    };
    let asked = async {
        let link = context
            .leaders
            .link(alias)
            .map_err(|error| crate::chain(&error))?;
        let connected = link.connect().await.map_err(|error| crate::chain(&error))?;
        let target = context
            .cluster
            .identity()
            .await
            .map_err(|error| crate::chain(&error))?;
        readable(&connected, (target.engine, target.version))?;
        let request = v1::SurveyRequest {
            index: index.to_string(),
            index_uuid: leader.uuid.to_string(),
        };
        let survey = connected.snapshots().survey(request).await;
        let survey = survey
            .map_err(|status| format!("the leader agent: {}", status.message()))?
            .into_inner();
        if !survey.unavailable.is_empty() {
            return Err(survey.unavailable);
        }
        if survey.bytes < context.snapshot_from_bytes {
            return Err(format!(
                "it has {} KiB, and below {} MiB documents are as fast (limits.snapshot_from_mb)",
                survey.bytes >> 10,
                context.snapshot_from_bytes >> 20
            ));
        }
        Ok(())
    };
    match asked.await {
        Ok(()) => Choice::Files(folder.clone()),
        Err(why) => Choice::Documents(why),
    }
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
