//! Every call that changes something, made with somebody dying in its middle, and made again.
//!
//! What must hold is the same between embedded clusters and real ones: the answer is a yes, or a no that says who does not answer; the
//! same request again comes to an end; and then everything is as asked, with nothing left that nobody asked for.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, NoAnswer, eventually};
use slipstream_testkit::compare;

use crate::agents::{ALIAS, Agents, LONG, SOON};
use crate::world::{World, pass};

const BASE: &str = "/_plugins/_replication";
/// The leader's index that `_start` is about, and its follower.
const LEAD: &str = "lead";
const FOLLOWER: &str = "f";
/// The leader's indices that the bulk calls and rules are about; their followers have their names.
const MANY: [&str; 3] = ["many-1", "many-2", "many-3"];
const RULED: &str = "logs-1";

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The follower agent, which is asked.
    FollowerAgent,
    /// The leader agent.
    LeaderAgent,
    /// The leader cluster.
    Leader,
    /// The target cluster.
    Target,
}

/// A place to die in: agents between two clusters.
pub trait Stage {
    /// The agents.
    fn agents(&self) -> &Agents;
    /// A client of the leader cluster.
    fn leader(&self) -> Es;
    /// A client of the target cluster.
    fn target(&self) -> Es;
    /// Kills somebody and has him back when it returns.
    fn dies(&mut self, who: Who) -> impl Future<Output = ()>;
}

impl Stage for World {
    fn agents(&self) -> &Agents {
        &self.agents
    }

    fn leader(&self) -> Es {
        self.leader.es.clone()
    }

    fn target(&self) -> Es {
        self.target.es.clone()
    }

    async fn dies(&mut self, who: Who) {
        let engine = match who {
            Who::FollowerAgent => return self.agents.restart_follower(Duration::ZERO).await,
            Who::LeaderAgent => {
                self.agents.leader.kill();
                return self.start_leader().await;
            }
            Who::Leader => &mut self.leader,
            Who::Target => &mut self.target,
        };
        engine.down().await;
        pass(Duration::from_millis(100)).await;
        engine.up().await;
    }
}

/// A call. In this order each finds what the one before has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by what they call")]
pub enum Call {
    Register,
    Start,
    Update,
    Pause,
    Resume,
    Stop,
    BulkStart,
    BulkPause,
    BulkResume,
    BulkStop,
    AddRule,
    RemoveRule,
}

impl Call {
    /// All of them, in their order.
    pub const ALL: [Call; 12] = [
        Call::Register,
        Call::Start,
        Call::Update,
        Call::Pause,
        Call::Resume,
        Call::Stop,
        Call::BulkStart,
        Call::BulkPause,
        Call::BulkResume,
        Call::BulkStop,
        Call::AddRule,
        Call::RemoveRule,
    ];

    /// Method, path and body. An update gives an index another number of replicas than it has.
    fn request(self) -> (&'static str, String, Value) {
        let index = |method, verb: &str, body| (method, format!("{BASE}/{FOLLOWER}/{verb}"), body);
        let many = |verb: &str, body| ("POST", format!("{BASE}/{verb}"), body);
        let pattern = || json!({ "pattern": "many-*" });
        match self {
            // A name that nobody listens under: an alias is registered whether its agents answer or not.
            Call::Register => {
                let body = json!({ "persistent": { "cluster.remote.other.seeds": ["127.0.0.1:9"] } });
                ("PUT", "/_cluster/settings".to_owned(), body)
            }
            Call::Start => index(
                "PUT",
                "_start",
                json!({ "leader_alias": ALIAS, "leader_index": LEAD }),
            ),
            Call::Update => index(
                "PUT",
                "_update",
                json!({ "settings": { "index.number_of_replicas": 2 } }),
            ),
            Call::Pause => index("POST", "_pause", json!({})),
            Call::Resume => index("POST", "_resume", json!({})),
            Call::Stop => index("POST", "_stop", json!({})),
            Call::BulkStart => many(
                "_bulk_start",
                json!({ "leader_alias": ALIAS, "pattern": "many-*" }),
            ),
            Call::BulkPause => many("_bulk_pause", pattern()),
            Call::BulkResume => many("_bulk_resume", pattern()),
            Call::BulkStop => many("_bulk_stop", pattern()),
            Call::AddRule => many(
                "_autofollow",
                json!({ "leader_alias": ALIAS, "name": "rule", "pattern": "logs-*" }),
            ),
            Call::RemoveRule => {
                let body = json!({ "leader_alias": ALIAS, "name": "rule" });
                ("DELETE", format!("{BASE}/_autofollow"), body)
            }
        }
    }

