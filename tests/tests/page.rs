//! The status page as an operator sees it, in a real browser: what it shows, what its buttons do, and that it stays honest
//! when the agent does not answer.
//!
//! Pictures of it are left in `page-screenshots` of the target folder.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use slipstream_sandbox::Endpoint;
use slipstream_testkit::client::eventually;
use slipstream_testkit::servers::{Release, Server};
use slipstream_tests::agents::{ALIAS, Agents, Options, SOON};
use slipstream_tests::browser::Browser;
use slipstream_tests::real::Pair;
use slipstream_tests::world::World;
use slipstream_wire::certs::{San, Validity, issue};

/// Reasons, names and errors come from anywhere.
const HOSTILE: &str =
    r#"<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>"#;

async fn page(world: &World) -> Browser {
    let browser = Browser::start().await;
    browser.open(&address(world)).await;
    browser.shows("#connection", &["Live, as of"]).await;
    browser
}

fn address(world: &World) -> String {
    format!("http://127.0.0.1:{}/", world.agents.gateway_port())
}

fn row(index: &str) -> String {
    format!("tbody[data-index=\"{index}\"]")
}

/// Nothing went wrong in the page, and it asked nobody but the gateway.
async fn clean(browser: &Browser, world: &World) {
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
    let requests = browser.requests().await;
    assert!(!requests.is_empty(), "the log of requests is empty");
    let home = address(world);
    for url in requests {
        assert!(url.starts_with(&home), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shows_what_follows_what_where_it_stands_and_who_is_around() {
    let world = World::start().await;
    world.following().await;
    let browser = page(&world).await;
    let shown = browser.shows(&row("f"), &["SYNCING", "window × 1", "ms"]).await;
    assert!(shown.contains(&format!("follows {ALIAS}:lead")), "{shown}");
    browser
        .shows(
            "#clusters",
            &["Target", "OpenSearch", "green", ALIAS, "Elasticsearch", "answers"],
        )
        .await;
    let agent = world.agents.link.address().to_string();
    browser
        .shows(
            "#certificates",
            &[
                "this follower agent",
                "follower.test",
                &agent,
                "leader.test",
                "left",
            ],
        )
        .await;
    browser
        .shows("#path", &["leader (Elasticsearch", "→ target (OpenSearch"])
        .await;
    assert_eq!(browser.text("#attention").await, "");

    // Shards, only where somebody wants to see them.
    assert!(!browser.text(&row("f")).await.contains("Shards"));
    browser.click(&format!("{} .open", row("f"))).await;
    browser
        .shows(
            &format!("{} .details", row("f")),
            &["Shards", "Leader at", "window: ", "9"],
        )
        .await;

    // Lag over time: after the second sample there is a line, in the row, opened, and of all.
    for chart in ["#lag-chart .line", "tbody .spark .line", ".details .chart .line"] {
        let script = format!("return /L/.test(document.querySelector('{chart}')?.getAttribute('d') ?? '')");
        if chart == "tbody .spark .line" {
            // Half a minute is a point there.
            let script = script.replace("/L/", "/M/");
            browser.becomes(chart, &script).await;
        } else {
            browser.becomes(chart, &script).await;
        }
    }
    browser.picture("light").await;
    browser.prefers("dark").await;
    browser.picture("dark").await;
    clean(&browser, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_buttons_pause_with_a_reason_resume_and_stop() {
    let world = World::start().await;
    world.following().await;
    let browser = page(&world).await;
    let (row, control) = (row("f"), |name: &str| format!("{} .do button{name}", row("f")));

    browser.click(&control(":first-child")).await;
    browser.shows("#pause", &["Pause f?"]).await;
    browser.picture("pause").await;
    browser.keys(HOSTILE).await;
    browser.click("#pause .main").await;
    browser.shows("#outcome", &["f is paused."]).await;
    let status = world.agents.status("f").await;
    assert_eq!(
        (&status["status"], &status["reason"]),
        (&json!("PAUSED"), &json!(HOSTILE))
    );
    // What came from somebody is shown to everybody as he wrote it, and as nothing else.
    browser
        .shows(&row, &["PAUSED", HOSTILE, "What to do: Resume"])
        .await;
    assert_eq!(
        browser
            .run("return document.querySelectorAll('tbody img, tbody script').length")
            .await,
        0
    );
    let title = browser.run("return document.title").await;
    assert_eq!(title, "(1) slipstream");
    browser.picture("paused").await;

    browser.click(&control("[aria-label=\"Resume f\"]")).await;
    browser.shows("#outcome", &["f goes on."]).await;
    browser.shows(&row, &["SYNCING"]).await;
    world.goes_on("lead", "f").await;

    // Stopping is asked back: only the very name does it, and the way out is the keyboard's, too.
    browser.click(&control(".danger")).await;
    browser.shows("#stop", &["Stop f?", "takes writes"]).await;
    let disabled = "return document.querySelector('#stop .main').disabled";
    browser.keys("g").await;
    assert_eq!(browser.run(disabled).await, true);
    browser.keys("\u{e00c}").await;
    browser
        .becomes(
            "the question is gone",
            "return !document.querySelector('#stop').open",
        )
        .await;
    assert_eq!(world.agents.status("f").await["status"], "SYNCING");
    browser.click(&control(".danger")).await;
    browser.keys("f").await;
    assert_eq!(browser.run(disabled).await, false);
    // Enter.
    browser.keys("\u{e007}").await;
    browser.shows("#outcome", &["f is stopped"]).await;
    browser.shows("#none", &["No index follows"]).await;
    assert_eq!(
        world.agents.status("f").await["status"],
        "REPLICATION NOT IN PROGRESS"
    );
    world.target.put("/f/_doc/mine", &json!({ "mine": true })).await;
    clean(&browser, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_gateways_words_and_the_dialog_stays() {
    let world = World::start().await;
    world.following().await;
    let browser = page(&world).await;
    browser
        .click(&format!("{} .do button:first-child", row("f")))
        .await;
    // Somebody else was quicker.
    world.agents.command("f", "_pause").await;
    browser.click("#pause .main").await;
    browser
        .shows("#pause .refusal", &["Not done: Index f is already paused"])
        .await;
    browser.click("#pause .cancel").await;
    browser.shows(&row("f"), &["PAUSED", "User initiated"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_comes_first_with_what_to_do() {
    let mut world = World::start().await;
    world.following().await;
    world.create("other", json!({}), json!({})).await;
    world.leader.write("other", 0..5).await;
    world.agents.follow("a-second", "other").await;
    world.agents.wait_for_status("a-second", "SYNCING", SOON).await;
    let browser = page(&world).await;
    // The leader deletes an index: that one is held, and comes first although its name is the later one.
    world.leader.delete("/lead").await;
    browser
        .shows(&row("f"), &["PAUSED", "was deleted", "What to do"])
        .await;
    let first = "return document.querySelector('#table tbody').dataset.index";
    browser
        .becomes("it comes first", &format!("{first} === 'f'"))
        .await;
    // The leader agent dies: what waits for it says so, and its lag is not called zero.
    world.agents.leader.kill();
    browser
        .shows(
            &row("a-second"),
            &[
                "SYNCING, waiting",
                "Waiting for",
                "cannot reach the leader agent",
                "not known",
            ],
        )
        .await;
    browser.shows("#lag-unknown", &["Not known of 1 index"]).await;
    browser
        .shows("#attention", &["cannot be used", "check that it runs"])
        .await;
    // The target goes away, too.
    world.target.down().await;
    browser
        .shows(
            "#attention",
            &["The target cluster does not answer", "cannot connect"],
        )
        .await;
    browser.picture("trouble").await;
    browser.click("#states [data-state=attention]").await;
    browser.shows("#found", &["2 indices match, of 2"]).await;
    clean(&browser, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_copy_shows_how_far_it_is_and_how_long_it_takes() {
    let world = World::start().await;
    world.create("lead", json!({}), json!({})).await;
    for part in 0..40 {
        world
            .leader
            .write_padded("lead", part * 500..(part + 1) * 500, 1_000)
            .await;
    }
    world
        .target
        .faults()
        .delay(Endpoint::Bulk, Duration::from_secs(2), Duration::ZERO);
    world.agents.follow("f", "lead").await;
    let browser = page(&world).await;
    browser.shows(&row("f"), &["BOOTSTRAPPING", "%", "left"]).await;
    browser.picture("bootstrapping").await;
    world.target.faults().clear();
    browser.shows(&row("f"), &["SYNCING"]).await;
    assert_eq!(browser.text(&format!("{} .progress", row("f"))).await, "");
    clean(&browser, &world).await;
}

/// What the embedded clusters do not have: files of the leader's to begin with, and a translog to read.
#[tokio::test(flavor = "multi_thread")]
async fn on_real_servers_it_shows_what_becomes_of_files_and_the_fast_path() {
    let release = Release::OpenSearch2_19_1;
    let Some(pair) = Pair::start(release, release).await else {
        return;
    };
    let path = |server: &Server| format!("snapshot_path = \"{}\"\n", server.repo_path().display());
    let options = Options {
        leader_cluster: path(&pair.leader),
        follower_cluster: path(&pair.target),
        // Slow by the agent's own cap. On a link that is full, the news that the snapshot is whole may come with its last file.
        follower_extra: "[limits]\nsnapshot_from_mb = 0\nsnapshot_mb_per_s = 1\n".to_owned(),
        ..Options::default()
    };
    let agents = Agents::start(&pair.leader.url(), &pair.target.url(), options).await;
    let leader = pair.leader.client();
    let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0 } });
    assert_eq!(leader.put("/lead", &settings).await.0, 200);
    for part in 0..16_u64 {
        // Each document is unlike all others, so that files are as large as they look.
        let mut lines = String::new();
        for number in part * 500..(part + 1) * 500 {
            lines.push_str("{\"index\":{}}\n{\"pad\":\"");
            for at in 1..60 {
                let noise = (number * 60 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let _ = write!(lines, "{noise:016x}");
            }
            lines.push_str("\"}\n");
        }
        let (status, answer) = leader.bulk("/lead/_bulk", lines).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    }
    agents.follow("f", "lead").await;
    let browser = Browser::start().await;
    browser
        .open(&format!("http://127.0.0.1:{}/", agents.gateway_port()))
        .await;
    browser
        .shows(&row("f"), &["BOOTSTRAPPING", "files: ", "MB have come", "left"])
        .await;
    browser.picture("files").await;
    let no_cap =
        json!({ "persistent": { "plugins.replication.follower.index.recovery.max_bytes_per_sec": "-1" } });
    assert_eq!(agents.gateway.put("/_cluster/settings", &no_cap).await.0, 200);
    browser.shows(&row("f"), &["SYNCING", "translog × 1"]).await;
    browser.click(&format!("{} .open", row("f"))).await;
    browser
        .shows(".details", &["with files: ", "translog: ", "of the primary"])
        .await;
    browser
        .shows("#clusters", &["OpenSearch 2.19.1", "reads translog files"])
        .await;
    browser.picture("real").await;
    assert_eq!(browser.console().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_when_the_agent_is_gone_and_since_when_and_comes_back() {
    let mut world = World::start().await;
    world.following().await;
    let browser = page(&world).await;
    browser.shows(&row("f"), &["SYNCING"]).await;
    browser.console().await;
    world.agents.follower.kill();
    browser
        .shows("#alarm", &["The agent has not answered since", "as of then"])
        .await;
    browser.shows("#connection", &["As of", "ago"]).await;
    // What was known stays, greyed, and can no longer be acted upon.
    assert!(browser.text(&row("f")).await.contains("SYNCING"));
    let grey = "return getComputedStyle(document.querySelector('main')).filter";
    assert_eq!(browser.run(grey).await, "grayscale(1)");
    browser
        .click(&format!("{} .do button:first-child", row("f")))
        .await;
    assert_eq!(
        browser.run("return document.querySelector('#pause').open").await,
        false
    );
    browser.picture("unreachable").await;
    // Asked at once there is still nobody. It also asks by itself, so afterwards the button may be gone before anybody reaches it.
    browser.click("#alarm button").await;
    browser
        .shows("#alarm", &["The agent has not answered since"])
        .await;
    world.agents.follower.start();
    world.agents.wait_for_gateway().await;
    browser.shows("#outcome", &["The agent answers again"]).await;
    browser.shows("#connection", &["Live, as of"]).await;
    assert_eq!(browser.text("#alarm").await, "");
    assert_eq!(browser.run(grey).await, "none");
}

/// Texts whose contrast to what is behind them is below 4.5, which the guidelines ask for (AA).
const FAINT: &str = r"
    const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = parse(getComputedStyle(node).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== '');
        if (!own || !node.checkVisibility({ visibilityProperty: true })) continue;
        const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) faint.push(`${node.className || node.tagName}: ${node.textContent.slice(0, 30)} ${contrast.toFixed(2)}`);
    }
    return faint";

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_read_on_a_telephone_in_the_dark_and_by_whoever_cannot_see_it() {
    let world = World::start().await;
    world.following().await;
    let long = format!("logs-{}", "x".repeat(180));
    world.create(&long, json!({}), json!({})).await;
    world.agents.follow(&long, &long).await;
    let browser = page(&world).await;
    world.agents.command("f", "_pause").await;
    browser.shows(&row("f"), &["PAUSED"]).await;
    browser.click(&format!("{} .open", row(&long))).await;
    browser.shows(".details", &["Shards"]).await;
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme).await;
        for (name, width) in [("phone", 360), ("desk", 1280)] {
            browser.size(width, 800).await;
            let wide = browser.run("return document.documentElement.scrollWidth").await;
            assert_eq!(wide, width, "the page scrolls sideways on a {name}");
            let faint = browser.run(FAINT).await;
            assert_eq!(faint, json!([]), "{scheme} on a {name}");
            browser.picture(&format!("{name}-{scheme}")).await;
        }
        grounds.push(
            browser
                .run("return getComputedStyle(document.body).backgroundColor")
                .await,
        );
    }
    assert_ne!(grounds[0], grounds[1], "dark looks like light");
    let heads = "return [...document.querySelectorAll('#table > thead th')].map((head) => `${head.scope} ${head.innerText}`)";
    assert_eq!(
        browser.run(heads).await,
        json!(["col Index", "col State", "col Lag", "col Read by", "col Do"])
    );
    let names = r"
        const nameless = [...document.querySelectorAll('button, input, a, [role=img]')]
            .filter((node) => !(node.innerText || node.ariaLabel || node.labels?.length || node.textContent.trim()));
        return [document.documentElement.lang, nameless.map((node) => node.outerHTML)]";
    assert_eq!(browser.run(names).await, json!(["en", []]));

    // With the keyboard alone: Tab leads to everything, and what has the focus shows it.
    browser.size(1280, 900).await;
    browser.open(&address(&world)).await;
    browser.shows(&row("f"), &["PAUSED"]).await;
    let mut reached: Vec<Value> = Vec::new();
    let now = r"
        const node = document.activeElement;
        return node === document.body ? null : [node.ariaLabel || node.innerText || node.id, getComputedStyle(node).outlineStyle]";
    loop {
        browser.keys("\u{e004}").await;
        match browser.run(now).await {
            Value::Null => break,
            focus => reached.push(focus),
        }
        assert!(reached.len() < 100, "Tab does not come to an end: {reached:?}");
    }
    let reached = json!(reached).to_string();
    for control in [
        "Skip to the indices",
        "match",
        "1 Paused",
        "Resume f",
        "Stop f…",
        "Metrics",
    ] {
        assert!(
            reached.contains(&format!("[\"{control}\",\"solid\"]")),
            "{control}: {reached}"
        );
    }
    assert!(!reached.contains("\"none\"]"), "{reached}");
    clean(&browser, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_indices_can_be_searched_and_paged() {
    let world = World::start().await;
    for number in 0..200 {
        world
            .create(&format!("logs-{number:03}"), json!({}), json!({}))
            .await;
    }
    let rule = json!({ "leader_alias": ALIAS, "name": "logs", "pattern": "logs-*" });
    world
        .agents
        .gateway
        .post("/_plugins/_replication/_autofollow", &rule)
        .await;
    let limit = Duration::from_mins(3);
    eventually("all follow", limit, async || {
        let (_, overview) = world.agents.gateway.get("/_slipstream/v1/overview?size=0").await;
        if overview["counts"]["SYNCING"] == 200 {
            Ok(())
        } else {
            Err(overview["counts"].to_string())
        }
    })
    .await;
    world.agents.command("logs-177", "_pause").await;
    let browser = page(&world).await;
    browser
        .shows("#states", &["200 All", "1 Need attention", "199 Syncing"])
        .await;
    browser.shows("#place", &["1 to 50 of 200"]).await;
    let first = "document.querySelector('#table tbody').dataset.index";
    assert_eq!(browser.run(&format!("return {first}")).await, "logs-177");
    browser.picture("many").await;
    browser.click("#later").await;
    browser.shows("#place", &["51 to 100 of 200"]).await;
    browser.click("#match").await;
    browser.keys("LOGS-04").await;
    browser.shows("#found", &["10 indices match, of 200"]).await;
    browser
        .becomes("the rows are those", &format!("return {first} === 'logs-040'"))
        .await;
    assert_eq!(browser.text("#match").await, "");
    // Whoever gets the address sees the same rows.
    assert_eq!(browser.run("return location.hash").await, "#match=LOGS-04");
    browser
        .shows("#rules", &["logs follows logs-* of", "started 200 indices"])
        .await;
    clean(&browser, &world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_told_with_what_to_do() {
    let world = World::start().await;
    let browser = page(&world).await;
    browser
        .shows("#certificates", &["follower.test", "days left", "leader.test"])
        .await;
    assert_eq!(browser.text("#attention").await, "");
    let now = SystemTime::now();
    let validity = Validity {
        not_before: now - Duration::from_hours(1),
        not_after: now + Duration::from_hours(3 * 24 + 1),
    };
    let name = [San::parse("follower.test").expect("a name")];
    let issued = issue(&world.path("certs"), "short", &name, validity).expect("a certificate");
    for (from, to) in [(issued.cert, "follower.pem"), (issued.key, "follower.key")] {
        std::fs::copy(from, world.path("certs").join(to)).expect("a copy");
    }
    world.agents.follower.reload();
    browser
        .shows(
            "#attention",
            &[
                "The certificate of this follower agent expires in 3 days",
                "SIGHUP",
            ],
        )
        .await;
    browser.shows("#certificates", &["! 3 days left"]).await;
}
