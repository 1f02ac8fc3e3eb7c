//! Remembering documents before they are written, for several shards at a time.
//!
//! Each write to the store costs about the same, whatever is in it, most where it has to be synced, and threads of which each waits for
//! the other's cost as much again. So shards that have few operations each remember them in one write ([`crate::together`]).

use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{Op, SeqNo};
use slipstream_store::{Remember, ShardStore, StoreError};

use crate::blocking;
use crate::together::{Limits, Together};

/// More operations than these are a write of their own.
const FEW: usize = 64;
const TOGETHER: Limits = Limits {
    // The store writes one after the other in any case.
    places: 1,
    most: 2_048,
    patience: Duration::from_secs(1),
};

/// Operations whose documents are to be remembered.
#[derive(Debug, Clone)]
struct Note {
    store: ShardStore,
    ops: Arc<Vec<Op>>,
    /// Whether one that is known at a higher sequence number stays there.
    newer: bool,
}

/// Where each document was known before.
type Before = Vec<Option<SeqNo>>;

/// Remembers for all shards.
#[derive(Debug)]
pub(crate) struct Scribe {
    /// What a write was refused for, each is told by its own.
    together: Together<Note, Before, ()>,
}

impl Scribe {
    pub(crate) fn new() -> Self {
        Scribe {
            together: Together::new(TOGETHER),
        }
    }

    /// Remembers the operations' documents, as durably as [`ShardStore::remember_all`]; where each was known before.
    pub(super) async fn remember(
        &self,
        store: &ShardStore,
        ops: &Arc<Vec<Op>>,
        newer: bool,
    ) -> Result<Before, StoreError> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        let note = Note {
            store: store.clone(),
            ops: Arc::clone(ops),
            newer,
        };
        if ops.len() <= FEW {
            let carry = async |notes: Vec<Note>| blocking(move || write(&notes)).await.map_err(drop);
            if let Some(Ok(before)) = self.together.send(note.clone(), ops.len(), carry).await {
                return Ok(before);
            }
        }
        // To remember the same again changes nothing.
        let before = blocking(move || write(&[note])).await?;
        Ok(before.into_iter().next().unwrap_or_default())
    }
}

fn write(notes: &[Note]) -> Result<Vec<Before>, StoreError> {
    let docs: Vec<Vec<_>> = notes
        .iter()
        .map(|note| note.ops.iter().map(|op| (op.seq_no, &op.doc)).collect())
        .collect();
    let parts: Vec<_> = notes
        .iter()
        .zip(&docs)
        .map(|(note, docs)| Remember {
            shard: &note.store,
            docs,
            newer: note.newer,
        })
        .collect();
    ShardStore::remember_all(&parts)
}
