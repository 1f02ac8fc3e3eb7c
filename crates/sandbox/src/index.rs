//! One index: its metadata and shards behind one lock, and the writes that touch both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};
use slipstream_model::routing::ShardRouting;
use tokio::sync::watch;

use crate::call::RefreshPolicy;
use crate::cluster::Flavor;
use crate::dynamic;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::knobs::{Access, Knobs};
use crate::mapping::{self, Fields};
use crate::persist::{IndexMeta, Log, ShardMeta, Store, Versions};
use crate::settings::Flat;
use crate::shard::{Expect, Shard, Written};
use crate::time::CoarseClock;

/// One index; cheap to share.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) uuid: String,
    state: Mutex<State>,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) settings: Flat,
    pub(crate) knobs: Knobs,
    pub(crate) mapping: Fields,
    pub(crate) aliases: Fields,
    pub(crate) open: bool,
    pub(crate) versions: Versions,
    pub(crate) routing: ShardRouting,
    pub(crate) shards: Vec<Shard>,
    pub(crate) refreshed_at: Instant,
    log: Option<Log>,
}

/// What a write needs from its surroundings.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) clock: CoarseClock,
    pub(crate) flavor: Flavor,
    pub(crate) store: Option<&'a Store>,
    /// Called after each change of metadata, before it is acknowledged.
    pub(crate) bump: &'a dyn Fn(),
}

/// One document operation.
#[derive(Debug)]
pub(crate) struct WriteOp<'a> {
    pub(crate) id: &'a str,
    pub(crate) routing: Option<&'a str>,
    pub(crate) expect: Expect,
    /// `None` deletes.
    pub(crate) source: Option<Bytes>,
}

impl Index {
    /// An index from its metadata, with its documents where a store has them.
    pub(crate) fn open(meta: IndexMeta, store: Option<&Store>, now: u64) -> Result<Index, crate::StoreError> {
        let mut shards: Vec<Shard> = meta
            .shards
            .iter()
            .map(|s| Shard::new(s.history.clone(), s.term))
            .collect();
        let log = store.map(|s| s.log(&meta.uuid, &mut shards, now)).transpose()?;
        let knobs = Knobs::of(&meta.settings);
        for shard in &mut shards {
            shard.refresh(now, knobs.gc_deletes);
        }
        let partition = meta
            .settings
            .get("index.routing_partition_size")
            .and_then(Value::as_str);
        let routing = ShardRouting {
            shards: shards.len() as u32,
            routing_shards: meta.routing_shards,
            partition_size: partition.and_then(|p| p.parse().ok()).unwrap_or(1),
        };
        let state = State {
            knobs,
            settings: meta.settings,
            mapping: meta.mapping,
            aliases: meta.aliases,
            open: meta.open,
            versions: meta.versions,
            routing,
            shards,
            refreshed_at: Instant::now(),
            log,
        };
        Ok(Index {
            name: meta.name,
            uuid: meta.uuid,
            state: Mutex::new(state),
        })
    }

