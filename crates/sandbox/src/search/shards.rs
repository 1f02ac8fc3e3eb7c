//! Which shards a search looks at, and what they show to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::call::Call;
use crate::cluster::{Cluster, Flavor};
use crate::error::{ApiError, ApiResult};
use crate::index::SharedIndex;
use crate::knobs::Access;
use crate::query::Query;
use crate::shard::View;

/// One shard to search.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) index: SharedIndex,
    pub(crate) shard: u32,
    /// The filter of the alias through which it was reached.
    pub(crate) filter: Option<Query>,
    /// A point in time; otherwise the newest refresh.
    pub(crate) frozen: Option<Arc<View>>,
}

/// Which shards a preference leaves.
struct Preference {
    shards: Option<BTreeSet<u32>>,
}

impl Preference {
    fn parse(cluster: &Cluster, text: Option<&str>) -> ApiResult<Preference> {
        let mut shards = None;
        for part in text.unwrap_or("").split('|').filter(|p| !p.is_empty()) {
            let (word, value) = part.split_once(':').unwrap_or((part, ""));
            match word {
                "_shards" => {
                    let numbers: Result<BTreeSet<u32>, _> = value.split(',').map(str::parse).collect();
                    let wrong = |_| ApiError::illegal(format!("invalid shard list in preference [{part}]"));
                    shards = Some(numbers.map_err(wrong)?);
                }
                "_only_nodes"
                    if !value
                        .split(',')
                        .any(|n| n == cluster.node || n == "*" || n == "_local") =>
                {
                    let reason = format!("no data nodes with criteria [{value}] found for shard");
                    return Err(ApiError::illegal(reason));
                }
                "_primary" | "_primary_first" | "_replica" | "_replica_first"
                    if cluster.flavor == Flavor::Elasticsearch =>
                {
                    return Err(ApiError::illegal(format!("no Preference for [{word}]")));
                }
                "_only_nodes" | "_prefer_nodes" | "_local" | "_only_local" | "_primary"
                | "_primary_first" | "_replica" | "_replica_first" => {}
                unknown if unknown.starts_with('_') => {
                    return Err(ApiError::illegal(format!("no Preference for [{unknown}]")));
                }
                _ => {}
            }
        }
        Ok(Preference { shards })
    }
}

/// The shards that a request searches.
pub(crate) fn parts(cluster: &Cluster, call: &Call, names: &str) -> ApiResult<Vec<Part>> {
    let preference = Preference::parse(cluster, call.params.get("preference"))?;
    let mut parts = Vec::new();
    for target in cluster.resolve(names, call.params.resolve(false))? {
        let state = target.index.lock_for(Access::Read)?;
        let alias = target.alias.as_ref();
        let filter = alias
            .map(|a| Query::parse(&a["filter"]))
            .transpose()?
            .filter(|q| !matches!(q, Query::All));
        let routed = call
            .params
            .get("routing")
            .or_else(|| alias.and_then(|a| a["search_routing"].as_str()));
        let routed: Option<BTreeSet<u32>> =
            routed.filter(|_| state.routing.partition_size == 1).map(|list| {
                list.split(',')
                    .map(|r| state.routing.shard_of(r, Some(r)))
                    .collect()
            });
        for shard in 0..state.routing.shards {
            let wanted = |set: &Option<BTreeSet<u32>>| set.as_ref().is_none_or(|s| s.contains(&shard));
            if wanted(&preference.shards) && wanted(&routed) {
                let (index, filter) = (Arc::clone(&target.index), filter.clone());
                parts.push(Part {
                    index,
                    shard,
                    filter,
                    frozen: None,
                });
            }
        }
    }
    Ok(parts)
}

/// Runs something over what one shard shows to searches.
pub(super) fn with_view<T>(cluster: &Cluster, part: &Part, run: impl FnOnce(&View) -> T) -> ApiResult<T> {
    if let Some(view) = &part.frozen {
        return Ok(run(view));
    }
    let mut state = part.index.lock_for(Access::Read)?;
    let (gc, may_idle, after) = (
        state.knobs.gc_deletes,
        state.knobs.may_idle,
        state.knobs.idle_after,
    );
    let shard = state.shard(part.shard)?;
    // A shard that went to rest shows the search that wakes it everything, as the engines do.
    if may_idle && shard.is_idle(after) {
        shard.refresh(cluster.clock.now(), gc);
    }
    shard.searched();
    Ok(run(shard.view()))
}
