//! The eight steps. Each says what is done, does it as a user would, and looks whether it came out.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::{Value, json};

use super::rest::{Document, Rest};
use super::world::{FOLLOWER, World};
use crate::failure::Failure;
use crate::output::data;

/// How long a change may take to arrive before the demo has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);
/// How long it looks whether a change does *not* arrive: several refreshes of both sides.
const SILENCE: Duration = Duration::from_secs(3);

const LEADER_INDEX: &str = "leader-01";
const FOLLOWER_INDEX: &str = "follower-01";

/// The three addresses of the walk.
struct Walk {
    leader: Rest,
    follower: Rest,
    gateway: Rest,
}

/// Walks through all steps.
pub(super) async fn through(world: &World) -> Result<(), Failure> {
    let walk = Walk::new(world)?;
    step(1, "Two clusters, and an agent beside each");
    walk.meet(world).await?;
    step(2, "The follower's gateway learns where the leader agent is");
    let seeds =
        json!({"persistent": {"cluster": {"remote": {"leader-cluster": {"seeds": [world.leader_agent]}}}}});
    walk.show(&walk.gateway, Method::PUT, "/_cluster/settings", Some(&seeds))
        .await?;
    step(3, "An index on the leader cluster");
    walk.fill().await?;
    step(4, "Replication starts");
    walk.start().await?;
    step(
        5,
        "The leader changes: one document is updated, one is new, one is deleted",
    );
    let changed = walk.change().await?;
    step(6, "The follower has the same documents, versions included");
    walk.compare(changed).await?;
    step(7, "Writes to the following index are refused");
    walk.refuse().await?;
    step(
        8,
        "Replication stops: the index takes writes, and the leader's changes no longer arrive",
    );
    walk.stop().await
}

/// Lets another index follow, for whoever wants to try.
pub(super) async fn again(world: &World) -> Result<(), Failure> {
    let walk = Walk::new(world)?;
    let body = json!({"leader_alias": "leader-cluster", "leader_index": LEADER_INDEX});
    let path = "/_plugins/_replication/live-01/_start?wait_for_restore=true";
    walk.gateway.call(Method::PUT, path, Some(&body)).await.map(drop)
}

impl Walk {
    fn new(world: &World) -> Result<Walk, Failure> {
        Ok(Walk {
            leader: Rest::at(&world.leader.url())?,
            follower: Rest::at(&world.follower.url())?,
            gateway: Rest::at(&world.gateway)?,
        })
    }

    /// Does a request and says so.
    async fn show(
        &self,
        whom: &Rest,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let name = self.name(whom);
        let shown = body.map_or_else(String::new, |body| format!(" {body}"));
        data(&format!("   {name:<8} ← {method} {path}{shown}"));
        whom.call(method, path, body).await
    }

