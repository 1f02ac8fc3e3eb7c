//! Which indices a leader has, asked for so often that nearly every answer is "as before".

use std::time::Duration;

use slipstream_model::{IndexName, IndexUuid};
use slipstream_wire::v1;
use tokio::time::timeout;

use crate::leaders::LeaderLink;

/// An index of the leader's.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) name: IndexName,
    pub(super) uuid: IndexUuid,
    pub(super) open: bool,
}

/// How long one question may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(15);

/// The indices that fit a pattern and may be read, with the version to give next time; `None` while nothing has changed
/// since `known`. The error is in words.
pub(super) async fn list(
    leader: &LeaderLink,
    pattern: &str,
    known: u64,
) -> Result<Option<(u64, Vec<Listed>)>, String> {
    let ask = async {
        let connected = leader.connect().await.map_err(|e| crate::chain(&e))?;
        let request = v1::ListRequest {
            pattern: pattern.to_owned(),
            known_version: known,
        };
        let answer = connected.catalog().list(request).await;
        answer.map_err(|status| {
            format!(
                "the leader agent at {} could not list its indices: {}",
                connected.agent,
                status.message()
            )
        })
    };
    let answer = timeout(DEADLINE, ask)
        .await
        .map_err(|_| {
            format!(
                "the leader did not list its indices within {} s",
                DEADLINE.as_secs()
            )
        })??
        .into_inner();
    if answer.unchanged {
        return Ok(None);
    }
    let listed = answer.indices.into_iter().map(|entry| Listed {
        name: IndexName::new(entry.index),
        uuid: IndexUuid::new(entry.index_uuid),
        open: entry.state == "open",
    });
    Ok(Some((answer.version, listed.collect())))
}
