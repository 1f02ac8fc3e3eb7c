//! The surface as a caller sees it: requests go through the router, to an agent and a target that only take notes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use slipstream_follower::{
    CertificateStatus, ControlError, FailedIndex, IndexStatus, LagHistory, Leaders, ManyRequest, ManyStatus,
    RuleRequest, RuleStatus, ShardStatus, StartRequest, Surroundings, TargetStatus, Trend, VerifyStatus,
};
use slipstream_model::readiness::Component;
use slipstream_model::settings::Settings;
use slipstream_model::{IndexName, Phase, Reason};
use tower::ServiceExt;

use super::*;

/// An agent in which `f1` follows `leader-01`.
struct Fake {
    leaders: Mutex<Leaders>,
    switches: Mutex<BTreeMap<String, String>>,
    notes: Arc<Mutex<Vec<String>>>,
    phase: Phase,
}

fn following(phase: Phase) -> IndexStatus {
    let shard = ShardStatus {
        shard: 0,
        leader_checkpoint: 0,
        follower_checkpoint: 0,
        scanned: 0,
        bootstrap_through: None,
        reader: Some("window".to_owned()),
        lag_seconds: 0.0,
        operations_read: 1,
        operations_read_translog: 0,
        operations_written: 1,
        bytes_read: 10,
        failed_reads: 0,
        retries: 0,
        throttled: 0,
        write_millis: 0,
    };
    IndexStatus {
        follower_index: "f1".into(),
        leader_alias: "conn1".to_owned(),
        leader_index: "leader-01".into(),
        phase,
        reason: Reason::new(""),
        waiting_for: None,
        files: None,
        begun_with: Some("documents: they were asked for".to_owned()),
        started_at_millis: 1,
        shards: vec![shard],
        warnings: Vec::new(),
    }
}

impl Fake {
    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }

    fn known(index: &IndexName) -> Result<(), ControlError> {
        if index.as_str() == "f1" {
            Ok(())
        } else {
            Err(ControlError::NotReplicating(index.clone()))
        }
    }
}

#[async_trait]
impl Control for Fake {
    async fn start(&self, request: StartRequest) -> Result<(), ControlError> {
        if !self.leaders.lock().unwrap().contains_key(&request.leader_alias) {
            return Err(ControlError::NoSuchLeader(request.leader_alias));
        }
        if request.follower_index.as_str() == "f1" {
            return Err(ControlError::FollowerExists(request.follower_index));
        }
        if request.leader_index.as_str() == "missing" {
            return Err(ControlError::NoSuchLeaderIndex(request.leader_index));
        }
        self.note(format!(
            "start {} from {}:{} with {:?}",
            request.follower_index, request.leader_alias, request.leader_index, request.overrides
        ));
        Ok(())
    }

    async fn stop(&self, index: &IndexName) -> Result<(), ControlError> {
        Fake::known(index)?;
        self.note(format!("stop {index}"));
        Ok(())
    }

    async fn pause(&self, index: &IndexName, reason: Option<String>) -> Result<(), ControlError> {
        Fake::known(index)?;
        self.note(format!("pause {index} for {reason:?}"));
        Ok(())
    }

    async fn resume(&self, index: &IndexName) -> Result<(), ControlError> {
        Fake::known(index)?;
        Err(ControlError::AlreadyRunning(index.clone()))
    }

    async fn update(&self, index: &IndexName, overrides: Settings) -> Result<(), ControlError> {
        Fake::known(index)?;
        self.note(format!("update {index} with {overrides:?}"));
        Ok(())
    }

    async fn many(&self, request: ManyRequest) -> Result<u64, ControlError> {
        match request.pattern.as_str() {
            "busy-*" => return Err(ControlError::TaskRunning(6)),
            "none-*" => return Err(ControlError::NothingMatches("none-*".to_owned())),
            _ => {}
        }
        self.note(format!(
            "{} {} without {:?}",
            request.operation.word(),
            request.pattern.as_str(),
            request
                .exclude
                .iter()
                .map(slipstream_model::Pattern::as_str)
                .collect::<Vec<_>>()
        ));
        Ok(7)
    }

    fn many_status(&self, id: u64) -> Option<ManyStatus> {
        (id == 7).then(|| ManyStatus {
            id,
            operation: "STOP",
            pattern: "logs-*".to_owned(),
            started_at_millis: 1,
            succeeded: 2,
            pending: 1,
            cancelled: 0,
            failed_indices: vec![FailedIndex {
                index: "logs-3".into(),
                reason: "no".to_owned(),
            }],
            ended: false,
        })
    }

    fn cancel_many(&self, id: u64) -> Result<(), ControlError> {
        if id != 7 {
            return Err(ControlError::NoSuchTask(id));
        }
        self.note("cancel 7".to_owned());
        Ok(())
    }

    fn id(&self) -> String {
        "agent".to_owned()
    }

    async fn add_rule(&self, request: RuleRequest) -> Result<(), ControlError> {
        if !self.leaders.lock().unwrap().contains_key(&request.leader_alias) {
            return Err(ControlError::NoSuchLeader(request.leader_alias));
        }
        if request.name == "known" {
            return Err(ControlError::RuleExists {
                alias: request.leader_alias,
                name: request.name,
            });
        }
        self.note(format!(
            "follow {} of {} by {}",
            request.pattern.as_str(),
            request.leader_alias,
            request.name
        ));
        Ok(())
    }

