//! Two requests at the same moment.

use std::time::Duration;

use serde_json::{Value, json};
use slipstream_sandbox::Endpoint;
use slipstream_testkit::client::Es;
use slipstream_tests::agents::{ALIAS, SOON};
use slipstream_tests::world::{World, pass};

use super::{BASE, create};

/// Two calls at the same moment: their statuses, the smaller first, and both answers.
async fn both(gateway: &Es, method: &'static str, path: &str, bodies: [Value; 2]) -> ([u16; 2], String) {
    let send = |body: Value| async move {
        let body = Some(("application/json", body.to_string().into_bytes()));
        gateway.try_send(method, path, body).await.expect("an answer")
    };
    let [first, second] = bodies;
    let (first, second) = tokio::join!(send(first), send(second));
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&first.1),
        String::from_utf8_lossy(&second.1)
    );
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    (statuses, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_at_the_same_moment_one_wins_and_the_other_is_told() {
    let world = World::start().await;
    create(&world, &["lead", "lead-2"]).await;
    let gateway = &world.agents.gateway;
    let start = |leader: &str| json!({ "leader_alias": ALIAS, "leader_index": leader });
    world
        .target
        .faults()
        .delay(Endpoint::All, Duration::from_millis(20), Duration::ZERO);
    for round in 0..5 {
        let (statuses, said) = both(
            gateway,
            "PUT",
            &format!("{BASE}/f/_start"),
            [start("lead"), start("lead-2")],
        )
        .await;
        assert_eq!(statuses, [200, 400], "round {round}: {said}");
        assert!(
            said.contains("Cant use same index again for replication. Delete the index:f"),
            "{said}"
        );
        let leader = world.agents.status("f").await["leader_index"]
            .as_str()
            .map(str::to_owned);
        let leader = leader.expect("it follows");
        world.agents.wait_for_status("f", "SYNCING", SOON).await;

        let (statuses, said) = both(
            gateway,
            "POST",
            &format!("{BASE}/f/_pause"),
            [json!({}), json!({})],
        )
        .await;
        assert_eq!(statuses, [200, 400], "{said}");
        assert!(said.contains("Index f is already paused"), "{said}");
        let (statuses, said) = both(
            gateway,
            "POST",
            &format!("{BASE}/f/_resume"),
            [json!({}), json!({})],
        )
        .await;
        assert_eq!(statuses, [200, 400], "{said}");
        assert!(
            said.contains("Replication on Index f is already running"),
            "{said}"
        );
        world.equal(&leader, "f").await;

        let (statuses, said) = both(
            gateway,
            "POST",
            &format!("{BASE}/f/_stop"),
            [json!({}), json!({})],
        )
        .await;
        assert_eq!(statuses, [200, 400], "{said}");
        assert!(said.contains("No replication in progress for index:f"), "{said}");
        world.target.delete("/f").await;
    }

    // A stop in the middle of a start: whichever way round, nothing goes on behind the caller's back.
    for _ in 0..5 {
        let starting = world.agents.try_follow("f", "lead");
        let stopping = async {
            pass(Duration::from_millis(30)).await;
            gateway.post(&format!("{BASE}/f/_stop"), &json!({})).await
        };
        let ((started, start_said), (stopped, stop_said)) = tokio::join!(starting, stopping);
        assert!(started == 200, "{start_said}");
        match stopped {
            // The start was not that far yet.
            400 => world.agents.command("f", "_stop").await,
            status => assert_eq!(status, 200, "{stop_said}"),
        }
        assert_eq!(
            world.agents.status("f").await["status"],
            "REPLICATION NOT IN PROGRESS"
        );
        world.target.delete("/f").await;
    }
    world.target.faults().clear();
    world.agents.follow("f", "lead").await;
    world.goes_on("lead", "f").await;
}
