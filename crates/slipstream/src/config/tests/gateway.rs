//! `[gateway]`: whom it listens to, and who may do what.

use slipstream_gateway::{Role, Whom};

use super::*;

#[test]
fn a_gateway_that_other_hosts_reach_needs_the_operators_word() {
    let folder = Folder::new();
    let open = FOLLOWER.replacen("127.0.0.1:9710", "0.0.0.0:9710", 1);
    let error = folder.follower(&open, &[]).unwrap_err();
    assert!(
        error.starts_with("follower.toml:7: [gateway] address: other hosts can reach 0.0.0.0:9710"),
        "{error}"
    );
    assert!(error.contains("trust_network = true"), "{error}");
    let trusting = open.replacen("proxy = true", "trust_network = true", 1);
    assert!(folder.follower(&trusting, &[]).unwrap().gateway.trust_network);
}

const HTTPS: &str = "cert_file = \"agent.pem\"\nkey_file = \"agent.key\"";

/// A follower's file with these lines in `[gateway]` and these sections at the end.
fn gateway(lines: &str, sections: &str) -> String {
    FOLLOWER.replacen("proxy = true", lines, 1) + sections
}

#[test]
fn other_hosts_may_reach_a_gateway_that_asks_who_they_are() {
    let folder = Folder::new();
    let open = |lines: &str| {
        let text = gateway(lines, "").replacen("127.0.0.1:9710", "0.0.0.0:9710", 1);
        folder.follower(&text, &[])
    };
    for lines in [
        &format!("{HTTPS}\nauth = \"target\""),
        &format!("{HTTPS}\nclient_ca_file = \"ca.pem\""),
        "auth = \"target\"\ntrust_network = true",
    ] {
        assert!(open(lines).is_ok(), "{lines}");
    }
    for (lines, problem) in [
        (HTTPS, "the gateway asks nobody who he is"),
        ("auth = \"target\"", "passwords would travel in the clear"),
    ] {
        let error = open(lines).unwrap_err();
        assert!(
            error.starts_with("follower.toml:7: [gateway] address: other hosts can reach"),
            "{error}"
        );
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn who_may_do_what_at_the_gateway_is_read() {
    let folder = Folder::new();
    let hash = slipstream_gateway::hash_password("s3cret").unwrap();
    std::fs::write(folder.path("users"), format!("# people\nanna:{hash}\n")).unwrap();
    let lines = format!(
        "{HTTPS}\nclient_ca_file = \"ca.pem\"\nauth = \"users\"\nusers_file = \"users\"\naudit_file = \"audit\""
    );
    let rules = "[[allow]]\nuser = \"anna\"\nrole = \"administer\"\n\
                 [[allow]]\nidentity = \"Ops.example\"\nrole = \"operate\"\nindices = [\"logs-*\"]\n";
    let file = folder.follower(&gateway(&lines, rules), &[]).unwrap().gateway;
    assert_eq!(
        (file.auth, file.audit_file),
        (Auth::Users, Some(folder.path("audit")))
    );
    let [anna, ops] = &file.rules.allow[..] else {
        panic!("{:?}", file.rules.allow);
    };
    assert_eq!(
        (&anna.whom, anna.role),
        (&Whom::User("anna".to_owned()), Role::Administer)
    );
    assert_eq!(ops.whom, Whom::Identity(Identity::new("ops.example")));
    assert!(ops.indices.as_ref().unwrap()[0].matches("logs-1"));
    assert!(!format!("{:?}", file.rules).contains(&hash));
    let none = folder.follower(FOLLOWER, &[]).unwrap().gateway;
    assert_eq!(
        (none.auth, none.rules.allow.len(), none.tls.is_some()),
        (Auth::None, 0, false)
    );
}

#[test]
fn access_that_would_not_work_as_meant_is_refused_with_file_line_and_key() {
    let folder = Folder::new();
    std::fs::write(folder.path("users"), "anna:hunter2\n").unwrap();
    let target = "auth = \"target\"";
    for (lines, sections, refusal) in [
        (
            "cert_file = \"agent.pem\"",
            "",
            "follower.toml:8: [gateway] cert_file: TLS needs both `cert_file` and `key_file`",
        ),
        (
            "client_ca_file = \"ca.pem\"",
            "",
            "follower.toml:8: [gateway] client_ca_file: certificates of callers need TLS",
        ),
        (
            "cert_file = \"ca.pem\"\nkey_file = \"agent.key\"",
            "",
            "follower.toml:8: [gateway] cert_file: the private key",
        ),
        (
            "auth = \"none\"",
            "",
            "follower.toml:8: [gateway] auth: expected \"target\" or \"users\"",
        ),
        (
            "auth = \"users\"",
            "",
            "follower.toml:8: [gateway] auth: there is no `users_file`",
        ),
        (
            "users_file = \"users\"",
            "",
            "follower.toml:8: [gateway] users_file: nobody reads this file",
        ),
        (
            "auth = \"users\"\nusers_file = \"users\"",
            "",
            "follower.toml:9: [gateway] users_file: line 1: the hash is none",
        ),
        (
            target,
            "[[allow]]\nrole = \"view\"\n",
            "follower.toml:16: [allow.0]: it is not said who, or said twice",
        ),
        (
            target,
            "[[allow]]\ntarget_role = \"r\"\nrole = \"root\"\n",
            "follower.toml:18: [allow.0] role: expected \"view\", \"operate\" or \"administer\"",
        ),
        (
            target,
            "[[allow]]\ntarget_role = \"r\"\nrole = \"view\"\nindices = [\"a\"]\n",
            "follower.toml:19: [allow.0] indices: the role \"view\" is about all indices",
        ),
        (
            target,
            "[[allow]]\nuser = \"anna\"\nrole = \"view\"\n",
            "follower.toml:17: [allow.0] user: there are no users: set auth = \"users\" in [gateway]",
        ),
        (
            target,
            "[[allow]]\nidentity = \"a.example\"\nrole = \"view\"\n",
            "follower.toml:17: [allow.0] identity: certificates are not looked at",
        ),
        (
            "proxy = true",
            "[[allow]]\ntarget_role = \"r\"\nrole = \"view\"\n",
            "follower.toml:17: [allow.0] target_role: the target is not asked",
        ),
    ] {
        let error = folder.follower(&gateway(lines, sections), &[]).unwrap_err();
        assert!(
            error.starts_with(refusal) && !error.contains("hunter2"),
            "{error}\n{refusal}"
        );
    }
}
