//! `[snapshots]`: where files are kept for the target, and how they are served to it.

use super::*;

#[test]
fn files_are_served_to_this_host_or_over_tls() {
    const TLS: &str = "cert_file = \"agent.pem\"\nkey_file = \"agent.key\"\n";
    let folder = Folder::new();
    let read = |lines: &str| folder.follower(&format!("{FOLLOWER}\n[snapshots]\n{lines}"), &[]);
    let url = |lines: &str| {
        let served = read(lines).unwrap().snapshots.unwrap();
        assert_eq!(served.spool, folder.path("spool"));
        (served.url(&served.address), served.is_open())
    };
    let spool = "spool = \"spool\"\n";
    assert!(folder.follower(FOLLOWER, &[]).unwrap().snapshots.is_none());
    assert_eq!(
        url(&format!("{spool}address = \"127.0.0.1:9711\"\n")),
        ("http://127.0.0.1:9711".to_owned(), false)
    );
    assert_eq!(
        url(&format!("{spool}address = \"agent.example:9711\"\n{TLS}")),
        ("https://agent.example:9711".to_owned(), true)
    );
    assert_eq!(
        url(&format!(
            "{spool}address = \"0.0.0.0:9711\"\nurl = \"https://agent.example/files/\"\n{TLS}"
        )),
        ("https://agent.example/files".to_owned(), true)
    );
    for (lines, refusal) in [
        (
            format!("{spool}address = \"agent.example:9711\"\n"),
            "follower.toml:19: [snapshots] address: other hosts can reach agent.example:9711, and the files of indices would \
             travel in the clear → write 127.0.0.1 for the host; or set cert_file and key_file",
        ),
        (
            format!("{spool}address = \"0.0.0.0:9711\"\n{TLS}"),
            "follower.toml:19: [snapshots] address: nobody can be sent to that address → give `url`",
        ),
        (spool.to_owned(), "follower.toml:17: [snapshots] address: missing"),
        (TLS.to_owned(), "follower.toml:17: [snapshots] spool: missing"),
        (
            format!("{spool}address = \"127.0.0.1:9711\"\nurl = \"agent:1\"\n"),
            "follower.toml:20: [snapshots] url: `agent:1` is not the address of a server",
        ),
        (
            format!("{spool}address = \"127.0.0.1:9711\"\nurl = \"http://me:secret@agent:1\"\n"),
            "follower.toml:20: [snapshots] url: has credentials in it → leave them out",
        ),
        (
            format!("{spool}address = \"127.0.0.1:9711\"\nclient_ca_file = \"ca.pem\"\n"),
            "follower.toml:20: [snapshots] client_ca_file: unknown key",
        ),
    ] {
        let error = read(&lines).unwrap_err();
        assert!(error.starts_with(refusal), "{error}\n{refusal}");
    }
}
