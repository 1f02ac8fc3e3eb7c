//! `slipstream verify --repair` on real servers: what somebody did to the target behind the gateway's back is put right
//! while the leader is written to at full speed, and nothing that arrives meanwhile is undone.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, escape, eventually};
use slipstream_testkit::servers::Release;
use slipstream_testkit::workload::{StormIndex, Workload};
use slipstream_tests::agents::{Agents, LONG, Options, SOON, binary};
use slipstream_tests::real::Pair;
use slipstream_tests::world::World;
use tokio::time::sleep;

/// Runs `slipstream verify` on an index: its exit status, and what it printed.
fn verify(agents: &Agents, index: &str, more: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(binary())
        .args(["verify", index, "--gateway"])
        .arg(format!("http://127.0.0.1:{}", agents.gateway_port()))
        .args(more)
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code(), said)
}

/// Changes, deletes and adds documents on the target, as nobody should.
async fn vandalise(target: &Es, index: &str, round: u32) {
    target.refresh(index).await;
    let (_, found) = target.get(&format!("/{index}/_search?size=120")).await;
    let hits = found["hits"]["hits"].as_array().cloned().unwrap_or_default();
    assert!(!hits.is_empty(), "{found}");
    for (number, hit) in hits.iter().enumerate() {
        let id = escape(hit["_id"].as_str().unwrap_or_default());
        let routing = hit["_routing"]
            .as_str()
            .map_or_else(String::new, |routing| format!("?routing={}", escape(routing)));
        let path = format!("/{index}/_doc/{id}{routing}");
        // Some are gone by then; that is no matter.
        match number % 3 {
            0 => _ = target.delete(&path).await,
            1 => _ = target.put(&path, &json!({})).await,
            _ => {}
        }
    }
    for number in 0..10 {
        let (status, answer) = target
            .put(&format!("/{index}/_doc/foreign-{round}-{number}"), &json!({}))
            .await;
        assert!(status < 300, "{answer}");
    }
}

/// Vandalism and repairs in turn, under writes; then both sides must be equal, by the tests' own comparison.
async fn repaired_under_writes(pair: &Pair, name: &str, options: Options) {
    let agents = Agents::start(&pair.leader.url(), &pair.target.url(), options).await;
    let copy = format!("{name}-copy");
    let index = StormIndex {
        name: name.to_owned(),
        shards: 2,
        versions_restart: true,
    };
    let workload = Workload::new(11)
        .with_indices(vec![index])
        .with_writers(2)
        .with_documents(150)
        .with_pause(Duration::from_millis(100));
    workload.create_indices(&pair.leader.client()).await;
    let writers = workload.start(&pair.leader.url());
    agents.follow(&copy, name).await;
    agents.wait_for_status(&copy, "SYNCING", LONG).await;
    sleep(Duration::from_secs(2)).await;

    let target = pair.target.client();
    for round in 0..2 {
        vandalise(&target, &copy, round).await;
        let (code, said) = verify(&agents, &copy, &[]);
        assert_eq!(code, Some(1), "{said}");
        let (code, said) = verify(&agents, &copy, &["--repair"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("documents written again, "), "{said}");
    }
    writers.stop().await;
    pair.wait_until_equal(name, &copy, LONG).await;
    let (code, said) = verify(&agents, &copy, &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_put_right_while_the_leader_is_written_to() {
    let Some(pair) = Pair::start(Release::OpenSearch2_19_1, Release::OpenSearch2_19_1).await else {
        return;
    };
    repaired_under_writes(&pair, "tailed", Options::default()).await;
    let windows = Options {
        leader_cluster: "translog = \"off\"\n".to_owned(),
        ..Options::default()
    };
    repaired_under_writes(&pair, "windowed", windows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_says_what_it_did_and_a_paused_index_has_none() {
    let mut world = World::prepare(Options::default()).await;
    world.agents.follower.logs_json();
    world.start_agents().await;
    world.following().await;
    let (code, said) = verify(&world.agents, "f", &["--repair"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 documents written again, 0 deleted"), "{said}");

    world.target.put("/f/_doc/3", &json!({ "n": -1 })).await;
    world.target.put("/f/_doc/extra", &json!({})).await;
    world.target.delete("/f/_doc/7").await;
    world.agents.command("f", "_pause").await;
    let (code, said) = verify(&world.agents, "f", &["--repair"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("resume it first"), "{said}");

    world.agents.command("f", "_resume").await;
    let (code, said) = eventually("the stream is open again", SOON, async || {
        match verify(&world.agents, "f", &["--repair", "--json"]) {
            found @ (Some(0), _) => Ok(found),
            (code, said) => Err(format!("{code:?} {said}")),
        }
    })
    .await;
    let told: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["repaired"], json!({ "written": 2, "deleted": 1 }), "{told}");
    assert_eq!(told["differences"], json!([]), "{told}");
    let repaired = world.agents.follower.event("verify_repaired", &[]).await;
    assert_eq!(
        (&repaired["written"], &repaired["deleted"]),
        (&json!(2), &json!(1)),
        "{repaired}"
    );
    let gateway = &world.agents.gateway;
    let (_, metrics) = gateway.try_send("GET", "/metrics", None).await.expect("metrics");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(
        metrics.contains("slipstream_repaired_total{kind=\"written\"} 2"),
        "{metrics}"
    );
    world.goes_on("lead", "f").await;
}