    /// Sends it.
    async fn send(self, gateway: &Es) -> Result<(u16, Value), NoAnswer> {
        let (method, path, body) = self.request();
        let body = Some(("application/json", body.to_string().into_bytes()));
        let (status, answer) = gateway.try_send(method, &path, body).await?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }

    /// A refusal that says that it has been done already.
    fn done_already(self, status: u16, answer: &Value) -> bool {
        let (refusal, words) = match self {
            // These may be made as often as one likes.
            Call::Register | Call::Update | Call::BulkStart | Call::BulkPause | Call::BulkResume => {
                return false;
            }
            Call::Start => (400, "Cant use same index again"),
            Call::Pause => (400, "already paused"),
            Call::Resume => (400, "already running"),
            Call::Stop => (400, "No replication in progress"),
            // Nothing follows any more that it could be for.
            Call::BulkStop => (404, "no index matches"),
            Call::AddRule => (400, "exists already"),
            Call::RemoveRule => (404, "does not exist"),
        };
        let reason = answer["error"]["reason"].as_str().unwrap_or_default();
        status == refusal && reason.contains(words)
    }

    /// Whether it is for many indices.
    pub fn is_bulk(self) -> bool {
        matches!(
            self,
            Call::BulkStart | Call::BulkPause | Call::BulkResume | Call::BulkStop
        )
    }

    /// Makes it again until it has been done, as soon as everybody is back.
    async fn again(self, gateway: &Es, at: &str) {
        eventually(&format!("again: {at}"), LONG, async || {
            let (status, answer) = self.send(gateway).await.map_err(|error| error.to_string())?;
            if self.done_already(status, &answer) {
                return Ok(());
            }
            // A bulk task of before that still runs is the one other thing to wait for.
            let waits = status == 503 || (self.is_bulk() && status == 409);
            assert!(status == 200 || waits, "{at}: {status} {answer}");
            match answer["task_id"].as_str() {
                _ if waits => Err(answer.to_string()),
                None => Ok(()),
                Some(task) => ended(gateway, task).await,
            }
        })
        .await;
    }
}

/// Waits until a bulk task has ended; an error if it failed with an index.
async fn ended(gateway: &Es, task: &str) -> Result<(), String> {
    let path = format!("{BASE}/_task_status/{task}");
    let told = eventually(&format!("[{task}] has ended"), LONG, async || {
        let (_, told) = gateway.get(&path).await;
        if told["completed"] == true {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await;
    if told["num_failed"] == 0 {
        Ok(())
    } else {
        Err(told.to_string())
    }
}

/// Leader indices of ten documents each, for all calls.
pub async fn prepare(leader: &Es) {
    for index in MANY.into_iter().chain([LEAD, RULED]) {
        create(leader, index).await;
    }
}

async fn create(leader: &Es, index: &str) {
    let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "100ms" } });
    let (status, answer) = leader.put(&format!("/{index}"), &settings).await;
    assert_eq!(status, 200, "{answer}");
    for id in 0..10 {
        let (status, answer) = leader
            .put(&format!("/{index}/_doc/{id}"), &json!({ "n": id }))
            .await;
        assert_eq!(status, 201, "{answer}");
    }
}

/// Makes a call, lets somebody die and come back `after` it was sent, makes it again, and looks at what has come of it.
///
/// # Panics
/// If anything is not as it must be.
pub async fn in_the_middle(stage: &mut impl Stage, call: Call, who: Who, after: Duration) {
    let at = format!("{call:?}, {who:?} dies after {after:?}");
    println!("{at}");
    let gateway = stage.agents().gateway.clone();
    let sending = gateway.clone();
    let sent = tokio::spawn(async move { call.send(&sending).await });
    pass(after).await;
    stage.dies(who).await;
    // An answer is a yes, or a no that says whose fault it is; never a crash.
    if let Ok((status, answer)) = sent.await.expect("no panic") {
        assert!([200, 503].contains(&status), "{at}: {status} {answer}");
        if status == 503 {
            assert_eq!(answer["error"]["type"], "replication_exception", "{at}: {answer}");
        }
    }
    call.again(&gateway, &at).await;
    look(stage, call, &at).await;
}

