//! Who may do what at the gateway, and the record of who did.
//!
//! One layer stands in front of every route ([`layer`]): it finds out who the caller is, compares what he may do with what the route
//! needs ([`needs`]), and writes changes into the audit log. A route cannot forget it, and a route that the table does not know needs the
//! highest role. In front of that, another layer refuses what a browser sends for somebody else's page ([`sites`]).
//!
//! Credentials in the `Authorization` header go before a certificate: who shows both wants to be the former, and wrong ones are refused
//! even with a good certificate. Nothing about a caller is found out by his address.

mod audit;
mod layer;
pub(crate) mod needs;
mod principal;
mod role;
pub(crate) mod sites;
mod target;
mod users;
mod verdicts;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use slipstream_cluster::Secret;
use slipstream_model::words::chain;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub(crate) use layer::admit;
pub(crate) use principal::{Peer, Principal, Proof, Unknown};
pub use role::{AllowRule, Role, Whom};
pub use target::TargetSecurity;
#[cfg(test)]
pub(crate) use users::hash;
pub use users::{Users, UsersError, hash_password, is_name};

use self::audit::Audit;
use self::principal::basic;
use self::role::Rights;
use self::verdicts::{BAD, GOOD, Verdicts};

/// Passwords that are hashed at once: each takes a core for a moment, and replication needs some too.
const HASHING: usize = 2;
/// Callers that the target is asked about at once.
const ASKING: usize = 16;

/// Who says who a caller is.
#[derive(Debug, Clone)]
pub enum Authority {
    /// Nobody: whoever reaches the gateway may do everything.
    Nobody,
    /// Certificates only.
    Certificates,
    /// The gateway's own users, beside certificates.
    Users,
    /// The target's security, beside certificates.
    Target(TargetSecurity),
}

/// What can change while the gateway serves.
#[derive(Debug, Clone, Default)]
pub struct AccessRules {
    /// Who may do what.
    pub allow: Vec<AllowRule>,
    /// The gateway's own users, for [`Authority::Users`].
    pub users: Users,
}

/// How access is controlled.
#[derive(Debug, Clone)]
pub struct AccessConfig {
    /// Who says who a caller is.
    pub authority: Authority,
    /// What follows from that.
    pub rules: AccessRules,
    /// Where changes are recorded, beside the log.
    pub audit_file: Option<PathBuf>,
    /// Whether only names of this host may stand in the address that a caller used: what keeps a web page from
    /// reaching a gateway without users through a name of its own that leads here.
    pub this_host_only: bool,
}

/// Access to one gateway. Clones share everything.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    authority: Authority,
    rules: ArcSwap<AccessRules>,
    this_host_only: bool,
    /// Somebody by his credentials; `None` if nobody is known by them.
    who: Verdicts<Option<Arc<Principal>>>,
    /// Whether somebody may operate an index, by credentials and index.
    operates: Verdicts<bool>,
    hashing: Semaphore,
    asking: Semaphore,
    audit: Arc<Audit>,
    changes: TaskTracker,
}

impl Access {
    /// Access as configured.
    ///
    /// # Errors
    /// If the audit file cannot be written.
    pub fn new(config: AccessConfig) -> io::Result<Access> {
        let audit = Audit::open(config.audit_file)?;
        Ok(Access::with(
            config.authority,
            config.rules,
            config.this_host_only,
            audit,
        ))
    }

    /// Access for everybody, who may do everything, under names of this host; changes are recorded in the log only.
    pub fn of_this_host() -> Access {
        Access::with(Authority::Nobody, AccessRules::default(), true, Audit::in_log())
    }

    fn with(authority: Authority, rules: AccessRules, this_host_only: bool, audit: Audit) -> Access {
        Access(Arc::new(Shared {
            authority,
            rules: ArcSwap::from_pointee(rules),
            this_host_only,
            who: Verdicts::new(),
            operates: Verdicts::new(),
            hashing: Semaphore::new(HASHING),
            asking: Semaphore::new(ASKING),
            audit: Arc::new(audit),
            changes: TaskTracker::new(),
        }))
    }

    /// Other rules from now on; what was found out under the old ones is forgotten.
    pub fn reload(&self, rules: AccessRules) {
        self.0.rules.store(Arc::new(rules));
        self.0.who.clear();
        self.0.operates.clear();
    }

    /// Waits until changes have been carried through whose callers hung up.
    pub(crate) async fn ended(&self, limit: Duration) {
        self.0.changes.close();
        if tokio::time::timeout(limit, self.0.changes.wait()).await.is_err() {
            tracing::warn!("changes under way were cut off at the end");
        }
    }

