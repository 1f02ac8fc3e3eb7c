//! Reading a window of a shard's sequence: what is alive in it, in order, with exact sources.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use slipstream_model::settings::MOST_IN_AN_ANSWER;
use slipstream_model::{DocRef, Op, SeqNo, SeqRange};

use crate::client::{Call, Cluster};
use crate::error::{ClusterError, ErrorKind, Result};
use crate::scan::ScanError;
use crate::searcher::{Outcome, Searcher};
use crate::slicer::{self, LIVE, Sliced};

/// Which window to read, and how.
#[derive(Debug, Clone, Copy)]
pub struct PageQuery<'a> {
    /// The copy to read.
    pub target: &'a Searcher,
    /// The window.
    pub range: SeqRange,
    /// Read everything above `range.after`, whatever `range.through` says.
    pub unbounded: bool,
    /// The most operations to return; engines refuse more than `index.max_result_window`, usually 10,000.
    pub size: usize,
    /// The largest answer to take, in bytes.
    pub max_bytes: usize,
    /// Also count all living documents of the shard, from the same searcher.
    pub count_live: bool,
}

/// A window as it was read.
#[derive(Debug, Clone)]
pub struct Page {
    /// What is alive in the window, with ascending sequence numbers. The sources are slices of one buffer, which lives
    /// as long as any of them.
    pub ops: Vec<Op>,
    /// As many operations as were asked for, so there may be more.
    pub full: bool,
    /// All living documents of the shard, if they were to be counted. Documents with a `_doc_count` field count that
    /// many times where the engine has no points in time.
    pub live: Option<u64>,
    /// The size of the answer.
    pub body_bytes: usize,
}

impl Cluster {
    /// Reads one page.
    ///
    /// # Errors
    /// [`ErrorKind::Incomplete`] if not all of the shard answered, the point in time expired or the copy moved;
    /// [`ErrorKind::TooLarge`] beyond `max_bytes`; [`ErrorKind::Protocol`] for hits without a source.
    pub async fn read_page(&self, query: &PageQuery<'_>) -> Result<Page> {
        let (call, body) = self.fetch_page(query, None).await?;
        let sliced = match slicer::slice(&body, None, query.size) {
            Ok(sliced) => (call, sliced, body.len()),
            Err(error) if error.wants_seal() => {
                drop(body);
                let seal = format!("{:032x}", rand::random::<u128>());
                let (call, body) = self.fetch_page(query, Some(&seal)).await?;
                let sliced =
                    slicer::slice(&body, Some(&seal), query.size).map_err(|e| self.uncut(&call, &e))?;
                (call, sliced, body.len())
            }
            Err(error) => return Err(self.uncut(&call, &error)),
        };
        let (
            call,
            Sliced {
                outcome,
                ops,
                mut live,
            },
            body_bytes,
        ) = sliced;
        self.require_complete(&call, query.target, &outcome)?;
        self.require_order(&call, query, &ops)?;
        if query.count_live {
            if query.target.pit.is_some() {
                live = Some(self.count(query.target).await?);
            }
            if live.is_none() {
                return Err(self
                    .error(ErrorKind::Protocol, &call)
                    .with_reason("the answer holds no count"));
            }
        }
        Ok(Page {
            full: ops.len() == query.size,
            ops,
            live,
            body_bytes,
        })
    }

    async fn fetch_page(&self, query: &PageQuery<'_>, seal: Option<&str>) -> Result<(Call, Bytes)> {
        let mut body = window(query.range, query.unbounded, seal);
        body.insert("size".into(), json!(query.size));
        body.insert("_source".into(), json!(true));
        body.insert("seq_no_primary_term".into(), json!(true));
        body.insert("version".into(), json!(true));
        if query.count_live && query.target.pit.is_none() {
            body.insert("aggs".into(), json!({ LIVE: { "global": {} } }));
        }
        let call = self
            .search_call(query.target, body, "")
            .await?
            .limit(query.max_bytes);
        let body = self.ok(&call).await?.body;
        Ok((call, body))
    }

    /// An answer that cannot be cut into hits.
    fn uncut(&self, call: &Call, error: &ScanError) -> ClusterError {
        self.error(ErrorKind::Protocol, call)
            .with_reason(error.to_string())
    }

    /// Refuses hits out of order or outside of the window: an engine that answers those did not understand the request.
    fn require_order(&self, call: &Call, query: &PageQuery<'_>, ops: &[Op]) -> Result<()> {
        let ascending = ops.is_sorted_by(|a, b| a.seq_no < b.seq_no);
        let above = ops.first().is_none_or(|op| !query.range.after.covers(op.seq_no));
        let below = query.unbounded || ops.last().is_none_or(|op| query.range.through.covers(op.seq_no));
        if ascending && above && below && ops.len() <= query.size {
            return Ok(());
        }
        let reason = format!("the hits are not those of {} in order", query.range);
        Err(self.error(ErrorKind::Protocol, call).with_reason(reason))
    }

