//! Who may read which index: the names in a follower's certificate against the operator's rules.
//!
//! Nothing is allowed that no rule allows. Whether an index exists is not told to those who may not read it. Rules can
//! be replaced while streams run: a stream that they no longer allow ends.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slipstream_model::IndexName;
use slipstream_wire::identity::{Identity, from_request};
use tokio::sync::watch;
use tonic::{Request, Status};

use crate::config::AllowRule;
use crate::metrics::{Refusal, refused};

/// A peer whose certificate was checked, by all names that are in it. Any of them may be the one that a rule names.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Vec<Identity>);

impl Caller {
    /// The caller of `request`.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Caller, Status> {
        from_request(request).map(Caller).inspect_err(|status| {
            let peer = request.remote_addr();
            tracing::warn!(
                ?peer,
                reason = status.message(),
                "refused a caller without identity"
            );
            refused(Refusal::Identity);
        })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().enumerate() {
            let between = if place == 0 { "" } else { ", " };
            write!(f, "{between}{name}")?;
        }
        Ok(())
    }
}

/// The rules in force. Clones share them: what one replaces is replaced for all.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    rules: watch::Sender<Arc<[AllowRule]>>,
    /// Another number whenever the rules are others, and in each life of the agent.
    edition: Arc<AtomicU64>,
}

impl Access {
    /// Starts with `rules`.
    pub(crate) fn new(rules: Vec<AllowRule>) -> Self {
        Access {
            rules: watch::Sender::new(rules.into()),
            edition: Arc::new(AtomicU64::new(rand::random())),
        }
    }

    /// Puts other rules in place of the present ones.
    pub(crate) fn replace(&self, rules: Vec<AllowRule>) {
        self.rules.send_replace(rules.into());
        self.edition.store(rand::random(), Ordering::Release);
    }

    /// Which rules these are: what was answered under another edition may be answered otherwise now.
    pub(crate) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// Whether the caller may read an index.
    pub(crate) fn allows(&self, caller: &Caller, index: &str) -> bool {
        allows(&self.rules.borrow(), caller, index)
    }

    /// Refuses what no rule allows, and logs that.
    pub(crate) fn check(&self, caller: &Caller, index: &IndexName) -> Result<(), Status> {
        if self.allows(caller, index.as_str()) {
            return Ok(());
        }
        tracing::warn!(identity = %caller, %index, "refused an index that no rule allows");
        refused(Refusal::NotAllowed);
        Err(denied(caller, index))
    }

    /// Waits until the rules no longer let the caller read the index.
    pub(crate) async fn revoked(&self, caller: &Caller, index: &IndexName) -> Status {
        let mut rules = self.rules.subscribe();
        // Fails only without a sender, and `self` is one.
        let revoked = rules
            .wait_for(|rules| !allows(rules, caller, index.as_str()))
            .await
            .is_ok();
        debug_assert!(revoked, "the sender is borrowed for the wait");
        tracing::warn!(identity = %caller, %index, "the rules no longer allow an open stream");
        refused(Refusal::NotAllowed);
        denied(caller, index)
    }
}

fn allows(rules: &[AllowRule], caller: &Caller, index: &str) -> bool {
    rules.iter().any(|rule| {
        caller.0.contains(&Identity::new(&rule.identity)) && rule.indices.iter().any(|i| i.matches(index))
    })
}

fn denied(caller: &Caller, index: &IndexName) -> Status {
    Status::permission_denied(format!(
        "{caller} may not read the index [{index}]: an [[allow]] rule of the leader agent must name this identity and \
         the index"
    ))
}

#[cfg(test)]
mod tests {
    use slipstream_model::Pattern;
    use tonic::Code;

    use super::*;

    fn caller(names: &[&str]) -> Caller {
        Caller(names.iter().map(|n| Identity::new(n)).collect())
    }

    fn rule(identity: &str, indices: &[&str]) -> AllowRule {
        AllowRule {
            identity: identity.to_owned(),
            indices: indices.iter().map(|i| Pattern::new(*i)).collect(),
        }
    }

    #[test]
    fn nothing_is_allowed_without_a_rule() {
        let access = Access::new(Vec::new());
        let status = access
            .check(&caller(&["f.example"]), &"logs-1".into())
            .unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("f.example"), "{status}");
        assert!(status.message().contains("[logs-1]"), "{status}");
    }

    #[test]
    fn a_rule_lets_its_identity_read_its_indices_and_no_others() {
        let access = Access::new(vec![
            rule("F.example", &["logs-*", "orders"]),
            rule("spiffe://x/G", &["*"]),
        ]);
        assert!(access.allows(&caller(&["f.EXAMPLE"]), "logs-1"));
        assert!(access.allows(&caller(&["other", "f.example"]), "orders"));
        assert!(!access.allows(&caller(&["f.example"]), "orders-2"));
        assert!(!access.allows(&caller(&["g.example"]), "logs-1"));
        assert!(access.allows(&caller(&["spiffe://x/G"]), "anything"));
        assert!(
            !access.allows(&caller(&["spiffe://x/g"]), "anything"),
            "URIs compare byte for byte"
        );
    }

    #[tokio::test]
    async fn replaced_rules_count_at_once_and_reach_open_streams() {
        let access = Access::new(vec![rule("f", &["a", "b"])]);
        let (who, a, b) = (caller(&["f"]), "a".into(), "b".into());
        let revoked = access.revoked(&who, &a);
        tokio::pin!(revoked);
        access.replace(vec![rule("f", &["b"])]);
        assert_eq!(revoked.await.code(), Code::PermissionDenied);
        assert!(access.check(&who, &a).is_err());
        assert!(access.check(&who, &b).is_ok());
    }
}
