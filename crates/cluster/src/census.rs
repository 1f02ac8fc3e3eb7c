//! Accounting for documents: how many live where in the sequence, and whether given ones still do.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use slipstream_model::{Checkpoint, DocRef, IndexName};

use crate::answer::Refusal;
use crate::client::{Call, Cluster};
use crate::error::{ErrorKind, Result};
use crate::searcher::{Outcome, Searcher};

impl Cluster {
    /// How many documents live in each stretch of `width` sequence numbers up to `through`: first sequence number →
    /// count, empty stretches absent. Documents with a `_doc_count` field count that many times.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] if there are more stretches than `search.max_buckets`.
    pub async fn live_histogram(
        &self,
        searcher: &Searcher,
        width: u64,
        through: Checkpoint,
    ) -> Result<BTreeMap<u64, u64>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(flatten)]
            outcome: Outcome,
            #[serde(default)]
            aggregations: Aggregations,
        }
        #[derive(Deserialize, Default)]
        struct Aggregations {
            live: Histogram,
        }
        #[derive(Deserialize, Default)]
        struct Histogram {
            #[serde(default)]
            buckets: Vec<Bucket>,
        }
        #[derive(Deserialize)]
        struct Bucket {
            key: f64,
            doc_count: u64,
        }
        let mut body = Map::new();
        body.insert("size".into(), json!(0));
        body.insert("track_total_hits".into(), json!(false));
        body.insert(
            "query".into(),
            json!({ "range": { "_seq_no": { "lte": through.get() } } }),
        );
        let histogram = json!({ "field": "_seq_no", "interval": width.max(1), "min_doc_count": 1 });
        body.insert("aggs".into(), json!({ "live": { "histogram": histogram } }));
        let call = self.search_call(searcher, body, "").await?;
        let Answer {
            outcome,
            aggregations,
        } = self.json(&call).await?;
        self.require_complete(&call, searcher, &outcome)?;
        Ok(aggregations
            .live
            .buckets
            .into_iter()
            .map(|bucket| (bucket.key as u64, bucket.doc_count))
            .collect())
    }

    /// Whether each document is there right now, refreshed or not.
    ///
    /// # Errors
    /// Fails as a whole if any document could not be looked up: not finding out is not "gone".
    pub async fn present(&self, index: &IndexName, docs: &[DocRef]) -> Result<Vec<bool>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            docs: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            found: Option<bool>,
            error: Option<Value>,
        }
        if docs.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<Value> = docs
            .iter()
            .map(|doc| match &doc.routing {
                Some(routing) => json!({ "_id": doc.id, "routing": routing, "_source": false }),
                None => json!({ "_id": doc.id, "_source": false }),
            })
            .collect();
        let call = Call::post(
            format!("/{}/_mget", self.segment(index)?),
            "realtime=true&filter_path=docs.found,docs.error.type,docs.error.reason",
        )
        .heavy()
        .body(self.to_json(&json!({ "docs": asked }))?, "application/json");
        let Answer { docs: items } = self.json(&call).await?;
        if items.len() != docs.len() {
            let reason = format!(
                "{} documents were asked for and {} answered",
                docs.len(),
                items.len()
            );
            return Err(self.error(ErrorKind::Protocol, &call).with_reason(reason));
        }
        items
            .into_iter()
            .zip(docs)
            .map(|(item, doc)| match item {
                Item {
                    found: Some(found),
                    error: None,
                } => Ok(found),
                Item { error, .. } => {
                    let refusal = error.as_ref().map(Refusal::of_value).unwrap_or_default();
                    let kind = match refusal.classify(500) {
                        ErrorKind::Server => ErrorKind::Incomplete,
                        kind => kind,
                    };
                    let reason = format!("document `{}` could not be looked up: {}", doc.id, refusal.reason);
                    Err(self
                        .error(kind, &call)
                        .with_reason(reason)
                        .with_engine_type(refusal.kind))
                }
            })
            .collect()
    }
}
