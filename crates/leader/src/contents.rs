//! What a shard holds, for followers that want to know whether they are equal. Few shards are read at once, however many
//! followers ask (I8); a caller that goes away ends its reading.

use std::collections::HashSet;

use bytes::Bytes;
use slipstream_cluster::{ClusterError, Digests, Fingerprint, IndexState};
use slipstream_model::{Change, GlobalCheckpoint, IndexName, Op, ShardId};
use slipstream_wire::{encode_batch, v1};
use tonic::{Request, Response, Status};

use crate::authorise::Caller;
use crate::server::Agent;
use crate::{cause, frames};

/// Documents in one list at most.
const MOST: usize = 20_000;
/// Bytes of documents in one answer at most, unless the first alone is larger.
const MOST_BYTES: usize = 16 << 20;

/// Reads shards from one end to the other.
pub(crate) struct ContentsService(pub(crate) Agent);

impl ContentsService {
    async fn read(
        &self,
        caller: &Caller,
        of: v1::DigestRequest,
        take: impl FnMut(Fingerprint),
    ) -> Result<GlobalCheckpoint, Status> {
        let (index, shard) = (self.index(caller, &of).await?, ShardId(of.shard));
        self.in_turn(self.0.watch.cluster().fingerprints(&index, shard, take))
            .await
    }

    /// The index that is meant, if the caller may read it and it is still that one.
    async fn index(&self, caller: &Caller, of: &v1::DigestRequest) -> Result<IndexName, Status> {
        let index = IndexName::from(of.index.as_str());
        self.0.access.check(caller, &index)?;
        self.state(&index, of).await?;
        Ok(index)
    }

    async fn state(&self, index: &IndexName, of: &v1::DigestRequest) -> Result<IndexState, Status> {
        let state = self.0.watch.cluster().index_state(index).await;
        let state = state.map_err(|e| cause::of_cluster(&e))?;
        state
            .filter(|state| state.uuid.as_str() == of.index_uuid)
            .ok_or_else(|| {
                Status::failed_precondition(format!(
                    "the leader index [{index}] was deleted, or is another one by now"
                ))
            })
    }

    async fn in_turn<T>(&self, reading: impl Future<Output = Result<T, ClusterError>>) -> Result<T, Status> {
        let read = async {
            // The semaphore is never closed.
            let _turn = self.0.readings.acquire().await;
            reading.await
        };
        tokio::select! {
            read = read => read.map_err(|e| cause::of_cluster(&e)),
            () = self.0.shutdown.cancelled() => Err(Status::unavailable("the leader agent is ending")),
        }
    }
}

#[tonic::async_trait]
impl v1::contents_server::Contents for ContentsService {
    async fn digest(&self, request: Request<v1::DigestRequest>) -> Result<Response<v1::DigestReply>, Status> {
        let caller = Caller::of(&request)?;
        let mut digests = Digests::default();
        let global = self
            .read(&caller, request.into_inner(), |document| digests.add(&document))
            .await?;
        Ok(Response::new(v1::DigestReply {
            buckets: digests.to_bytes().into(),
            global_checkpoint: global.0.get(),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::FingerprintsRequest>,
    ) -> Result<Response<v1::FingerprintsReply>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let of = request
            .of
            .ok_or_else(|| Status::invalid_argument("the request names no shard"))?;
        let buckets: HashSet<usize> = request.buckets.iter().map(|bucket| *bucket as usize).collect();
        let mut documents = Vec::new();
        self.read(&caller, of, |document| {
            if documents.len() < MOST && buckets.contains(&document.bucket()) {
                documents.push(v1::Fingerprint {
                    id: document.doc.id,
                    routing: document.doc.routing,
                    version: document.version.0,
                    digest: document.digest.to_be_bytes().to_vec().into(),
                });
            }
        })
        .await?;
        Ok(Response::new(v1::FingerprintsReply { documents }))
    }

    async fn documents(
        &self,
        request: Request<v1::DocumentsRequest>,
    ) -> Result<Response<v1::DocumentsReply>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let of = request
            .of
            .ok_or_else(|| Status::invalid_argument("the request names no shard"))?;
        let ids: HashSet<String> = request.ids.into_iter().collect();
        let index = self.index(&caller, &of).await?;
        let (mut ops, mut bytes, mut more) = (Vec::new(), 0, false);
        let take = |op: &Op| {
            if !ids.contains(&op.doc.id) {
                return;
            }
            if bytes > 0 && bytes + op.weight() > MOST_BYTES {
                more = true;
                return;
            }
            bytes += op.weight();
            ops.push(of_its_own(op));
        };
        let cluster = self.0.watch.cluster();
        let history = self
            .in_turn(cluster.acknowledged_documents(&index, ShardId(of.shard), take))
            .await?;
        // Asked after the documents were read: what they needed is in it.
        let versions = frames::versions(self.state(&index, &of).await?.versions);
        let batch = encode_batch(&ops, versions).map_err(|error| cause::of_batch(&error))?;
        Ok(Response::new(v1::DocumentsReply {
            batch: Some(batch),
            history_uuid: history.to_string(),
            more,
        }))
    }
}

/// An operation that does not keep the whole page in memory that it was read with.
fn of_its_own(op: &Op) -> Op {
    let mut op = op.clone();
    if let Change::Index { source } = &mut op.change {
        *source = Bytes::copy_from_slice(source);
    }
    op
}