    /// Locks the index. A panic in another request leaves it usable: every change is complete or not begun.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks it for a request that a closed index or a block may forbid.
    pub(crate) fn lock_for(&self, access: Access) -> ApiResult<MutexGuard<'_, State>> {
        let state = self.lock();
        if !state.open {
            return Err(self.closed());
        }
        state.knobs.blocks.check(access, &self.name)?;
        Ok(state)
    }

    pub(crate) fn closed(&self) -> ApiError {
        ApiError::closed(&self.name, &self.uuid)
    }

    /// Everything but the documents, to be stored.
    pub(crate) fn meta(&self, state: &State) -> IndexMeta {
        let shard = |s: &Shard| ShardMeta {
            term: s.term,
            history: s.history.clone(),
        };
        IndexMeta {
            name: self.name.clone(),
            uuid: self.uuid.clone(),
            settings: state.settings.clone(),
            mapping: state.mapping.clone(),
            aliases: state.aliases.clone(),
            open: state.open,
            routing_shards: state.routing.routing_shards,
            versions: state.versions,
            shards: state.shards.iter().map(shard).collect(),
        }
    }

    /// Stores changed metadata and tells the cluster that its state moved.
    pub(crate) fn save(&self, state: &mut State, around: Surroundings<'_>) -> ApiResult<()> {
        state.versions.index += 1;
        if let Some(store) = around.store {
            store
                .save_index(&self.meta(state))
                .map_err(|e| ApiError::storage(&e))?;
        }
        (around.bump)();
        Ok(())
    }

    /// Merges a mapping in; its version moves only if anything changed.
    pub(crate) fn merge_mapping(
        &self,
        state: &mut State,
        change: &Fields,
        around: Surroundings<'_>,
    ) -> ApiResult<()> {
        let next = mapping::merged(&state.mapping, change)?;
        if next == state.mapping {
            return Ok(());
        }
        let limit = state.knobs.fields_limit;
        if mapping::count(&next) > limit {
            return Err(ApiError::illegal(format!(
                "Limit of total fields [{limit}] has been exceeded"
            )));
        }
        state.mapping = next;
        state.versions.mapping += 1;
        self.save(state, around)
    }

    /// Does one operation, and says on which shard; it is durable after [`State::sync`].
    pub(crate) fn write(
        &self,
        state: &mut State,
        op: WriteOp<'_>,
        around: Surroundings<'_>,
    ) -> ApiResult<(u32, Written)> {
        let number = state.routing.shard_of(op.id, op.routing);
        let (now, gc) = (around.clock.now(), state.knobs.gc_deletes);
        let placed = |e: ApiError| self.placed(e, number);
        let Some(source) = op.source else {
            let shard = state.shard(number)?;
            let written = shard.delete(op.id, op.expect, now, gc).map_err(placed)?;
            if let Some(log) = &mut state.log {
                log.delete(number, op.id, written.seq_no, written.term, written.version);
            }
            return Ok((number, written));
        };
        let fits = Json::parse(&source)
            .map_err(|e| ApiError::mapper("failed to parse").caused_by("json_parse_exception", e))
            .and_then(|doc| {
                dynamic::additions(&state.mapping, &doc, op.id, around.flavor == Flavor::OpenSearch)
            });
        let added = fits.inspect_err(|_| {
            if let Some(shard) = state.shards.get_mut(number as usize) {
                shard.counters.index_failed += 1;
            }
        })?;
        if let Some(added) = added {
            self.merge_mapping(state, &added, around)?;
        }
        let shard = state.shard(number)?;
        let (written, doc) = shard
            .index(op.id, op.routing, source, op.expect, now, gc)
            .map_err(placed)?;
        if let Some(log) = &mut state.log {
            log.index(number, &doc);
        }
        Ok((number, written))
    }

    /// Says on which shard of which index something was refused.
    pub(crate) fn placed(&self, error: ApiError, shard: u32) -> ApiError {
        error
            .with("index", self.name.as_str())
            .with("shard", shard.to_string())
            .with("index_uuid", self.uuid.as_str())
    }

    /// Refreshes every shard.
    pub(crate) fn refresh(state: &mut State, now: u64) {
        let gc = state.knobs.gc_deletes;
        for shard in &mut state.shards {
            shard.refresh(now, gc);
        }
        state.refreshed_at = Instant::now();
    }

    /// Refreshes what the index's own rhythm says. Shards that nobody searches rest, as in the engines: a search wakes
    /// them, and so does a write that waits to become visible.
    pub(crate) fn refresh_if_due(&self, now: u64) {
        let mut state = self.lock();
        let Some(interval) = state.knobs.refresh else {
            return;
        };
        if !state.open || state.refreshed_at.elapsed() < interval {
            return;
        }
        let (gc, may_idle, after) = (
            state.knobs.gc_deletes,
            state.knobs.may_idle,
            state.knobs.idle_after,
        );
        for shard in &mut state.shards {
            let rests = may_idle && shard.is_idle(after) && !shard.is_awaited();
            if shard.wants_refresh() && !rests {
                shard.refresh(now, gc);
            }
        }
        state.refreshed_at = Instant::now();
    }
}

impl State {
    pub(crate) fn shard(&mut self, number: u32) -> ApiResult<&mut Shard> {
        self.shards
            .get_mut(number as usize)
            .ok_or_else(|| ApiError::new(500, "illegal_state_exception", format!("no shard [{number}]")))
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&mut self) -> ApiResult<()> {
        self.log
            .as_mut()
            .map_or(Ok(()), |log| log.sync().map_err(|e| ApiError::storage(&e)))
    }

    /// Does what `?refresh` asks for on one shard; an answer that has to wait gets a promise.
    pub(crate) fn refresh_shard(
        &mut self,
        number: u32,
        policy: RefreshPolicy,
        now: u64,
    ) -> ApiResult<Option<watch::Receiver<u64>>> {
        let gc = self.knobs.gc_deletes;
        let shard = self.shard(number)?;
        match policy {
            RefreshPolicy::None => Ok(None),
            RefreshPolicy::WaitFor => Ok(Some(shard.next_refresh())),
            RefreshPolicy::Now => {
                shard.refresh(now, gc);
                Ok(None)
            }
        }
    }

    /// Puts the settings in place and what is read out of them.
    pub(crate) fn set_settings(&mut self, settings: Flat) {
        self.knobs = Knobs::of(&settings);
        self.settings = settings;
    }

    /// Every shard gets a new primary term, as whenever its primary is assigned anew.
    pub(crate) fn next_term(&mut self) {
        for shard in &mut self.shards {
            shard.term += 1;
        }
    }

    /// Aliases as `_alias` shows them.
    pub(crate) fn alias(&self, name: &str) -> Option<&Value> {
        self.aliases.get(name)
    }

    /// Primary terms by shard.
    pub(crate) fn primary_terms(&self) -> HashMap<String, u64> {
        self.shards
            .iter()
            .enumerate()
            .map(|(n, s)| (n.to_string(), s.term))
            .collect()
    }

    /// The `_shards` of an answer to a write.
    pub(crate) fn copies(&self) -> Value {
        json!({"total": self.knobs.replicas + 1, "successful": 1, "failed": 0})
    }
}

/// Index handles are shared between the cluster's table, requests and points in time.
pub(crate) type SharedIndex = Arc<Index>;