    fn name(&self, whom: &Rest) -> &'static str {
        if std::ptr::eq(whom, &raw const self.gateway) {
            "gateway"
        } else if std::ptr::eq(whom, &raw const self.leader) {
            "leader"
        } else {
            "follower"
        }
    }

    async fn meet(&self, world: &World) -> Result<(), Failure> {
        for (rest, url) in [
            (&self.leader, world.leader.url()),
            (&self.follower, world.follower.url()),
        ] {
            let about = rest.call(Method::GET, "/", None).await?;
            let engine = about["version"]["distribution"]
                .as_str()
                .unwrap_or("elasticsearch");
            let version = about["version"]["number"].as_str().unwrap_or_default();
            data(&format!(
                "   {:<8} cluster  {url}  (embedded, speaks {engine} {version})",
                self.name(rest)
            ));
        }
        data(&format!(
            "   leader   agent    {}  (gRPC over TLS 1.3, both sides with certificates)",
            world.leader_agent
        ));
        data(&format!(
            "   follower agent    known to it as `{FOLLOWER}`, may read `leader-*`"
        ));
        data(&format!("   gateway           {}", world.gateway));
        Ok(())
    }

    async fn fill(&self) -> Result<(), Failure> {
        let settings = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}});
        self.show(
            &self.leader,
            Method::PUT,
            &format!("/{LEADER_INDEX}"),
            Some(&settings),
        )
        .await?;
        for (id, value) in [("1", "data1"), ("3", "data3")] {
            let path = format!("/{LEADER_INDEX}/_doc/{id}");
            self.show(&self.leader, Method::PUT, &path, Some(&json!({"value": value})))
                .await?;
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let body = json!({"remote_cluster": "leader-cluster", "remote_index": LEADER_INDEX});
        let path = format!("/_opendistro/_replication/{FOLLOWER_INDEX}/_start");
        let answer = self.show(&self.gateway, Method::PUT, &path, Some(&body)).await?;
        if answer["acknowledged"] != true {
            return Err(Failure::failed(format!(
                "the start was not acknowledged: {answer}"
            )));
        }
        data(&format!("   acknowledged after {}", took(began)));
        self.until("the index to be copied", async || {
            Ok(self.status().await?["status"] == "SYNCING")
        })
        .await?;
        let found = self.arrival(2).await?;
        data(&format!(
            "   copied and readable after {}: {} documents",
            took(began),
            found.len()
        ));
        Ok(())
    }

    /// Makes the changes, and says when the last was acknowledged.
    async fn change(&self) -> Result<Instant, Failure> {
        for (id, value) in [("1", "data1-modified"), ("2", "data2")] {
            let path = format!("/{LEADER_INDEX}/_doc/{id}");
            self.show(&self.leader, Method::PUT, &path, Some(&json!({"value": value})))
                .await?;
        }
        self.show(
            &self.leader,
            Method::DELETE,
            &format!("/{LEADER_INDEX}/_doc/3"),
            None,
        )
        .await?;
        Ok(Instant::now())
    }

    async fn compare(&self, changed: Instant) -> Result<(), Failure> {
        let expected = [("1", 2, "data1-modified"), ("2", 1, "data2")].map(|(id, version, value)| Document {
            id: id.to_owned(),
            version,
            source: json!({"value": value}),
        });
        self.until("the changes to arrive", async || {
            Ok(self.follower.documents(FOLLOWER_INDEX).await? == expected)
        })
        .await?;
        data(&format!(
            "   readable on the follower {} after the leader acknowledged the last one",
            took(changed)
        ));
        let (theirs, ours) = (
            self.leader.documents(LEADER_INDEX).await?,
            self.follower.documents(FOLLOWER_INDEX).await?,
        );
        data(&format!("   {LEADER_INDEX:<48} {FOLLOWER_INDEX}"));
        for (their, our) in theirs.iter().zip(&ours) {
            data(&format!("   {:<48} {}", line(their), line(our)));
        }
        if theirs != ours {
            return Err(Failure::failed(format!(
                "the two sides differ: {theirs:?} and {ours:?}"
            )));
        }
        let cat = self
            .follower
            .call(Method::GET, "/_cat/indices?format=json", None)
            .await?;
        let row = cat
            .as_array()
            .into_iter()
            .flatten()
            .find(|row| row["index"] == FOLLOWER_INDEX);
        if row.is_none_or(|row| row["docs.count"] != "2") {
            return Err(Failure::failed(format!(
                "_cat/indices shows something else: {cat}"
            )));
        }
        let details = self.status().await?["syncing_details"].clone();
        data(&format!(
            "   checkpoints: leader {}, follower {}",
            details["leader_checkpoint"], details["follower_checkpoint"]
        ));
        Ok(())
    }

    async fn refuse(&self) -> Result<(), Failure> {
        let path = format!("/{FOLLOWER_INDEX}/_doc/9");
        data(&format!("   gateway  ← PUT {path}"));
        let (status, answer) = self
            .gateway
            .ask(Method::PUT, &path, Some(&json!({"value": "mine"})))
            .await?;
        data(&format!(
            "   {status}: {}",
            answer["error"]["reason"].as_str().unwrap_or("no reason given")
        ));
        if status == 403 {
            Ok(())
        } else {
            Err(Failure::failed(format!("expected 403, got {status}: {answer}")))
        }
    }

    async fn stop(&self) -> Result<(), Failure> {
        let path = format!("/_opendistro/_replication/{FOLLOWER_INDEX}/_stop");
        self.show(&self.gateway, Method::POST, &path, Some(&json!({})))
            .await?;
        let (own, later) = (json!({"value": "mine"}), json!({"value": "too late"}));
        self.show(
            &self.gateway,
            Method::PUT,
            &format!("/{FOLLOWER_INDEX}/_doc/9?refresh=true"),
            Some(&own),
        )
        .await?;
        self.show(
            &self.leader,
            Method::PUT,
            &format!("/{LEADER_INDEX}/_doc/2?refresh=true"),
            Some(&later),
        )
        .await?;
        let waiting = spinner("watching that nothing arrives");
        tokio::time::sleep(SILENCE).await;
        waiting.finish_and_clear();
        let now = self.follower.documents(FOLLOWER_INDEX).await?;
        let values: Vec<&Value> = now.iter().map(|document| &document.source["value"]).collect();
        if values != [&json!("data1-modified"), &json!("data2"), &json!("mine")] {
            return Err(Failure::failed(format!(
                "the stopped index is not as it was left: {now:?}"
            )));
        }
        let status = self.status().await?;
        data(&format!(
            "   {:.0} s later the follower still has its own three documents; status: {}",
            SILENCE.as_secs_f64(),
            status["status"].as_str().unwrap_or_default()
        ));
        Ok(())
    }

    async fn status(&self) -> Result<Value, Failure> {
        let path = format!("/_opendistro/_replication/{FOLLOWER_INDEX}/_status");
        let status = self.gateway.call(Method::GET, &path, None).await?;
        match status["status"].as_str() {
            Some(word @ ("FAILED" | "PAUSED")) => Err(Failure::failed(format!(
                "{FOLLOWER_INDEX} is {word}: {}",
                status["reason"]
            ))),
            _ => Ok(status),
        }
    }

    /// Waits until the follower shows this many documents.
    async fn arrival(&self, count: usize) -> Result<Vec<Document>, Failure> {
        self.until("the documents to be readable", async || {
            Ok(self.follower.documents(FOLLOWER_INDEX).await?.len() == count)
        })
        .await?;
        self.follower.documents(FOLLOWER_INDEX).await
    }

    /// Looks again and again, but not forever.
    async fn until(
        &self,
        what: &str,
        mut holds: impl AsyncFnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let waiting = spinner(&format!("waiting for {what}"));
        let deadline = Instant::now() + PATIENCE;
        while !holds().await? {
            if Instant::now() > deadline {
                let status = self.status().await?;
                return Err(Failure::failed(format!(
                    "waited {} s in vain for {what}; status: {status}",
                    PATIENCE.as_secs()
                )));
            }
            waiting.tick();
            tokio::time::sleep(LOOK).await;
        }
        waiting.finish_and_clear();
        Ok(())
    }
}

fn step(number: u8, title: &str) {
    data(&format!("\n{number}. {title}"));
}

fn took(since: Instant) -> String {
    format!("{} ms", since.elapsed().as_millis())
}

fn line(document: &Document) -> String {
    format!(
        "{}  version {}  {}",
        document.id, document.version, document.source
    )
}

/// Shows on a terminal that something is being waited for.
fn spinner(what: &str) -> ProgressBar {
    ProgressBar::new_spinner().with_message(what.to_owned())
}
