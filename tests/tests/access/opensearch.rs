//! OpenSearch with its security plugin on both sides, over https, and agents with no more rights than they need.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::{Release, ServerConfig};
use slipstream_tests::agents::{Agents, LONG, SOON};
use slipstream_tests::real::Pair;

use super::{audited, create, index, reason, start};

const PASSWORD: &str = "Replicate-2026!";
const OPERATE: &str = "indices:admin/plugins/replication/index/start";

/// What a leader agent's user may on the indices to be read; see the README.
fn leader_role() -> Value {
    json!({
        "cluster_permissions": ["cluster_monitor"],
        "index_permissions": [{
            "index_patterns": ["leader-*"],
            "allowed_actions": ["read", "get", "indices_monitor", "indices:admin/get", "indices:admin/aliases/get",
                "indices:admin/mappings/get", "indices:admin/refresh*", "indices:admin/flush*",
                "indices:data/read/point_in_time/*"]
        }]
    })
}

/// What a follower agent's user may on the follower indices; see the README.
fn follower_role() -> Value {
    json!({
        "cluster_permissions": ["cluster_monitor", "indices:data/write/bulk", "indices:data/read/mget"],
        "index_permissions": [{
            "index_patterns": ["follower-*"],
            "allowed_actions": ["manage", "read", "write"]
        }]
    })
}

async fn secured() -> Option<Pair> {
    let config = |name: &str| (Release::OpenSearch2_19_1, ServerConfig::named(name).secured());
    Pair::configured(config("leader"), config("target")).await
}

async fn put(admin: &Es, path: &str, body: &Value) {
    let path = format!("/_plugins/_security/api/{path}");
    let (status, answer) = admin.put(&path, body).await;
    assert!(matches!(status, 200 | 201), "{path}: {status} {answer}");
}

/// A user with a role of this name, which may do this.
async fn user(admin: &Es, name: &str, role: &str, permissions: &Value) {
    put(
        admin,
        &format!("internalusers/{name}"),
        &json!({ "password": PASSWORD }),
    )
    .await;
    put(admin, &format!("roles/{role}"), permissions).await;
    put(
        admin,
        &format!("rolesmapping/{role}"),
        &json!({ "users": [name] }),
    )
    .await;
}

/// A role that may do this to its cluster besides.
fn with(mut role: Value, more: &[&str]) -> Value {
    let permissions = role["cluster_permissions"].as_array_mut().expect("a list");
    permissions.extend(more.iter().map(|more| json!(more)));
    role
}

/// Agents between two secured clusters, each with a user of its own there; gateway lines beside those for the target's users.
async fn agents(pair: &Pair, translog: &str, gateway: &str, allow: &str) -> Agents {
    agents_with(pair, [leader_role(), follower_role()], translog, gateway, allow).await
}