    /// Who a request comes from.
    async fn who(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Arc<Principal>, Unknown> {
        let shared = &*self.0;
        if matches!(shared.authority, Authority::Nobody) {
            let everything = Rights::everywhere(Role::Administer);
            return Ok(Arc::new(Principal::new("anonymous", Proof::None, everything)));
        }
        if let Some(shown) = self.credentials(headers) {
            return self.by_header(&shown).await;
        }
        let identities = peer.map(|peer| &*peer.identities).unwrap_or_default();
        let first = identities.first().ok_or(Unknown::Nothing)?;
        let rules = shared.rules.load();
        let mut named = None;
        let mine = rules.allow.iter().filter(|rule| match &rule.whom {
            Whom::Identity(identity) if identities.contains(identity) => {
                named.get_or_insert(identity);
                true
            }
            _ => false,
        });
        let rights = Rights::of(mine);
        let name = named.unwrap_or(first).as_str();
        Ok(Arc::new(Principal::new(name, Proof::Certificate, rights)))
    }

    /// What a request shows for us to check.
    fn credentials(&self, headers: &HeaderMap) -> Option<Secret> {
        match self.0.authority {
            Authority::Users | Authority::Target(_) => {
                let value = headers.get(header::AUTHORIZATION)?;
                // What is not text is no credentials of anybody.
                Some(Secret::new(value.to_str().unwrap_or_default()))
            }
            Authority::Nobody | Authority::Certificates => None,
        }
    }

    async fn by_header(&self, shown: &Secret) -> Result<Arc<Principal>, Unknown> {
        let shared = &*self.0;
        let wrong = || Unknown::Wrong(basic(shown).map(|(name, _)| name));
        if let Some(known) = shared.who.get(&[shown.expose()]) {
            return known.ok_or_else(wrong);
        }
        let found = match &shared.authority {
            Authority::Target(target) => self.ask(target, shown).await?,
            _ => self.look_up(shown).await?,
        };
        let found = found.map(Arc::new);
        if found.is_none() {
            let name = basic(shown).map(|(name, _)| name);
            tracing::warn!(target: audit::TARGET, who = name, "wrong credentials");
        }
        let counts = if found.is_some() { GOOD } else { BAD };
        shared.who.keep(&[shown.expose()], found.clone(), counts);
        found.ok_or_else(wrong)
    }

    async fn ask(&self, target: &TargetSecurity, shown: &Secret) -> Result<Option<Principal>, Unknown> {
        let rules = self.0.rules.load_full();
        let _place = self.0.asking.acquire().await.map_err(ending)?;
        match target.ask(shown, &rules.allow).await {
            Ok(known) => Ok(Some(Principal {
                name: known.caller.name,
                shown: known.caller.shown,
                proof: Proof::Target,
                rights: known.rights,
                by_index: known.by_index,
            })),
            Err(error) if target::is_unknown(&error) => Ok(None),
            Err(error) => Err(Unknown::Unanswered(format!(
                "the target cannot tell who you are: {}",
                chain(&error)
            ))),
        }
    }

    async fn look_up(&self, shown: &Secret) -> Result<Option<Principal>, Unknown> {
        let Some((name, password)) = basic(shown) else {
            return Ok(None);
        };
        let rules = self.0.rules.load_full();
        let _place = self.0.hashing.acquire().await.map_err(ending)?;
        let checked = tokio::task::spawn_blocking(move || {
            let fits = rules.users.check(&name, password.expose());
            fits.then(|| {
                let mine = |rule: &&AllowRule| matches!(&rule.whom, Whom::User(user) if *user == name);
                Principal::new(
                    &name,
                    Proof::Password,
                    Rights::of(rules.allow.iter().filter(mine)),
                )
            })
        });
        checked.await.map_err(ending)
    }

    /// Whether somebody may do this.
    async fn may(
        &self,
        who: &Principal,
        headers: &HeaderMap,
        role: Role,
        index: Option<&str>,
    ) -> Result<bool, Unknown> {
        if !who.rights.suffice(role, index) {
            return Ok(false);
        }
        let (true, Role::Operate, Some(index)) = (who.by_index, role, index) else {
            return Ok(true);
        };
        let (Authority::Target(target), Some(shown)) = (&self.0.authority, self.credentials(headers)) else {
            return Ok(false);
        };
        let about = [shown.expose(), index];
        if let Some(may) = self.0.operates.get(&about) {
            return Ok(may);
        }
        let may = target.may_operate(&shown, index).await.map_err(|error| {
            Unknown::Unanswered(format!(
                "the target cannot tell what you may do: {}",
                chain(&error)
            ))
        })?;
        self.0.operates.keep(&about, may, if may { GOOD } else { BAD });
        Ok(may)
    }
}

fn ending<E>(_: E) -> Unknown {
    Unknown::Unanswered("the agent is ending".to_owned())
}
