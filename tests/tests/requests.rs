//! The replication calls where things are not quiet: many indices at once, two requests at the same moment, an agent or a
//! cluster that dies in the middle, a leader index that is deleted.
//!
//! Two embedded clusters, real servers where deaths are concerned, and real agent processes. After each trouble the same request is made
//! again, and has to do the right thing.

#[path = "requests/deaths.rs"]
mod deaths;
#[path = "requests/deletion.rs"]
mod deletion;
#[path = "requests/many.rs"]
mod many;
#[path = "requests/states.rs"]
mod states;
#[path = "requests/twice.rs"]
mod twice;

use serde_json::json;
use slipstream_tests::world::World;

const BASE: &str = "/_plugins/_replication";

/// Leader indices of ten documents each.
async fn create(world: &World, names: &[&str]) {
    for name in names {
        world.create(name, json!({}), json!({})).await;
        world.leader.write(name, 0..10).await;
    }
}
