//! What somebody may do: a role, on all indices or on some.

use std::fmt;

use slipstream_model::Pattern;
use slipstream_wire::identity::Identity;

/// How much somebody may do. Each includes the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look: status, statistics, metrics, the status page.
    View,
    /// Start, stop, pause, resume, change and compare what follows, and make auto-follow rules.
    Operate,
    /// Register leaders and set what holds for all of them.
    Administer,
}

impl Role {
    /// Reads what an operator writes.
    pub fn parse(text: &str) -> Option<Role> {
        [Role::View, Role::Operate, Role::Administer]
            .into_iter()
            .find(|role| role.as_str() == text)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::View => "view",
            Role::Operate => "operate",
            Role::Administer => "administer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is meant by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// A name in the caller's certificate.
    Identity(Identity),
    /// A role that the target's security says the caller has.
    TargetRole(String),
    /// A user of the gateway's own.
    User(String),
}

/// One `[[allow]]` of a follower agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowRule {
    /// Who.
    pub whom: Whom,
    /// What they may do.
    pub role: Role,
    /// On which following indices, if not on all; for [`Role::Operate`] only.
    pub indices: Option<Vec<Pattern>>,
}

/// All that somebody may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    everywhere: Option<Role>,
    operates: Vec<Pattern>,
}

impl Rights {
    /// A role on everything.
    pub(crate) fn everywhere(role: Role) -> Rights {
        Rights {
            everywhere: Some(role),
            operates: Vec::new(),
        }
    }

    /// What these rules add up to.
    pub(crate) fn of<'a>(rules: impl Iterator<Item = &'a AllowRule>) -> Rights {
        let mut rights = Rights::default();
        for rule in rules {
            match &rule.indices {
                None => rights.everywhere = rights.everywhere.max(Some(rule.role)),
                Some(indices) => rights.operates.extend(indices.iter().cloned()),
            }
        }
        rights
    }

    /// Whether they suffice for `role`, on `index` if it is about one.
    pub(crate) fn suffice(&self, role: Role, index: Option<&str>) -> bool {
        self.everywhere >= Some(role)
            || match (role, index) {
                (Role::View, _) => !self.operates.is_empty(),
                (Role::Operate, Some(index)) => self.operates.iter().any(|pattern| pattern.matches(index)),
                (Role::Operate, None) | (Role::Administer, _) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(role: Role, indices: Option<&[&str]>) -> AllowRule {
        AllowRule {
            whom: Whom::User("u".to_owned()),
            role,
            indices: indices.map(|all| all.iter().map(|index| Pattern::new(*index)).collect()),
        }
    }

    #[test]
    fn each_role_includes_the_ones_before() {
        let operate = Rights::everywhere(Role::Operate);
        assert!(operate.suffice(Role::View, None) && operate.suffice(Role::Operate, Some("a")));
        assert!(!operate.suffice(Role::Administer, None));
        assert!(!Rights::default().suffice(Role::View, None));
    }

    #[test]
    fn rules_add_up_and_some_indices_are_not_all() {
        let rules = [
            rule(Role::Operate, Some(&["logs-*"])),
            rule(Role::Operate, Some(&["a"])),
        ];
        let rights = Rights::of(rules.iter());
        assert!(
            rights.suffice(Role::View, Some("other")),
            "who operates some may look at all"
        );
        assert!(rights.suffice(Role::Operate, Some("logs-1")) && rights.suffice(Role::Operate, Some("a")));
        assert!(!rights.suffice(Role::Operate, Some("b")));
        assert!(!rights.suffice(Role::Operate, None), "a rule may start any index");
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        assert_eq!(Role::parse("operate"), Some(Role::Operate));
        assert_eq!(Role::parse("Operate"), None);
    }
}