/// Looks at what a call has to have come to, and clears the stage for the next one.
async fn look(stage: &impl Stage, call: Call, at: &str) {
    let (agents, target) = (stage.agents(), stage.target());
    match call {
        Call::Register => {
            let (_, shown) = agents.gateway.get("/_cluster/settings?flat_settings").await;
            let seeds = &shown["persistent"]["cluster.remote.other.seeds"];
            assert_eq!(*seeds, json!(["127.0.0.1:9"]), "{at}: {shown}");
            let forget = json!({ "persistent": { "cluster.remote.other.seeds": null } });
            assert_eq!(
                agents.gateway.put("/_cluster/settings", &forget).await.0,
                200,
                "{at}"
            );
        }
        Call::Start | Call::Resume => equal(stage, LEAD, FOLLOWER, at).await,
        Call::Update => {
            has(&target, FOLLOWER, ("index.number_of_replicas", Some("2")), at).await;
            // The next round updates again.
            let (status, answer) = agents
                .gateway
                .put(&format!("{BASE}/{FOLLOWER}/_update"), &json!({}))
                .await;
            assert_eq!(status, 200, "{at}: {answer}");
            has(&target, FOLLOWER, ("index.number_of_replicas", Some("0")), at).await;
            equal(stage, LEAD, FOLLOWER, at).await;
        }
        Call::Pause => {
            agents.wait_for_status(FOLLOWER, "PAUSED", SOON).await;
        }
        Call::Stop => released(stage, FOLLOWER, at).await,
        Call::BulkStart | Call::BulkResume => {
            for index in MANY {
                equal(stage, index, index, at).await;
            }
        }
        Call::BulkPause => {
            for index in MANY {
                agents.wait_for_status(index, "PAUSED", SOON).await;
            }
        }
        Call::BulkStop => {
            for index in MANY {
                released(stage, index, at).await;
            }
        }
        Call::AddRule => equal(stage, RULED, RULED, at).await,
        Call::RemoveRule => {
            let (_, rules) = agents.gateway.get("/_slipstream/v1/autofollow").await;
            assert_eq!(rules["rules"], json!([]), "{at}");
            agents.command(RULED, "_stop").await;
            released(stage, RULED, at).await;
            // A rule has an index once: for the next one it has to be another.
            let leader = stage.leader();
            assert_eq!(leader.delete(&format!("/{RULED}")).await.0, 200, "{at}");
            create(&leader, RULED).await;
        }
    }
}

/// Waits until an index follows and has all of its leader's.
async fn equal(stage: &impl Stage, leader_index: &str, index: &str, at: &str) {
    let (leader, target) = (stage.leader(), stage.target());
    stage.agents().wait_for_status(index, "SYNCING", LONG).await;
    eventually(
        &format!("[{index}] equals [{leader_index}]: {at}"),
        LONG,
        async || {
            let found = compare::indices(&leader, leader_index, &target, index).await;
            if found.is_empty() {
                Ok(())
            } else {
                Err(found.join("\n"))
            }
        },
    )
    .await;
}

/// Waits until an index does not follow, has nothing of a follower's left on it and takes writes; then deletes it.
async fn released(stage: &impl Stage, index: &str, at: &str) {
    let target = stage.target();
    stage
        .agents()
        .wait_for_status(index, "REPLICATION NOT IN PROGRESS", SOON)
        .await;
    has(&target, index, ("index.gc_deletes", None), at).await;
    let (status, answer) = target
        .put(&format!("/{index}/_doc/mine"), &json!({ "n": -1 }))
        .await;
    assert_eq!(status, 201, "{at}: {answer}");
    assert_eq!(target.delete(&format!("/{index}")).await.0, 200, "{at}");
}

/// Waits until an index of the target has a setting, or has not.
async fn has(target: &Es, index: &str, (name, value): (&str, Option<&str>), at: &str) {
    eventually(
        &format!("[{index}] has {name} {value:?}: {at}"),
        SOON,
        async || {
            let (_, held) = target
                .get(&format!("/{index}/_settings?flat_settings=true"))
                .await;
            let settings = &held[index]["settings"];
            if settings.is_object() && settings.get(name).and_then(Value::as_str) == value {
                Ok(())
            } else {
                Err(held.to_string())
            }
        },
    )
    .await;
}
