//! Files that the follower agent serves itself, to a target whose repositories it cannot write.

use slipstream_testkit::client::{Es, eventually};
use slipstream_testkit::servers::{Release, ServerConfig};
use slipstream_tests::agents::{LONG, certs, free_port};
use tempfile::TempDir;

use super::world::{World, copy, doctor};

/// Whoever signs what an agent shows to its target.
pub(crate) struct Authority(TempDir);

impl Authority {
    pub(crate) fn new() -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        certs(&["init", &folder.path().display().to_string()]);
        let authority = Authority(folder);
        certs(&["issue", &authority.path(""), "files", "--san", "127.0.0.1"]);
        authority
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The certificate in the words of the configuration.
    fn tls(&self) -> String {
        let (cert, key) = (self.path("files.pem"), self.path("files.key"));
        format!("cert_file = {cert:?}\nkey_file = {key:?}\n")
    }
}

/// A target that may read from this host, and believes in an authority.
pub(crate) fn reader(name: &str, authority: &Authority) -> (Release, ServerConfig) {
    let urls = "[\"http://127.0.0.1:*/*\", \"https://127.0.0.1:*/*\"]";
    let config = ServerConfig::named(name).with("repositories.url.allowed_urls", urls);
    let config = config.trusting(&authority.0.path().join("ca.pem"));
    (Release::OpenSearch3_6_0, config)
}

/// From now on the agent has no folder of the target's, and serves files under this name, as `tls` says if it does.
async fn serves(world: &mut World, origin: &str, tls: &str) -> u16 {
    let port = free_port();
    let sections = format!(
        "[snapshots]\nspool = \"spool\"\naddress = \"127.0.0.1:{port}\"\nurl = \"{origin}:{port}\"\n{tls}"
    );
    world.configure("/var/empty", &sections).await;
    port
}

/// What the target's configuration does not let it read is not tried, and the operator is told what to set.
pub(crate) async fn a_url_that_the_target_does_not_allow(world: &mut World) {
    let port = serves(world, "http://localhost", "").await;
    let said = format!(
        "node [node-0] of the target may not read from this agent: set repositories.url.allowed_urls: \
         [\"http://localhost:{port}/*\"] in the opensearch.yml (elasticsearch.yml) of every node and restart it"
    );
    world.fill("refused", 500).await;
    world.follow("refused").await;
    world
        .begun_with(
            "refused",
            &format!(
                "documents: node [node-0] of the target may not read /var/empty: it must stand in path.repo in the configuration \
                 of every node; {said}"
            ),
        )
        .await;
    world.equal("refused").await;
    let (status, answer) = world.start_with("refused-too", "refused", "files").await;
    let reason = answer["error"]["reason"].as_str().unwrap_or_default();
    assert!(
        status == 400
            && reason.starts_with("[refused-too] cannot begin with files: ")
            && reason.contains(&said),
        "{status} {answer}"
    );
    assert_eq!(world.target().get("/refused-too").await.0, 404, "nothing is made");
    let found = doctor(world).await;
    assert!(found.contains(&format!("[snapshots] url: {said}")), "{found}");
    world.nothing_is_left().await;
}

/// Every kind of write goes on while files are served; and nobody gets anything who does not know where.
pub(crate) async fn what_the_target_reads_from_the_agent(world: &mut World, seed: u64) {
    let port = serves(world, "http://127.0.0.1", "").await;
    let found = doctor(world).await;
    assert!(
        found.contains(&format!(
            "ok      [snapshots] url: the target's nodes may fetch files from http://127.0.0.1:{port}"
        )),
        "{found}"
    );
    let words =
        format!("files: a snapshot of the leader's, served to the target's nodes at http://127.0.0.1:{port}");
    super::under_writes(world, seed, &words).await;
    let stranger = Es::new(&format!("http://127.0.0.1:{port}"));
    for path in ["/", "/index.latest", "/0/index.latest"] {
        let (status, _) = stranger.try_send("GET", path, None).await.expect("an answer");
        assert_eq!(status, 404, "{path}");
    }
    let spool = world.agents.folder.path().join("spool");
    eventually("the spool is empty", LONG, async || {
        let left: Vec<_> = std::fs::read_dir(&spool)
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
}

/// The target's JVMs fetch over TLS what they may, from an agent in whose certificate they believe. One in whose they do not is told of.
pub(crate) async fn what_the_target_reads_over_tls(world: &mut World, authority: &Authority) {
    let port = serves(world, "https://127.0.0.1", &authority.tls()).await;
    world.fill("sealed", 5_000).await;
    let words = format!(
        "files: a snapshot of the leader's, served to the target's nodes at https://127.0.0.1:{port}"
    );
    world.begins("sealed", &words).await;
    world.nothing_is_left().await;

    let stranger = Authority::new();
    serves(world, "https://127.0.0.1", &stranger.tls()).await;
    world.fill("doubted", 500).await;
    world.begins("doubted", "documents: files were tried, ").await;
    let begun = world.agents.details(&copy("doubted")).await["begun_with"].to_string();
    assert!(begun.contains("PKIX path building failed"), "{begun}");
    world.nothing_is_left().await;
}

/// An operator decides, whatever the size.
pub(crate) async fn the_operator_decides(world: &World) {
    world.fill("decided", 500).await;
    for (how, words) in [
        ("documents", "documents: they were asked for"),
        ("files", "files: a snapshot of the leader's"),
    ] {
        let (status, answer) = world.start_with(&copy("decided"), "decided", how).await;
        assert_eq!(status, 200, "{answer}");
        world.in_step("decided").await;
        world.begun_with("decided", words).await;
        world.equal("decided").await;
        world.agents.command(&copy("decided"), "_stop").await;
        let (status, answer) = world.target().delete(&format!("/{}", copy("decided"))).await;
        assert_eq!(status, 200, "{answer}");
    }
    world.nothing_is_left().await;
}
