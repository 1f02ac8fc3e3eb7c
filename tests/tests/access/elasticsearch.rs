//! Elasticsearch with its own security on both sides: privileges decide, index by index.

use serde_json::{Value, json};
use slipstream_testkit::servers::{ADMIN_PASSWORD, Release, ServerConfig};
use slipstream_tests::agents::{Agents, LONG, Options, SOON};
use slipstream_tests::real::Pair;

use super::{audited, reason, start};

#[tokio::test(flavor = "multi_thread")]
async fn privileges_decide_index_by_index() {
    let leader_role = json!({ "cluster": ["monitor"], "indices": [{ "names": ["leader-*"],
        "privileges": ["monitor", "read", "view_index_metadata", "maintenance"] }] });
    let follower_role = json!({ "cluster": ["monitor"], "indices": [{ "names": ["follower-*"],
        "privileges": ["manage", "read", "write"] }] });
    let operators = json!({ "cluster": ["monitor", "manage_ccr"], "indices": [{ "names": ["follower-*"],
        "privileges": ["manage_follow_index", "read"] }] });
    let on_leader = ServerConfig::named("leader")
        .secured()
        .with_user("leader-agent", leader_role);
    let on_target = ServerConfig::named("target")
        .secured()
        .with_user("follower-agent", follower_role)
        .with_user("testuser", operators)
        .with_user("onlooker", json!({ "cluster": ["monitor"] }))
        .with_user("other", json!({ "cluster": [] }));
    let release = Release::Elasticsearch8_19_21;
    let Some(pair) = Pair::configured((release, on_leader), (release, on_target)).await else {
        return;
    };
    let (leader, target) = (pair.leader.client(), pair.target.client());

    let cluster = |name: &str| format!("username = \"{name}\"\npassword_file = \"password\"\n");
    let options = Options {
        leader_cluster: cluster("leader-agent") + "translog = \"off\"\n",
        follower_cluster: cluster("follower-agent"),
        gateway: "auth = \"target\"\naudit_file = \"audit.jsonl\"\n".to_owned(),
        ..Options::default()
    };
    let mut agents = Agents::prepare(&pair.leader.url(), &pair.target.url(), &options).await;
    std::fs::write(agents.folder.path().join("password"), ADMIN_PASSWORD).expect("a password file");
    agents.leader.start();
    agents.follower.start();
    agents.wait_for_gateway().await;
    agents.gateway = agents.gateway.as_user("admin", ADMIN_PASSWORD);
    agents.register().await;

    let found = super::doctor(&agents).await;
    for check in [
        "ok      [gateway] auth: the target says who callers are",
        "look    user: follower-agent with the roles follower-agent; not on all indices: manage, read, write",
    ] {
        assert!(found.contains(check), "{check} in {found}");
    }
    let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0 } });
    assert_eq!(leader.put("/leader-01", &settings).await.0, 200);
    assert_eq!(
        leader
            .put("/leader-01/_doc/1", &json!({ "value": "data1" }))
            .await
            .0,
        201
    );
    let who = |name: &str| agents.gateway.as_user(name, ADMIN_PASSWORD);
    for (name, status) in [("onlooker", 200), ("other", 403), ("testuser", 200)] {
        assert_eq!(who(name).get("/_slipstream/v1/indices").await.0, status, "{name}");
    }
    for (name, index) in [
        ("onlooker", "follower-01"),
        ("other", "follower-01"),
        ("testuser", "elsewhere"),
    ] {
        let (status, answer) = start(&who(name), index, "leader-01").await;
        let said = format!(
            "no permissions for [indices:admin/plugins/replication/index/start] and User [name={name},"
        );
        assert!(
            status == 403 && reason(&answer).starts_with(&said),
            "{status} {answer}"
        );
    }
    assert_eq!(
        start(
            &agents.gateway.as_user("testuser", "wrong"),
            "follower-01",
            "leader-01"
        )
        .await
        .0,
        401
    );
    assert_eq!(
        start(&agents.gateway.as_nobody(), "follower-01", "leader-01")
            .await
            .0,
        401
    );
    assert_eq!(target.get("/follower-01").await.0, 404, "nothing was made");

    let (status, answer) = start(&who("testuser"), "follower-01", "leader-01").await;
    assert_eq!(status, 200, "{answer}");
    agents.wait_for_status("follower-01", "SYNCING", SOON).await;
    assert_eq!(
        leader
            .put("/leader-01/_doc/2", &json!({ "value": "data2" }))
            .await
            .0,
        201
    );
    pair.wait_until_equal("leader-01", "follower-01", LONG).await;
    let lines = audited(&agents.folder.path().join("audit.jsonl"));
    let outcomes: Vec<&Value> = lines.iter().map(|line| &line[4]).collect();
    assert_eq!(
        outcomes,
        ["done", "denied", "denied", "denied", "done"],
        "{lines:?}"
    );
}
