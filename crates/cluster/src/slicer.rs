//! Cuts a page of hits into operations whose sources are slices of the answer itself: byte for byte, nothing copied.
//!
//! Sources are neither parsed nor printed again, because engines store them as they came. Everything else in an answer
//! may stand in any order.

use bytes::Bytes;
use slipstream_model::{Change, DocRef, Op, PrimaryTerm, SeqNo, Version};

use crate::scan::{Scan, ScanResult, Text};
use crate::searcher::{Outcome, ShardCounts};

/// What a page of hits holds.
#[derive(Debug, Default)]
pub(crate) struct Sliced {
    /// Whether all of the shard answered.
    pub(crate) outcome: Outcome,
    /// The hits, in the order of the answer.
    pub(crate) ops: Vec<Op>,
    /// What the aggregation `live` counted.
    pub(crate) live: Option<u64>,
}

/// The name of the aggregation that counts living documents.
pub(crate) const LIVE: &str = "live";

/// Cuts an answer into its operations. For `seal` see [`Scan::source`]; `expected` is how many hits to make room for.
pub(crate) fn slice(body: &Bytes, seal: Option<&str>, expected: usize) -> ScanResult<Sliced> {
    let mut sliced = Sliced {
        ops: Vec::with_capacity(expected.min(body.len() / 64)),
        ..Sliced::default()
    };
    let (mut answered, mut listed) = (false, false);
    let mut scan = Scan::new(body);
    scan.members(|scan, name| match name.raw() {
        b"timed_out" => {
            sliced.outcome.timed_out = scan.boolean()?;
            Ok(())
        }
        b"_shards" => {
            answered = true;
            sliced.outcome.shards = shard_counts(scan)?;
            Ok(())
        }
        b"hits" => scan.members(|scan, name| match name.raw() {
            b"hits" => {
                listed = true;
                scan.elements(|scan| {
                    sliced.ops.push(hit(scan, body, seal)?);
                    Ok(())
                })
            }
            _ => scan.value(),
        }),
        b"aggregations" => scan.members(|scan, name| {
            if name.raw() == LIVE.as_bytes() {
                scan.members(|scan, name| match name.raw() {
                    b"doc_count" => {
                        sliced.live = u64::try_from(scan.integer()?).ok();
                        Ok(())
                    }
                    _ => scan.value(),
                })
            } else {
                scan.value()
            }
        }),
        _ => scan.value(),
    })?;
    scan.end()?;
    if !answered || !listed {
        return scan.malformed("`_shards` or `hits` is missing");
    }
    Ok(sliced)
}

fn shard_counts(scan: &mut Scan<'_>) -> ScanResult<ShardCounts> {
    let mut counts = ShardCounts::default();
    scan.members(|scan, name| {
        let count = match name.raw() {
            b"total" => &mut counts.total,
            b"successful" => &mut counts.successful,
            b"failed" => &mut counts.failed,
            _ => return scan.value(),
        };
        let value = scan.integer()?;
        match u64::try_from(value) {
            Ok(value) => *count = value,
            Err(_) => return scan.malformed("a negative number of shards"),
        }
        Ok(())
    })?;
    Ok(counts)
}

/// The members of a hit that make an operation.
#[derive(Default)]
struct Hit {
    id: Option<String>,
    routing: Option<String>,
    seq_no: Option<u64>,
    term: Option<u64>,
    version: Option<i64>,
    source: Option<Bytes>,
}

fn hit(scan: &mut Scan<'_>, body: &Bytes, seal: Option<&str>) -> ScanResult<Op> {
    let mut hit = Hit::default();
    scan.members(|scan, name| {
        match name.raw() {
            b"_id" => hit.id = Some(text(scan)?),
            b"_routing" => hit.routing = Some(text(scan)?),
            b"_seq_no" => hit.seq_no = u64::try_from(scan.integer()?).ok(),
            b"_primary_term" => hit.term = u64::try_from(scan.integer()?).ok(),
            b"_version" => hit.version = Some(scan.integer()?),
            b"_source" => hit.source = Some(body.slice(scan.source(seal)?)),
            _ => scan.value()?,
        }
        Ok(())
    })?;
    let Hit {
        id: Some(id),
        routing,
        seq_no: Some(seq_no),
        term: Some(term),
        version: Some(version),
        source,
    } = hit
    else {
        return scan.malformed("a hit lacks `_id`, `_seq_no`, `_primary_term` or `_version`");
    };
    let Some(source) = source else {
        return scan
            .malformed("a hit has no `_source` (is it disabled in the mapping?): it cannot be replicated");
    };
    Ok(Op {
        seq_no: SeqNo::new(seq_no),
        term: PrimaryTerm(term),
        version: Version(version),
        doc: DocRef { id, routing },
        change: Change::Index { source },
    })
}

fn text(scan: &mut Scan<'_>) -> ScanResult<String> {
    let text: Text<'_> = scan.text()?;
    match text.unescape() {
        Some(text) => Ok(text),
        None => scan.malformed("a string is not valid UTF-8"),
    }
}

#[cfg(test)]
mod tests;
