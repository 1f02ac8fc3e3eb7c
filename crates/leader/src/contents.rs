//! What a shard holds, for followers that want to know whether they are equal. Few shards are read at once, however many
//! followers ask (I8); a caller that goes away ends its reading.

use std::collections::HashSet;

use slipstream_cluster::{Digests, Fingerprint};
use slipstream_model::{GlobalCheckpoint, IndexName, ShardId};
use slipstream_wire::v1;
use tonic::{Request, Response, Status};

use crate::authorise::Caller;
use crate::cause;
use crate::server::Agent;

/// Documents in one list at most.
const MOST: usize = 20_000;

/// Reads shards from one end to the other.
pub(crate) struct ContentsService(pub(crate) Agent);

impl ContentsService {
    async fn read(
        &self,
        caller: &Caller,
        of: v1::DigestRequest,
        take: impl FnMut(Fingerprint),
    ) -> Result<GlobalCheckpoint, Status> {
        let index = IndexName::new(of.index);
        self.0.access.check(caller, &index)?;
        let cluster = self.0.watch.cluster();
        let state = cluster
            .index_state(&index)
            .await
            .map_err(|e| cause::of_cluster(&e))?;
        if state.is_none_or(|state| state.uuid.as_str() != of.index_uuid) {
            return Err(Status::failed_precondition(format!(
                "the leader index [{index}] was deleted, or is another one by now"
            )));
        }
        let read = async {
            // The semaphore is never closed.
            let _turn = self.0.readings.acquire().await;
            cluster.fingerprints(&index, ShardId(of.shard), take).await
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
}
