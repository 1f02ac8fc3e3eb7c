//! What the agent works with, and whether that works right now: asked, not remembered, each against a deadline.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use slipstream_model::readiness::Component;
use tokio::time::timeout;

use crate::agent::Agent;

/// How long a component may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// The store, the target and the certificate, which are needed; and each leader, which is shown.
pub(crate) async fn components(agent: &Agent) -> Vec<Component> {
    let store = agent.store().clone();
    let store = within(async {
        crate::blocking(move || store.probe())
            .await
            .map_err(|e| crate::chain(&e))
    });
    let target = within(async {
        let version = agent.cluster().state_version().await;
        version.map(drop).map_err(|e| crate::chain(&e))
    });
    let leaders = agent.leaders().into_keys().map(|alias| async move {
        let connected = within(async {
            let link = agent.leader(&alias).map_err(|e| crate::chain(&e))?;
            link.answers().await.map_err(|e| crate::chain(&e))
        });
        Component::shown(format!("leader {alias}"), connected.await)
    });
    let (store, target, leaders) = tokio::join!(store, target, join_all(leaders));
    let mut components = vec![
        Component::needed("store", store),
        Component::needed("target", target),
        Component::needed("certificate", certificate(agent.certificate_expires_at())),
    ];
    components.extend(leaders);
    components
}

async fn within(found: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

fn certificate(expires_at: SystemTime) -> Result<(), String> {
    if expires_at > SystemTime::now() {
        return Ok(());
    }
    Err("has expired: put a new one in place and send SIGHUP".to_owned())
}