    async fn remove_rule(&self, leader_alias: &str, name: &str) -> Result<(), ControlError> {
        if name != "known" {
            return Err(ControlError::NoSuchRule {
                alias: leader_alias.to_owned(),
                name: name.to_owned(),
            });
        }
        self.note(format!("end rule {name} of {leader_alias}"));
        Ok(())
    }

    fn rules(&self) -> Vec<RuleStatus> {
        Vec::new()
    }

    async fn set_switches(&self, switches: Vec<(String, Option<String>)>) -> Result<(), ControlError> {
        let mut kept = self.switches.lock().unwrap();
        for (name, value) in switches {
            match value {
                Some(value) => kept.insert(name, value),
                None => kept.remove(&name),
            };
        }
        Ok(())
    }

    fn switches(&self) -> BTreeMap<String, String> {
        self.switches.lock().unwrap().clone()
    }

    fn verify(&self, index: &IndexName, repair: bool) -> Result<(), ControlError> {
        Fake::known(index)?;
        self.note(format!("verify {index} repair={repair}"));
        Ok(())
    }

    fn verified(&self, _: &IndexName) -> Option<VerifyStatus> {
        None
    }

    fn status(&self, index: &IndexName) -> Option<IndexStatus> {
        // What a start of these comes to.
        match index.as_str() {
            "f1" => Some(following(self.phase)),
            "copied" => Some(following(Phase::Syncing)),
            "copies-on" => Some(following(Phase::Bootstrapping)),
            "fails" => Some(following(Phase::Failed)),
            _ => None,
        }
    }

    fn list(&self) -> Vec<IndexStatus> {
        vec![following(self.phase)]
    }

    async fn register_leader(&self, alias: &str, agents: Vec<String>) -> Result<(), ControlError> {
        self.leaders.lock().unwrap().insert(alias.to_owned(), agents);
        Ok(())
    }

    async fn remove_leader(&self, alias: &str) -> Result<(), ControlError> {
        match self.leaders.lock().unwrap().remove(alias) {
            Some(_) => Ok(()),
            None => Err(ControlError::NoSuchLeader(alias.to_owned())),
        }
    }

    fn leaders(&self) -> Leaders {
        self.leaders.lock().unwrap().clone()
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            target: TargetStatus {
                url: "http://127.0.0.1:2".to_owned(),
                cluster: None,
                health: None,
                nodes: None,
                error: None,
                asked_at_millis: None,
            },
            leaders: Vec::new(),
            certificate: CertificateStatus {
                names: vec!["follower.test".to_owned()],
                expires_at_millis: 1,
            },
            looking: false,
        }
    }

    fn lag(&self, _: Option<&IndexName>) -> LagHistory {
        LagHistory {
            every_seconds: 5,
            samples: 360,
            lag_seconds: vec![None, Some(0.5)],
            lag_operations: vec![None, Some(3.0)],
            operations_per_second: vec![None, None],
        }
    }

    fn trend(&self, _: &IndexName) -> Trend {
        Trend::default()
    }

    async fn components(&self) -> Vec<Component> {
        vec![
            Component::needed("target", Ok(())),
            Component::shown("leader conn1", Err("does not answer".to_owned())),
        ]
    }
}

/// A gateway in front of the fake agent, and what the agent was told.
struct Bench {
    router: axum::Router,
    notes: Arc<Mutex<Vec<String>>>,
    shutdown: CancellationToken,
}

impl Bench {
    fn new(proxy: Option<Proxy>) -> Bench {
        Bench::with(proxy, Access::of_this_host())
    }

    fn with(proxy: Option<Proxy>, access: Access) -> Bench {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let leaders = Mutex::new(Leaders::from([(
            "conn1".to_owned(),
            vec!["127.0.0.1:1".to_owned()],
        )]));
        let control = Arc::new(Fake {
            leaders,
            switches: Mutex::default(),
            notes: Arc::clone(&notes),
            phase: Phase::Syncing,
        });
        let shutdown = CancellationToken::new();
        let gateway = Gateway {
            control,
            proxy,
            access,
            metrics: Arc::new(|| "slipstream_up 1\n".to_owned()),
            shutdown: shutdown.clone(),
        };
        Bench {
            router: routes::router(Arc::new(gateway)),
            notes,
            shutdown,
        }
    }

    /// Sends a request; whatever comes must stand in the OpenAPI document.
    async fn answer(&self, request: Request<Body>) -> Response {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        openapi::knows(&method, &path, response.status());
        response
    }

    async fn raw(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.answer(request).await;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn send(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::AUTHORIZATION, "Basic caller");
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()));
        let (status, body) = self.raw(request.unwrap()).await;
        (
            status.as_u16(),
            serde_json::from_str(&body).unwrap_or(Value::String(body)),
        )
    }

    /// Status and reason of a refusal.
    async fn refused(&self, method: &str, uri: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.send(method, uri, body).await;
        let error = &answer["error"];
        (
            status,
            error["reason"]
                .as_str()
                .or(error.as_str())
                .unwrap_or_default()
                .to_owned(),
        )
    }

    fn notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }
}

mod access;
mod bulk_calls;
mod fidelity;
mod mistakes;
mod openapi;
mod passing;
mod surface;

#[tokio::test]
async fn serving_ends_when_told_to() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = CancellationToken::new();
    let control = Fake {
        leaders: Mutex::default(),
        switches: Mutex::default(),
        notes: Arc::default(),
        phase: Phase::Syncing,
    };
    let server = tokio::spawn(serve(
        listener,
        control,
        GatewayConfig {
            proxy: None,
            access: Access::of_this_host(),
            tls: None,
        },
        Arc::new(String::new),
        shutdown.clone(),
    ));
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), server)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
