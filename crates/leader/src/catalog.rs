//! What the leader cluster holds, as far as the caller may see it.

use std::time::Duration;

use serde_json::Value;
use slipstream_cluster::{IndexCopies, IndexDescription};
use slipstream_model::settings::Settings;
use slipstream_model::{ClusterUuid, IndexName};
use slipstream_wire::v1;
use tonic::{Request, Response, Status};

use crate::authorise::Caller;
use crate::frames;
use crate::server::Agent;
use crate::{cause, exactness};

/// How old the leader's word may be that nothing has changed: followers that look for new indices ask twice a second,
/// each for each of its rules, and share what is asked of the cluster for them.
const LIST_AGE: Duration = Duration::from_millis(250);

/// Answers questions about indices.
pub(crate) struct CatalogService(pub(crate) Agent);

#[tonic::async_trait]
impl v1::catalog_server::Catalog for CatalogService {
    async fn describe(
        &self,
        request: Request<v1::DescribeRequest>,
    ) -> Result<Response<v1::IndexDescription>, Status> {
        let caller = Caller::of(&request)?;
        let index = IndexName::new(request.into_inner().index);
        self.0.access.check(&caller, &index)?;
        let cluster = self.0.watch.cluster();
        let uuid = cluster
            .identity()
            .await
            .map_err(|e| cause::of_cluster(&e))?
            .uuid
            .clone();
        let found = cluster
            .describe(&index)
            .await
            .map_err(|e| cause::of_cluster(&e))?;
        let found = found.ok_or_else(|| {
            cause::no_such_index(format!(
                "the leader cluster has no index [{index}]; an alias or a pattern is not one"
            ))
        })?;
        description(&index, &uuid, &found).map(Response::new)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let watch = &self.0.watch;
        // Both before the names are asked for: they are at least as new.
        let edition = self.0.access.edition();
        let version = watch.state_version_within(LIST_AGE).await;
        let version = version.map_err(|e| cause::of_cluster(&e))?.wrapping_add(edition);
        if request.known_version == version {
            return Ok(Response::new(v1::ListReply {
                indices: Vec::new(),
                version,
                unchanged: true,
            }));
        }
        let names = watch.cluster().index_names(&request.pattern).await;
        let names = names.map_err(|e| cause::of_cluster(&e))?;
        let indices = names
            .into_iter()
            .filter(|(name, _, _)| self.0.access.allows(&caller, name.as_str()))
            .map(|(name, uuid, open)| v1::list_reply::Entry {
                index: name.to_string(),
                index_uuid: uuid.to_string(),
                state: state(open).to_owned(),
            })
            .collect();
        Ok(Response::new(v1::ListReply {
            indices,
            version,
            unchanged: false,
        }))
    }

    async fn locate(&self, request: Request<v1::LocateRequest>) -> Result<Response<v1::Placement>, Status> {
        let caller = Caller::of(&request)?;
        let index = IndexName::new(request.into_inner().index);
        self.0.access.check(&caller, &index)?;
        let copies = self.0.watch.cluster().shard_copies(&index).await;
        let copies = copies.map_err(|e| cause::of_cluster(&e))?;
        let copies = copies.ok_or_else(|| {
            Status::not_found(format!(
                "the leader cluster has no copy of an index [{index}]: it is missing, closed, or assigned nowhere"
            ))
        })?;
        Ok(Response::new(placement(copies)))
    }
}

fn placement(copies: IndexCopies) -> v1::Placement {
    let shards = copies.shards.into_iter().filter(|(_, copies)| !copies.is_empty());
    let shards = shards.map(|(shard, copies)| v1::placement::Shard {
        shard: shard.0,
        copies: copies
            .into_iter()
            .map(|copy| v1::placement::Copy {
                node_id: copy.node,
                primary: copy.primary,
            })
            .collect(),
    });
    v1::Placement {
        index_uuid: copies.uuid.to_string(),
        shards: shards.collect(),
    }
}

fn description(
    index: &IndexName,
    cluster: &ClusterUuid,
    found: &IndexDescription,
) -> Result<v1::IndexDescription, Status> {
    let unreadable = |what: &str, error: &serde_json::Error| {
        Status::internal(format!(
            "the {what} of the leader index [{index}] cannot be passed on: {error}"
        ))
    };
    let mapping: Value = serde_json::from_str(found.mapping.get()).map_err(|e| unreadable("mapping", &e))?;
    let settings: &Settings = &found.settings;
    Ok(v1::IndexDescription {
        index: index.to_string(),
        index_uuid: found.state.uuid.to_string(),
        cluster_uuid: cluster.to_string(),
        shards: found.state.shards,
        routing_shards: found.state.routing_shards,
        state: state(found.state.open).to_owned(),
        unsupported: exactness::obstacle(&mapping, settings)
            .unwrap_or_default()
            .to_owned(),
        versions: Some(frames::versions(found.state.versions)),
        mapping_json: found.mapping.get().as_bytes().to_vec().into(),
        settings_json: serde_json::to_vec(settings)
            .map_err(|e| unreadable("settings", &e))?
            .into(),
        aliases_json: serde_json::to_vec(&found.aliases)
            .map_err(|e| unreadable("aliases", &e))?
            .into(),
    })
}

const fn state(open: bool) -> &'static str {
    if open { "open" } else { "close" }
}
