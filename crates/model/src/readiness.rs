//! Whether an agent can do its work, part by part: what `/readyz` answers on both agents.

use serde::Serialize;

/// One thing that an agent works with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// What it is called in the answer.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// Whether the agent is of no use without it. What another agent or an operator has to mend is shown, and does not
    /// take this one out of service.
    pub needed: bool,
    /// Why it does not work, or what it does less well than it could.
    pub reason: Option<String>,
}

impl Component {
    /// Something without which the agent is of no use.
    pub fn needed(name: impl Into<String>, found: Result<(), String>) -> Self {
        Component {
            name: name.into(),
            ok: found.is_ok(),
            needed: true,
            reason: found.err(),
        }
    }

    /// Something that is to be shown.
    pub fn shown(name: impl Into<String>, found: Result<(), String>) -> Self {
        Component {
            needed: false,
            ..Component::needed(name, found)
        }
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether everything needed works.
    pub ready: bool,
    /// What the agent works with.
    pub components: Vec<Component>,
}

impl Readiness {
    /// What these components amount to.
    pub fn of(components: Vec<Component>) -> Self {
        Readiness {
            ready: components
                .iter()
                .all(|component| component.ok || !component.needed),
            components,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_takes_an_agent_out_of_service() {
        let away = || Err("away".to_owned());
        let good = vec![
            Component::needed("store", Ok(())),
            Component::shown("leader", away()),
        ];
        assert!(Readiness::of(good.clone()).ready);
        let bad = [good, vec![Component::needed("target", away())]].concat();
        assert!(!Readiness::of(bad).ready);
    }
}
