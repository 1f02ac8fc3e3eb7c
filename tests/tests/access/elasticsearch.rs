//! Elasticsearch with its own security on both sides: privileges decide, index by index, whatever proves who somebody is.

use serde_json::{Value, json};
use slipstream_testkit::servers::{ADMIN_PASSWORD, Release, SERVICE_TOKEN, ServerConfig};
use slipstream_tests::agents::{Agents, LONG, SOON};
use slipstream_tests::real::Pair;

use super::{audited, create, index, reason, start};

/// What somebody needs to operate followers of these names.
fn operators() -> Value {
    json!({ "cluster": ["monitor", "manage_ccr"], "indices": [{ "names": ["follower-*"],
        "privileges": ["manage_follow_index", "read"] }] })
}

/// Two clusters with users of the agents' own, and these more on the target; the agents between them.
async fn start_all(users: &[(&str, Value)], gateway: &str) -> Option<(Pair, Agents)> {
    start_with(users, [&[], &[]], gateway, "").await
}

/// The same where the leader agent and the follower agent have these rights on their clusters beside `monitor`, and more sections in the
/// follower agent's file.
async fn start_with(
    users: &[(&str, Value)],
    more: [&[&str]; 2],
    gateway: &str,
    sections: &str,
) -> Option<(Pair, Agents)> {
    let [on_leader, on_follower] = more.map(|more| [&["monitor"], more].concat());
    let leader_role = json!({ "cluster": on_leader, "indices": [{ "names": ["leader-*"],
        "privileges": ["monitor", "read", "view_index_metadata", "maintenance"] }] });
    let follower_role = json!({ "cluster": on_follower, "indices": [{ "names": ["follower-*"],
        "privileges": ["manage", "read", "write"] }] });
    let on_leader = ServerConfig::named("leader")
        .secured()
        .with_user("leader-agent", leader_role);
    let mut on_target = ServerConfig::named("target")
        .secured()
        .with_user("follower-agent", follower_role);
    for (name, role) in users {
        on_target = on_target.with_user(name, role.clone());
    }
    let release = Release::Elasticsearch8_19_21;
    let pair = Pair::configured((release, on_leader), (release, on_target)).await?;
    let agents = super::agents(&pair, ADMIN_PASSWORD, ["translog = \"off\"\n", gateway, sections]).await;
    create(&pair.leader.client()).await;
    Some((pair, agents))
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_decide_index_by_index() {
    let users = [
        ("testuser", operators()),
        ("onlooker", json!({ "cluster": ["monitor"] })),
        ("other", json!({ "cluster": [] })),
    ];
    let Some((pair, agents)) = start_all(&users, "").await else {
        return;
    };
    let (leader, target) = (pair.leader.client(), pair.target.client());
    let found = super::doctor(&agents).await;
    for check in [
        "ok      [gateway] auth: the target says who callers are",
        "look    user: follower-agent with the roles follower-agent; not on all indices: manage, read, write",
    ] {
        assert!(found.contains(check), "{check} in {found}");
    }
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
    index(&leader, "2", &json!({ "value": "data2" })).await;
    pair.wait_until_equal("leader-01", "follower-01", LONG).await;
    let lines = audited(&agents.folder.path().join("audit.jsonl"));
    let outcomes: Vec<&Value> = lines.iter().map(|line| &line[4]).collect();
    assert_eq!(
        outcomes,
        ["done", "denied", "denied", "denied", "done"],
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn beginning_with_files_takes_a_few_rights_more() {
    let more: [&[&str]; 2] = [
        &["cluster:admin/repository/*", "cluster:admin/snapshot/*"],
        &["cluster:admin/repository/*", "cluster:admin/snapshot/restore"],
    ];
    let Some((pair, agents)) = start_with(&[], more, "", "[limits]\nsnapshot_from_mb = 0\n").await else {
        return;
    };
    agents.follow("follower-files", "leader-01").await;
    agents.wait_for_status("follower-files", "SYNCING", LONG).await;
    let details = agents.details("follower-files").await;
    let begun = details["begun_with"].as_str().unwrap_or_default();
    assert!(begun.starts_with("files: "), "{details}");
    pair.wait_until_equal("leader-01", "follower-files", LONG).await;
    super::nothing_is_left(&pair).await;
}

/// The token of a service account stands for all that is no password: API keys cannot be made on these releases, which lack a module that
/// the engine's index for them needs.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_as_good_as_passwords() {
    let Some((pair, agents)) = start_all(&[], "proxy = true\n").await else {
        return;
    };
    let target = pair.target.client();
    let token = agents.gateway.showing(&format!("Bearer {SERVICE_TOKEN}"));
    let others = ["Bearer nobodys", "ApiKey bm9ib2R5Om5vdGhpbmc="].map(|shown| agents.gateway.showing(shown));

    // Its account may look.
    let (status, answer) = token.get("/_slipstream/v1/indices").await;
    assert_eq!((status, &answer["indices"]), (200, &json!([])), "{answer}");
    let (status, answer) = start(&token, "follower-01", "leader-01").await;
    let said = "no permissions for [indices:admin/plugins/replication/index/start] and User [name=elastic/fleet-server,";
    assert!(
        status == 403 && reason(&answer).starts_with(said),
        "{status} {answer}"
    );
    assert_eq!(target.get("/follower-01").await.0, 404, "nothing was made");

    // Past the gateway it is the target that judges what is shown.
    let (status, _) = start(&agents.gateway, "follower-01", "leader-01").await;
    assert_eq!(status, 200);
    agents.wait_for_status("follower-01", "SYNCING", SOON).await;
    let (status, health) = token.get("/_cluster/health").await;
    assert_eq!(
        (status, &health["cluster_name"]),
        (200, &json!("target")),
        "{health}"
    );
    assert_eq!(token.get("/follower-01/_count").await.0, 403);
    for other in &others {
        for path in ["/_slipstream/v1/indices", "/_cluster/health"] {
            let (status, answer) = other.get(path).await;
            assert_eq!(status, 401, "{path}: {answer}");
        }
    }
    let audit = agents.folder.path().join("audit.jsonl");
    let everything = agents.follower.log() + &std::fs::read_to_string(audit).expect("it");
    assert!(!everything.contains(SERVICE_TOKEN));
}