/// The same, with these roles.
async fn agents_with(pair: &Pair, roles: [Value; 2], translog: &str, gateway: &str, allow: &str) -> Agents {
    let [of_leader, of_follower] = roles;
    for (server, name, role, permissions) in [
        (&pair.leader, "leader-agent", "leader_agent", of_leader),
        (&pair.target, "follower-agent", "follower_agent", of_follower),
    ] {
        user(&server.client(), name, role, &permissions).await;
    }
    let translog = format!("translog = \"{translog}\"\n");
    super::agents(pair, PASSWORD, [&translog, gateway, allow]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_own_users_may_replicate_or_not() {
    let Some(pair) = secured().await else {
        return;
    };
    let (leader, target) = (pair.leader.client(), pair.target.client());
    // The role of the replication plugin's own documentation, here for some indices.
    let operators = json!({
        "cluster_permissions": ["cluster:admin/plugins/replication/autofollow/update"],
        "index_permissions": [{ "index_patterns": ["follower-*"],
            "allowed_actions": ["indices:admin/plugins/replication/index/*", "read"] }]
    });
    user(&target, "testuser", "replication_operators", &operators).await;
    put(&target, "internalusers/other", &json!({ "password": PASSWORD })).await;
    let allow = "[[allow]]\ntarget_role = \"all_access\"\nrole = \"administer\"\n\n\
                 [[allow]]\ntarget_role = \"replication_operators\"\nrole = \"operate\"\nindices = [\"follower-*\"]\n";
    let agents = agents(&pair, "off", "proxy = true\n", allow).await;
    let found = super::doctor(&agents).await;
    assert!(
        found.contains("ok      user: follower-agent with the roles "),
        "{found}"
    );
    create(&leader).await;

    let testuser = agents.gateway.as_user("testuser", PASSWORD);
    let other = agents.gateway.as_user("other", PASSWORD);
    let refused = format!(
        "no permissions for [{OPERATE}] and User [name=other, backend_roles=[], requestedTenant=null]"
    );
    let (status, answer) = start(&other, "follower-01", "leader-01").await;
    assert_eq!((status, reason(&answer)), (403, refused.as_str()), "{answer}");
    assert_eq!(answer["error"]["type"], "security_exception");
    for nobody in [
        agents.gateway.as_user("testuser", "wrong"),
        agents.gateway.as_nobody(),
    ] {
        let (status, answer) = start(&nobody, "follower-01", "leader-01").await;
        assert_eq!(
            (status, &answer["error"]["type"]),
            (401, &json!("security_exception")),
            "{answer}"
        );
    }
    assert_eq!(target.get("/follower-01").await.0, 404, "nothing was made");
    let (status, answer) = start(&testuser, "elsewhere", "leader-01").await;
    assert!(
        status == 403 && reason(&answer).contains("name=testuser"),
        "{status} {answer}"
    );

    let (status, answer) = start(&testuser, "follower-01", "leader-01").await;
    assert_eq!((status, &answer["acknowledged"]), (200, &json!(true)), "{answer}");
    agents.wait_for_status("follower-01", "SYNCING", SOON).await;
    pair.wait_until_equal("leader-01", "follower-01", LONG).await;
    index(&leader, "2", &json!({ "value": "data2" })).await;
    assert_eq!(leader.delete("/leader-01/_doc/1").await.0, 200);
    pair.wait_until_equal("leader-01", "follower-01", LONG).await;

    let verify = "/_slipstream/v1/indices/follower-01/verify";
    assert_eq!(other.post(verify, &json!({})).await.0, 403);
    assert_eq!(testuser.post(verify, &json!({})).await.0, 200);
    eventually("both are found equal", SOON, async || {
        let (_, found) = testuser.get(verify).await;
        if found["outcome"] == "equal" {
            Ok(())
        } else {
            Err(found.to_string())
        }
    })
    .await;

    // Past the gateway it is the target that asks who somebody is.
    let (status, found) = testuser.get("/follower-01/_count").await;
    assert_eq!((status, &found["count"]), (200, &json!(1)), "{found}");
    assert_eq!(agents.gateway.as_nobody().get("/follower-01/_count").await.0, 401);
    assert_eq!(other.get("/follower-01/_count").await.0, 403);

    let stopped = testuser
        .post("/_plugins/_replication/follower-01/_stop", &json!({}))
        .await;
    assert_eq!(stopped.0, 200, "{}", stopped.1);
    let audit = agents.folder.path().join("audit.jsonl");
    assert_eq!(
        audited(&audit),
        [
            json!(["admin", "cluster:admin/settings/update", null, 200, "done"]),
            json!(["other", OPERATE, "follower-01", 403, "denied"]),
            json!(["testuser", OPERATE, "elsewhere", 403, "denied"]),
            json!(["testuser", OPERATE, "follower-01", 200, "done"]),
            json!([
                "other",
                "indices:admin/slipstream/verify",
                "follower-01",
                403,
                "denied"
            ]),
            json!([
                "testuser",
                "indices:admin/slipstream/verify",
                "follower-01",
                200,
                "done"
            ]),
            json!([
                "testuser",
                "indices:admin/plugins/replication/index/stop",
                "follower-01",
                200,
                "done"
            ]),
        ]
    );
    let everything =
        std::fs::read_to_string(&audit).expect("it") + &agents.follower.log() + &agents.leader.log();
    assert!(!everything.contains(PASSWORD) && !everything.contains("Basic "));
}

/// Without them an index begins with documents, and says what was missing.
#[tokio::test(flavor = "multi_thread")]
async fn beginning_with_files_takes_a_few_rights_more() {
    let Some(pair) = secured().await else {
        return;
    };
    let (leader, target) = (pair.leader.client(), pair.target.client());
    let allow =
        "[[allow]]\ntarget_role = \"all_access\"\nrole = \"administer\"\n\n[limits]\nsnapshot_from_mb = 0\n";
    let roles = [
        with(
            leader_role(),
            &["cluster:admin/repository/*", "cluster:admin/snapshot/*"],
        ),
        with(
            follower_role(),
            &["cluster:admin/repository/*", "cluster:admin/snapshot/restore"],
        ),
    ];
    let agents = agents_with(&pair, roles, "auto", "", allow).await;
    create(&leader).await;
    for (name, begins) in [
        ("follower-files", "files: "),
        ("follower-docs", "documents: files were tried, "),
    ] {
        if name == "follower-docs" {
            put(&target, "roles/follower_agent", &follower_role()).await;
        }
        agents.follow(name, "leader-01").await;
        agents.wait_for_status(name, "SYNCING", LONG).await;
        let details = agents.details(name).await;
        let begun = details["begun_with"].as_str().unwrap_or_default();
        assert!(begun.starts_with(begins), "{details}");
        pair.wait_until_equal("leader-01", name, LONG).await;
    }
    let details = agents.details("follower-docs").await;
    assert!(
        details["begun_with"].to_string().contains("cluster:admin/"),
        "{details}"
    );
    super::nothing_is_left(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_too_few_rights_says_which_are_missing() {
    let Some(pair) = secured().await else {
        return;
    };
    let agents = agents(&pair, "auto", "", "").await;
    let leader = pair.leader.client();
    create(&leader).await;
    // The agent's user may write to `follower-*` only.
    let (status, answer) = start(&agents.gateway, "elsewhere", "leader-01").await;
    assert!(status == 403 || status == 503, "{status} {answer}");
    let said = reason(&answer);
    assert!(
        said.contains("indices:admin/") && said.contains("follower-agent"),
        "{said}"
    );
    assert_eq!(pair.target.client().get("/elsewhere").await.0, 404);

    // A right that is taken away while following is named in the status, and following goes on once it is back.
    assert_eq!(start(&agents.gateway, "follower-01", "leader-01").await.0, 200);
    agents.wait_for_status("follower-01", "SYNCING", SOON).await;
    let mut fewer = follower_role();
    fewer["index_permissions"][0]["allowed_actions"] = json!(["manage", "read"]);
    put(&pair.target.client(), "roles/follower_agent", &fewer).await;
    index(&leader, "2", &json!({ "value": "data2" })).await;
    eventually("the missing right is told", Duration::from_mins(1), async || {
        let status = agents.status("follower-01").await.to_string();
        if status.contains("indices:data/write/") {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
    put(&pair.target.client(), "roles/follower_agent", &follower_role()).await;
    agents.command("follower-01", "_resume").await;
    pair.wait_until_equal("leader-01", "follower-01", LONG).await;
}