    /// The number of living documents; costs one look at each segment.
    pub async fn count(&self, target: &Searcher) -> Result<u64> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(flatten)]
            outcome: Outcome,
            hits: Hits,
        }
        #[derive(Deserialize)]
        struct Hits {
            total: Total,
        }
        #[derive(Deserialize)]
        struct Total {
            value: u64,
            relation: String,
        }
        let mut body = Map::new();
        body.insert("size".into(), json!(0));
        body.insert("track_total_hits".into(), json!(true));
        let call = self.search_call(target, body, "").await?;
        let Answer { outcome, hits } = self.json(&call).await?;
        self.require_complete(&call, target, &outcome)?;
        if hits.total.relation != "eq" {
            return Err(self
                .error(ErrorKind::Protocol, &call)
                .with_reason("the count is not exact"));
        }
        Ok(hits.total.value)
    }

    /// The sequence numbers of living documents in a window, ascending, at most `limit` of them and never more than
    /// 10,000.
    pub async fn living(&self, searcher: &Searcher, range: SeqRange, limit: usize) -> Result<Vec<SeqNo>> {
        #[derive(Deserialize)]
        struct Hit {}
        let hits = self.hits_in::<Hit>(searcher, range, limit, "").await?;
        Ok(hits.into_iter().map(|(seq_no, _)| seq_no).collect())
    }

    /// Ids and sequence numbers of living documents in a window, as [`Cluster::living`].
    pub async fn ids(
        &self,
        searcher: &Searcher,
        range: SeqRange,
        limit: usize,
    ) -> Result<Vec<(SeqNo, DocRef)>> {
        #[derive(Deserialize)]
        struct Hit {
            #[serde(rename = "_id")]
            id: String,
            #[serde(rename = "_routing")]
            routing: Option<String>,
        }
        let fields = ",hits.hits._id,hits.hits._routing";
        let hits = self.hits_in::<Hit>(searcher, range, limit, fields).await?;
        let doc = |Hit { id, routing }| DocRef { id, routing };
        Ok(hits.into_iter().map(|(seq_no, hit)| (seq_no, doc(hit))).collect())
    }

    /// What hits of a window tell beside their sources, ascending; `fields` are those to answer beside the sequence number.
    async fn hits_in<H: DeserializeOwned>(
        &self,
        searcher: &Searcher,
        range: SeqRange,
        limit: usize,
        fields: &str,
    ) -> Result<Vec<(SeqNo, H)>> {
        #[derive(Deserialize)]
        struct Answer<H> {
            #[serde(flatten)]
            outcome: Outcome,
            #[serde(default = "Hits::none")]
            hits: Hits<H>,
        }
        #[derive(Deserialize)]
        struct Hits<H> {
            #[serde(default = "Vec::new")]
            hits: Vec<Hit<H>>,
        }
        impl<H> Hits<H> {
            fn none() -> Self {
                Hits { hits: Vec::new() }
            }
        }
        #[derive(Deserialize)]
        struct Hit<H> {
            // In a point in time a tie-breaker follows.
            sort: Vec<i64>,
            #[serde(flatten)]
            more: H,
        }
        let mut body = window(range, false, None);
        body.insert("size".into(), json!(limit.min(MOST_IN_AN_ANSWER)));
        body.insert("_source".into(), json!(false));
        let filter = format!("&filter_path=timed_out,_shards,hits.hits.sort{fields}");
        let call = self.search_call(searcher, body, &filter).await?;
        let Answer { outcome, hits } = self.json::<Answer<H>>(&call).await?;
        self.require_complete(&call, searcher, &outcome)?;
        let seq_no = |sort: &[i64]| Some(SeqNo::new(u64::try_from(*sort.first()?).ok()?));
        hits.hits
            .into_iter()
            .map(|hit| Some((seq_no(&hit.sort)?, hit.more)))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                self.error(ErrorKind::Protocol, &call)
                    .with_reason("a hit has no sequence number")
            })
    }
}

/// A search for a window, sorted. With a `seal`, each hit tells it as the name of the query that it matched.
fn window(range: SeqRange, unbounded: bool, seal: Option<&str>) -> Map<String, Value> {
    let mut bounds = json!({ "gt": range.after.get() });
    if !unbounded {
        bounds["lte"] = json!(range.through.get());
    }
    if let Some(seal) = seal {
        bounds["_name"] = json!(seal);
    }
    let mut body = Map::new();
    body.insert("query".into(), json!({ "range": { "_seq_no": bounds } }));
    body.insert("sort".into(), json!(["_seq_no"]));
    body.insert("track_total_hits".into(), json!(false));
    body
}
