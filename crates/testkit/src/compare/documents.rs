//! Every document of two indices, side by side.
//!
//! Each shard is read by paging through its sequence numbers: the one order that every release offers without field
//! data, on a number that no two documents of a shard share. A count guards against the paging itself losing some.

use std::collections::HashMap;

use serde_json::json;

use super::{Differences, ReadError, Side, excerpt, scan};
use crate::client::escape;

const PAGE: usize = 1000;

/// A document by what tells it from all others: with custom routing, one id may exist once per shard.
type Key = (String, Option<String>);

/// What must be the same on both sides.
#[derive(Debug, PartialEq, Eq)]
struct Document {
    version: i64,
    /// The very bytes; `None` where the index keeps no sources.
    source: Option<Vec<u8>>,
}

pub(super) async fn compare(leader: &Side, follower: &Side, found: &mut Differences) {
    let (ours, theirs) = tokio::join!(read(leader), read(follower));
    let ours = ours.map_err(|error| found.unreadable(leader, &error));
    let theirs = theirs.map_err(|error| found.unreadable(follower, &error));
    if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
        compare_documents(&ours, &theirs, found);
    }
}

fn compare_documents(
    leader: &HashMap<Key, Document>,
    follower: &HashMap<Key, Document>,
    found: &mut Differences,
) {
    let mut keys: Vec<&Key> = leader
        .keys()
        .chain(follower.keys().filter(|key| !leader.contains_key(*key)))
        .collect();
    keys.sort_unstable();
    for key in keys {
        let name = || match &key.1 {
            Some(routing) => format!("document {:?} routed by {routing:?}", key.0),
            None => format!("document {:?}", key.0),
        };
        match (leader.get(key), follower.get(key)) {
            (Some(ours), Some(theirs)) if ours != theirs => found.add(|| {
                let version = if ours.version == theirs.version {
                    String::new()
                } else {
                    format!(" version {} against {}", ours.version, theirs.version)
                };
                let source = if ours.source == theirs.source {
                    String::new()
                } else {
                    let text =
                        |document: &Document| document.source.as_deref().map_or("none".into(), excerpt);
                    format!(" source {} against {}", text(ours), text(theirs))
                };
                format!("{} differs:{version}{source}", name())
            }),
            (Some(ours), None) => found.add(|| format!("{} (version {}) is missing", name(), ours.version)),
            (None, Some(theirs)) => found.add(|| format!("{} (version {}) is extra", name(), theirs.version)),
            _ => {}
        }
    }
}

async fn read(side: &Side) -> Result<HashMap<Key, Document>, ReadError> {
    let index = escape(&side.index);
    ask(side, "POST", format!("/{index}/_refresh"), None).await?;
    let path = format!("/{index}/_settings/index.number_of_shards?flat_settings=true");
    let answer = ask(side, "GET", path.clone(), None).await?;
    let shards = shard_count(&answer).ok_or_else(|| ReadError::Odd {
        path,
        what: excerpt(&answer),
    })?;
    let mut documents = HashMap::new();
    for shard in 0..shards {
        read_shard(side, &index, shard, &mut documents).await?;
    }
    let path = format!("/{index}/_count");
    let answer = ask(side, "GET", path.clone(), None).await?;
    let count = serde_json::from_slice::<serde_json::Value>(&answer)
        .ok()
        .and_then(|answer| answer["count"].as_u64());
    if count != Some(documents.len() as u64) {
        let what = format!("{} documents were read, but it counts {count:?}", documents.len());
        return Err(ReadError::Odd { path, what });
    }
    Ok(documents)
}

fn shard_count(answer: &[u8]) -> Option<u32> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let index = answer.as_object()?.values().next()?;
    index["settings"]["index.number_of_shards"].as_str()?.parse().ok()
}

async fn read_shard(
    side: &Side,
    index: &str,
    shard: u32,
    documents: &mut HashMap<Key, Document>,
) -> Result<(), ReadError> {
    let path = format!("/{index}/_search?preference=_shards:{shard}");
    let mut after = -1_i64;
    loop {
        let query = json!({
            "size": PAGE, "sort": ["_seq_no"], "version": true, "seq_no_primary_term": true,
            "track_total_hits": false, "query": {"range": {"_seq_no": {"gt": after}}},
        });
        let answer = ask(side, "POST", path.clone(), Some(query.to_string())).await?;
        let page = parse(&answer).map_err(|source| ReadError::Malformed {
            path: path.clone(),
            source,
        })?;
        let odd = |what: String| ReadError::Odd {
            path: path.clone(),
            what,
        };
        // A shard that did not answer looks like an empty one otherwise.
        if page.complete != Some(true) {
            return Err(odd(format!(
                "the shard did not answer in full: {}",
                excerpt(&answer)
            )));
        }
        let full = page.hits.len() == PAGE;
        for hit in page.hits {
            let hit = hit.ok_or_else(|| odd("a hit lacks its id, version or sequence number".to_owned()))?;
            if hit.seq_no <= after {
                return Err(odd(format!("sequence number {} comes after {after}", hit.seq_no)));
            }
            after = hit.seq_no;
            if documents.insert(hit.key, hit.document).is_some() {
                return Err(odd(format!(
                    "a document shows twice, again at sequence number {after}"
                )));
            }
        }
        if !full {
            return Ok(());
        }
    }
}

