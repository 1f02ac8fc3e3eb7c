//! Asking the target's own security who a caller is and what he may do there.
//!
//! On OpenSearch a caller's roles decide, as the rules name them. On Elasticsearch, where no rule names roles, his privileges do:
//! `monitor` is looking, `manage_ccr` operating, `manage` administering, and to operate an index he also needs `manage_follow_index` on it.

use slipstream_cluster::{Caller, Cluster, ClusterError, Engine, ErrorKind, Privileges, Secret};

use super::role::{AllowRule, Rights, Role, Whom};

/// Roles of OpenSearch's security that count where no rule names any.
const STOCK: [(&str, Role); 3] = [
    ("all_access", Role::Administer),
    ("cross_cluster_replication_follower_full_access", Role::Operate),
    ("readall_and_monitor", Role::View),
];

/// The target, as callers are checked against it.
#[derive(Debug, Clone)]
pub struct TargetSecurity {
    callers: Cluster,
    agent: Cluster,
}

/// Somebody whom the target knows.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) caller: Caller,
    pub(super) rights: Rights,
    /// Whether the engine is to be asked about each index that he operates.
    pub(super) by_index: bool,
}

impl TargetSecurity {
    /// `callers` reaches the target without credentials and without a client certificate of its own; `agent` is the agent's own way to
    /// it, which tells what engine it is.
    pub fn new(callers: Cluster, agent: Cluster) -> Self {
        TargetSecurity { callers, agent }
    }

    /// Who shows this.
    pub(super) async fn ask(&self, shown: &Secret, rules: &[AllowRule]) -> Result<Known, ClusterError> {
        let engine = self.agent.identity().await?.engine;
        let caller = self.callers.authenticate(engine, Some(shown)).await?;
        let named = |rule: &&AllowRule| matches!(rule.whom, Whom::TargetRole(_));
        if rules.iter().any(|rule| named(&rule)) {
            let rights = Rights::of(rules.iter().filter(|rule| match &rule.whom {
                Whom::TargetRole(role) => caller.roles.contains(role),
                _ => false,
            }));
            return Ok(Known {
                caller,
                rights,
                by_index: false,
            });
        }
        let role = match engine {
            Engine::OpenSearch => STOCK
                .iter()
                .filter(|(name, _)| caller.roles.iter().any(|role| role == name))
                .map(|(_, role)| *role)
                .max(),
            Engine::Elasticsearch => self.by_privileges(shown).await?,
        };
        Ok(Known {
            caller,
            rights: role.map(Rights::everywhere).unwrap_or_default(),
            by_index: engine == Engine::Elasticsearch && role == Some(Role::Operate),
        })
    }

    async fn by_privileges(&self, shown: &Secret) -> Result<Option<Role>, ClusterError> {
        let asked = [
            ("manage", Role::Administer),
            ("manage_ccr", Role::Operate),
            ("monitor", Role::View),
        ];
        let privileges = Privileges {
            cluster: &asked.map(|(name, _)| name),
            ..Privileges::default()
        };
        let lacks = self.callers.lacks(Some(shown), privileges).await?;
        let has = |name: &str| !lacks.iter().any(|lacking| lacking == name);
        Ok(asked.iter().find(|(name, _)| has(name)).map(|(_, role)| *role))
    }

    /// Whether the engine lets him manage a follower of this name.
    pub(super) async fn may_operate(&self, shown: &Secret, index: &str) -> Result<bool, ClusterError> {
        let privileges = Privileges {
            index,
            on_index: &["manage_follow_index"],
            ..Privileges::default()
        };
        Ok(self.callers.lacks(Some(shown), privileges).await?.is_empty())
    }
}

/// Whether the target knows nobody by these credentials, rather than not answering.
pub(super) fn is_unknown(error: &ClusterError) -> bool {
    matches!(error.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden)
}
