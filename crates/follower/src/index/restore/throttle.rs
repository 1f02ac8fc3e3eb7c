//! The target's own limit for recoveries, lifted while an index is restored, as far as the operator lets us, and put back.
//!
//! The limit is a setting of the operator's cluster, so it is touched only on request (`limits.restore_mb_per_s`). It is lifted by a
//! transient setting, under which whatever else is set stays as it is; a transient value that somebody else has set is left alone.
//! Ours ends in [`MARK`], so a life of the agent that finds one knows that an earlier life left it, and nothing has to be remembered.

use std::time::Duration;

use slipstream_cluster::{Cluster, ClusterError};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;

const SETTING: &str = "indices.recovery.max_bytes_per_sec";
/// What a value of ours has in its last digits, in bytes: nobody else writes such a number.
const MARK: u64 = 73;
/// How long putting it back at the agent's end may take.
const LAST: Duration = Duration::from_secs(5);

/// How many restores go on, and how fast they may.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    restores: watch::Sender<usize>,
    /// Mebibytes a second; 0 leaves the target's own limit.
    megabytes: u64,
}

/// A restore that goes on.
pub(super) struct Lifted(watch::Sender<usize>);

impl Drop for Lifted {
    fn drop(&mut self) {
        self.0.send_modify(|restores| *restores -= 1);
    }
}

impl Throttle {
    /// Nothing is lifted before [`Throttle::run`].
    pub(crate) fn new(megabytes: u64) -> Self {
        Throttle {
            restores: watch::Sender::new(0),
            megabytes,
        }
    }

    /// Lifts the limit soon, while the answer lives.
    pub(super) fn lift(&self) -> Lifted {
        self.restores.send_modify(|restores| *restores += 1);
        Lifted(self.restores.clone())
    }

    /// Lifts and puts back until the agent's end.
    pub(crate) async fn run(self, cluster: Cluster, shutdown: CancellationToken) {
        let mut restores = self.restores.subscribe();
        let value = format!("{}b", (self.megabytes << 20) + MARK);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        // Whether it was put back since it was lifted. An earlier life may have left it lifted.
        let mut back = false;
        loop {
            let wanted = *restores.borrow_and_update() > 0 && self.megabytes > 0;
            let done = if wanted {
                back = false;
                lift(&cluster, &value).await
            } else if back {
                Ok(())
            } else {
                put_back(&cluster).await.inspect(|()| back = true)
            };
            let again = done.inspect_err(|error| {
                tracing::warn!(setting = SETTING, %error, wanted, "the target's limit for recoveries could not be changed, it is tried again");
            });
            let retry = async {
                match again {
                    Ok(()) => std::future::pending::<()>().await,
                    Err(_) => sleep(backoff.next()).await,
                }
            };
            tokio::select! {
                // The sender lives as long as `self`.
                _ = restores.changed() => {}
                () = retry => {}
                () = shutdown.cancelled() => break,
            }
        }
        if !back {
            let _ = timeout(LAST, put_back(&cluster)).await;
        }
    }
}

async fn lift(cluster: &Cluster, value: &str) -> Result<(), ClusterError> {
    match cluster.transient_setting(SETTING).await? {
        Some(set) if !is_ours(&set) => Ok(()),
        _ => cluster.put_transient_setting(SETTING, Some(value)).await,
    }
}

async fn put_back(cluster: &Cluster) -> Result<(), ClusterError> {
    match cluster.transient_setting(SETTING).await? {
        Some(set) if is_ours(&set) => cluster.put_transient_setting(SETTING, None).await,
        _ => Ok(()),
    }
}

fn is_ours(value: &str) -> bool {
    let bytes = value
        .strip_suffix('b')
        .and_then(|bytes| bytes.parse::<u64>().ok());
    bytes.is_some_and(|bytes| bytes % (1 << 20) == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_value_of_ours_is_put_back() {
        assert!(is_ours(&format!("{}b", (500_u64 << 20) + MARK)));
        for other in ["40mb", "-1", "524288000b", "73mb", "0b"] {
            assert!(!is_ours(other), "{other}");
        }
    }
}
