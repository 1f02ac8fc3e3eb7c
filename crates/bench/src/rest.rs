//! Requests to clusters and gateway, of which a refusal is an error.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use slipstream_testkit::client::Es;
use tokio::time::{Instant, sleep};

const JSON: &str = "application/json";

/// What tells that a document is missing from that an index is.
const FOUND: &[u8] = b"\"found\":false";

/// How long anything may take that is not itself measured.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);
/// How often something is looked at that will come in a moment.
const LOOK: Duration = Duration::from_millis(10);

/// A cluster or gateway.
#[derive(Debug, Clone)]
pub(crate) struct Rest(Es);

impl Rest {
    /// The one at a URL.
    pub(crate) fn at(url: &str) -> Self {
        Rest(Es::new(url))
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None).await
    }

    /// PUT of a JSON body.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("PUT", path, Some((JSON, body.to_string().into_bytes())))
            .await
    }

    /// PUT of a document's source as it is.
    pub(crate) async fn put_document(&self, index: &str, id: &str, source: String) -> Result<()> {
        let body = Some((JSON, source.into_bytes()));
        self.call("PUT", &format!("/{index}/_doc/{id}"), body)
            .await
            .map(drop)
    }

    /// A realtime GET: whether the document is there.
    pub(crate) async fn holds(&self, index: &str, id: &str) -> Result<bool> {
        let path = format!("/{index}/_doc/{id}");
        match self.0.try_send("GET", &path, None).await? {
            (200, _) => Ok(true),
            (404, body) if body.windows(FOUND.len()).any(|part| part == FOUND) => Ok(false),
            (status, body) => bail!(
                "GET {}{path} answered {status}: {}",
                self.0.url(),
                String::from_utf8_lossy(&body)
            ),
        }
    }

    /// POST of a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, Some((JSON, body.to_string().into_bytes())))
            .await
    }

    /// A bulk of which every item must succeed; the answer is kept short.
    pub(crate) async fn bulk(&self, index: &str, body: Vec<u8>) -> Result<()> {
        let path = format!("/{index}/_bulk?filter_path=errors");
        let answer = self
            .call("POST", &path, Some(("application/x-ndjson", body)))
            .await?;
        ensure!(
            answer["errors"] == false,
            "a bulk into [{index}] had errors: {answer}"
        );
        Ok(())
    }

    /// DELETE with a JSON body.
    pub(crate) async fn delete_with(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("DELETE", path, Some((JSON, body.to_string().into_bytes())))
            .await
    }

    /// DELETE of an index.
    pub(crate) async fn delete_index(&self, index: &str) -> Result<()> {
        self.delete(&format!("/{index}")).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.call("DELETE", path, None).await.map(drop)
    }

    /// How many documents an index shows after a refresh.
    pub(crate) async fn count(&self, index: &str) -> Result<u64> {
        self.call("POST", &format!("/{index}/_refresh"), None).await?;
        let answer = self.get(&format!("/{index}/_count")).await?;
        answer["count"]
            .as_u64()
            .with_context(|| format!("[{index}] has no count: {answer}"))
    }

    /// Waits until nothing merges any more, so that what was measured last does not weigh on what comes next.
    pub(crate) async fn calm(&self) -> Result<()> {
        until("the merges to end", async || {
            let stats = self
                .get("/_stats/merge?filter_path=_all.total.merges.current")
                .await?;
            let current = stats["_all"]["total"]["merges"]["current"]
                .as_u64()
                .unwrap_or_default();
            Ok((current == 0).then_some(()))
        })
        .await
    }

    async fn call(&self, method: &'static str, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Value> {
        let (status, bytes) = self.0.try_send(method, path, body).await?;
        if status >= 300 {
            bail!(
                "{method} {}{path} answered {status}: {}",
                self.0.url(),
                String::from_utf8_lossy(&bytes)
            );
        }
        Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

/// Looks until there is something to see, but not forever.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    within(PATIENCE, what, look).await
}

/// The same, with a patience of its own.
pub(crate) async fn within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        ensure!(
            Instant::now() < deadline,
            "waited {} s in vain for {what}",
            patience.as_secs()
        );
        sleep(LOOK).await;
    }
}