async fn ask(
    side: &Side,
    method: &'static str,
    path: String,
    body: Option<String>,
) -> Result<Vec<u8>, ReadError> {
    let body = body.map(|body| ("application/json", body.into_bytes()));
    let (status, answer) = side.client.try_send(method, &path, body).await?;
    if status == 200 {
        Ok(answer)
    } else {
        Err(ReadError::Refused {
            path,
            status,
            body: excerpt(&answer),
        })
    }
}

struct Page {
    /// Whether exactly one shard answered and in full; `None` where the answer does not tell.
    complete: Option<bool>,
    hits: Vec<Option<Hit>>,
}

struct Hit {
    key: Key,
    seq_no: i64,
    document: Document,
}

fn parse(answer: &[u8]) -> Result<Page, scan::Malformed> {
    let mut complete = None;
    let mut timed_out = true;
    let mut hits = Vec::new();
    for (name, value) in scan::members(answer)? {
        match name.as_str() {
            "timed_out" => timed_out = value != b"false",
            "_shards" => {
                let shards: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
                complete = Some(shards["total"] == 1 && shards["successful"] == 1 && shards["failed"] == 0);
            }
            "hits" => {
                for hit in scan::elements(scan::member(value, "hits")?.unwrap_or(b"[]"))? {
                    hits.push(parse_hit(hit)?);
                }
            }
            _ => {}
        }
    }
    Ok(Page {
        complete: complete.map(|complete| complete && !timed_out),
        hits,
    })
}

fn parse_hit(hit: &[u8]) -> Result<Option<Hit>, scan::Malformed> {
    let (mut id, mut routing, mut version, mut seq_no, mut source) = (None, None, None, None, None);
    for (name, value) in scan::members(hit)? {
        match name.as_str() {
            "_id" => id = serde_json::from_slice(value).ok(),
            "_routing" => routing = serde_json::from_slice::<String>(value).ok(),
            "_version" => version = serde_json::from_slice(value).ok(),
            "_seq_no" => seq_no = serde_json::from_slice(value).ok(),
            "_source" => source = Some(value.to_vec()),
            _ => {}
        }
    }
    Ok(id.zip(version).zip(seq_no).map(|((id, version), seq_no)| Hit {
        key: (id, routing),
        seq_no,
        document: Document { version, source },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(source: &str, version: i64) -> HashMap<Key, Document> {
        let answer = format!(
            "{{\"timed_out\":false,\"_shards\":{{\"total\":1,\"successful\":1,\"skipped\":0,\"failed\":0}},\
             \"hits\":{{\"hits\":[{{\"_id\":\"\\u00e9\",\"_routing\":\"r\",\"_seq_no\":4,\"_version\":{version},\
             \"_source\": {source} ,\"sort\":[4]}}]}}}}"
        );
        let page = parse(answer.as_bytes()).unwrap();
        assert_eq!(page.complete, Some(true));
        page.hits
            .into_iter()
            .flatten()
            .map(|hit| (hit.key, hit.document))
            .collect()
    }

    fn differences(leader: &HashMap<Key, Document>, follower: &HashMap<Key, Document>) -> Vec<String> {
        let mut found = Differences::default();
        compare_documents(leader, follower, &mut found);
        found.listed()
    }

    #[test]
    fn spelling_matters() {
        let ours = page("{\"a\" : 1.0}", 3);
        assert!(differences(&ours, &page("{\"a\" : 1.0}", 3)).is_empty());
        for other in ["{\"a\": 1.0}", "{\"a\" : 1}", "{\"a\" : 1.00}"] {
            let found = differences(&ours, &page(other, 3));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].contains("\"é\" routed by \"r\"") && found[0].contains(other),
                "{found:?}"
            );
        }
    }

    #[test]
    fn versions_and_missing_documents_show() {
        let ours = page("{}", 3);
        assert!(differences(&ours, &page("{}", 4))[0].contains("version 3 against 4"));
        assert!(differences(&ours, &HashMap::new())[0].contains("is missing"));
        assert!(differences(&HashMap::new(), &ours)[0].contains("is extra"));
    }

    #[test]
    fn a_silent_shard_is_not_an_empty_one() {
        let answer =
            br#"{"timed_out":false,"_shards":{"total":0,"successful":0,"failed":0},"hits":{"hits":[]}}"#;
        assert_eq!(parse(answer).unwrap().complete, Some(false));
    }

    #[test]
    fn the_list_ends_at_twenty() {
        let many: HashMap<Key, Document> = (0..50)
            .map(|n| {
                (
                    (n.to_string(), None),
                    Document {
                        version: 1,
                        source: None,
                    },
                )
            })
            .collect();
        let found = differences(&many, &HashMap::new());
        assert_eq!(found.len(), 21);
        assert_eq!(found[20], "and 30 more");
    }
}
