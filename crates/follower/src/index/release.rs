//! Letting a follower index go. It becomes an ordinary one: what was held back gets the leader's values, as last heard. Or
//! it is deleted, where its leader was and the operator wants that.

use slipstream_cluster::{Cluster, ClusterError, ErrorKind};
use slipstream_model::settings::{Settings, after_stop, difference};
use slipstream_model::{IndexName, IndexUuid};

use super::settings;

/// Puts the held settings back. `leader` are the leader's settings, or `None` where it cannot be asked: then the engine's
/// defaults are put, for those that only replication had set.
pub(super) async fn release(
    cluster: &Cluster,
    index: &IndexName,
    leader: Option<&Settings>,
    overrides: &Settings,
) -> Result<Vec<String>, ClusterError> {
    let current = match cluster.settings(index).await {
        Ok(current) => current,
        // Deleted behind our back: there is nothing to put back.
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let empty = Settings::new();
    let wanted = after_stop(leader.unwrap_or(&empty), overrides);
    let mut change = difference(&current, &wanted);
    // Only the held ones: everything else is as it should be. A default that is already in force need not be put.
    change
        .retain(|name, value| wanted.contains_key(name) && (current.contains_key(name) || !value.is_null()));
    settings::put(cluster, index, change).await
}

/// Deletes the index, if it is still the one that was made for following.
pub(super) async fn delete(
    cluster: &Cluster,
    index: &IndexName,
    made: &IndexUuid,
) -> Result<(), ClusterError> {
    match cluster.index_state(index).await? {
        Some(state) if state.uuid == *made => {}
        _ => return Ok(()),
    }
    match cluster.delete_index(index).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
