//! Waiting until a leader index that was closed is open again.
//!
//! An index is closed for a moment to change what can only be changed then, its analysis above all. Nobody should have to say on the other
//! side that it is over. What else may have become of the index meanwhile is for an operator to judge: only the very index counts.

use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{IndexName, IndexUuid};
use tokio::time::sleep;

use super::describe::describe;
use crate::backoff::Backoff;
use crate::leaders::LeaderBook;

/// Returns once the leader has this very index open. A leader that cannot be asked is asked again.
pub(super) async fn opened(
    leaders: Arc<LeaderBook>,
    alias: String,
    index: IndexName,
    uuid: Option<IndexUuid>,
) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        sleep(backoff.next()).await;
        let Ok(leader) = leaders.link(&alias) else {
            continue;
        };
        if let Ok(found) = describe(&leader, &index).await
            && found.open
            && Some(&found.uuid) == uuid.as_ref()
        {
            return;
        }
    }
}
