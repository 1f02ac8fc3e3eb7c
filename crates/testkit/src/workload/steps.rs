//! What a writer does next. Decisions depend on the seed alone, never on answers, so that a seed repeats them.

use rand::{RngExt, rngs::ChaCha8Rng};
use serde_json::{Value, json};

use super::{documents, ids};

/// How one document changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// `None` lets the engine choose.
    pub(super) id: Option<String>,
    pub(super) routing: Option<&'static str>,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Create or replace.
    Index(String),
    /// Create only.
    Create(String),
    /// Merge into the source, or create.
    Update(String),
    Delete,
    /// Create or replace under a version of the writer's choice.
    External {
        version: u64,
        equal_is_fine: bool,
        source: String,
    },
    /// Delete under a version of the writer's choice.
    ExternalDelete {
        version: u64,
    },
}

/// One decision of a writer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Many changes in one request.
    Bulk { changes: Vec<Change>, refresh: bool },
    /// One change in a request of its own.
    Single { change: Change, refresh: bool },
    /// A deletion, a pause long enough for the tombstone to go where `gc_deletes` is zero, and a new document.
    Recreate { delete: Change, create: Change },
    /// `PUT IDX/_mapping`.
    Mapping(Value),
    /// `PUT IDX/_settings`.
    Settings(Value),
    /// `POST _aliases`, with the index's name to be filled in.
    Alias(Value),
    /// `_refresh`, `_flush` or `_forcemerge`.
    Upkeep(&'static str),
}

/// A writer's source of decisions.
#[derive(Debug)]
pub(super) struct Decisions {
    random: ChaCha8Rng,
    documents: u32,
    /// Neither refreshes nor flushes nor settings.
    quiet: bool,
    /// No write indices.
    one_cluster: bool,
    /// Grows with each external version, so that most of them are news.
    clock: u64,
}

impl Decisions {
    /// `documents` is the size of the pool of ids.
    pub(super) fn new(random: ChaCha8Rng, documents: u32, quiet: bool, one_cluster: bool) -> Self {
        Self {
            random,
            documents: documents.max(16),
            quiet,
            one_cluster,
            clock: 0,
        }
    }

    /// Which of `count` indices, and what to do there.
    pub(super) fn next(&mut self, count: usize) -> (usize, Step) {
        let index = self.random.random_range(0..count);
        let kind = self.random.random_range(0..1000);
        let step = match kind {
            _ if self.quiet && ((950..968).contains(&kind) || kind >= 984) => self.single(),
            0..450 => self.bulk(),
            450..880 => self.single(),
            880..930 => self.recreate(),
            930..950 => Step::Mapping(documents::mapping_update(&mut self.random)),
            950..968 => Step::Settings(self.settings()),
            968..984 => Step::Alias(self.alias()),
            984..994 => Step::Upkeep("_refresh"),
            994..998 => Step::Upkeep("_flush"),
            _ => Step::Upkeep("_forcemerge?max_num_segments=1"),
        };
        (index, step)
    }

    fn bulk(&mut self) -> Step {
        let count = match self.random.random_range(0..10) {
            0..6 => self.random.random_range(1..20),
            6..9 => self.random.random_range(20..100),
            _ => self.random.random_range(100..400),
        };
        let changes = (0..count).map(|_| self.change(false)).collect();
        Step::Bulk {
            changes,
            refresh: !self.quiet && self.random.random_bool(0.03),
        }
    }

    fn single(&mut self) -> Step {
        Step::Single {
            change: self.change(true),
            refresh: !self.quiet && self.random.random_bool(0.05),
        }
    }

    fn recreate(&mut self) -> Step {
        let delete = Change {
            kind: Kind::Delete,
            ..self.change(true)
        };
        let delete = Change {
            id: delete.id.or_else(|| Some(ids::id(0))),
            ..delete
        };
        let create = Change {
            kind: Kind::Index(documents::pretty(&mut self.random)),
            ..delete.clone()
        };
        Step::Recreate { delete, create }
    }

    fn change(&mut self, alone: bool) -> Change {
        let number = self.document();
        // A fifth of the pool lives by external versions; internal ones there would soon overflow.
        if number % 5 == 4 {
            return self.external(number);
        }
        let kind = match self.random.random_range(0..100) {
            0..45 => Kind::Index(self.source(alone)),
            45..55 => Kind::Create(self.source(alone)),
            55..75 => Kind::Update(documents::part(&mut self.random)),
            75..98 => Kind::Delete,
            _ => {
                return Change {
                    id: None,
                    routing: None,
                    kind: Kind::Index(self.source(alone)),
                };
            }
        };
        Change {
            id: Some(ids::id(number)),
            routing: self.routing(number),
            kind,
        }
    }

    fn external(&mut self, number: u32) -> Change {
        self.clock += 1;
        let version = match self.random.random_range(0..20) {
            0 => self.random.random_range(0..3),
            1 => self.random.random_range(1..1 << 62),
            2 => self.clock.saturating_sub(5),
            _ => self.clock,
        };
        let kind = if self.random.random_bool(0.25) {
            Kind::ExternalDelete { version }
        } else {
            Kind::External {
                version,
                equal_is_fine: self.random.random_bool(0.3),
                source: documents::on_one_line(&mut self.random),
            }
        };
        Change {
            id: Some(ids::id(number)),
            routing: self.routing(number),
            kind,
        }
    }

    fn source(&mut self, alone: bool) -> String {
        if alone && self.random.random_bool(0.4) {
            documents::pretty(&mut self.random)
        } else {
            documents::on_one_line(&mut self.random)
        }
    }

    /// A few documents are hot: changed over and over, many times in one bulk.
    fn document(&mut self) -> u32 {
        if self.random.random_bool(0.2) {
            self.random.random_range(0..5)
        } else {
            self.random.random_range(0..self.documents)
        }
    }

    fn routing(&mut self, number: u32) -> Option<&'static str> {
        if ids::roams(number) {
            let choice = self.random.random_range(0..=ids::ROUTINGS.len());
            return ids::ROUTINGS.get(choice).copied();
        }
        ids::routing(number)
    }

    fn settings(&mut self) -> Value {
        let mut pick = |values: &[Value]| values[self.random.random_range(0..values.len())].clone();
        let which = pick(&[0, 1, 2, 3, 4, 5, 6].map(Value::from));
        match which.as_u64() {
            Some(0 | 1) => {
                json!({"refresh_interval": pick(&[json!("200ms"), json!("1s"), json!("3s"), json!("-1"), Value::Null])})
            }
            Some(2) => {
                json!({"max_result_window": pick(&[json!(10_000), json!(20_000), json!(50_000), Value::Null])})
            }
            Some(3) => json!({"mapping.total_fields.limit": pick(&[json!(1500), json!(2000), Value::Null])}),
            Some(4) => {
                json!({"search.slowlog.threshold.query.warn": pick(&[json!("10s"), json!("20s"), Value::Null])})
            }
            Some(5) => json!({"translog.durability": pick(&[json!("async"), json!("request"), Value::Null])}),
            _ => json!({"max_inner_result_window": pick(&[json!(100), json!(200), Value::Null])}),
        }
    }

    /// Alias actions; `INDEX` stands for the index's name.
    fn alias(&mut self) -> Value {
        let alias = format!("INDEX-alias-{}", self.random.random_range(0..4));
        match self.random.random_range(0..5) {
            0 => json!({"remove": {"index": "INDEX", "alias": alias}}),
            1 => json!({"add": {"index": "INDEX", "alias": alias}}),
            2 => json!({"add": {"index": "INDEX", "alias": alias, "filter": {"term": {"word": "shard"}}}}),
            3 => {
                json!({"add": {"index": "INDEX", "alias": alias, "index_routing": "r1", "search_routing": "r1,r2"}})
            }
            _ if self.one_cluster => json!({"add": {"index": "INDEX", "alias": alias}}),
            _ => {
                json!({"add": {"index": "INDEX", "alias": alias, "is_write_index": self.random.random_bool(0.5)}})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn steps(seed: u64) -> Vec<(usize, Step)> {
        let mut decisions = Decisions::new(ChaCha8Rng::seed_from_u64(seed), 300, false, false);
        (0..2000).map(|_| decisions.next(3)).collect()
    }

    #[test]
    fn a_seed_repeats_its_decisions() {
        let steps_of_7 = steps(7);
        assert!(steps_of_7 == steps(7));
        assert!(steps_of_7 != steps(8));
    }

    #[test]
    fn bulks_hold_nothing_that_they_cannot_carry() {
        for (_, step) in steps(3) {
            let Step::Bulk { changes, .. } = step else {
                continue;
            };
            for change in changes {
                if let Kind::Index(source) | Kind::Create(source) | Kind::External { source, .. } =
                    change.kind
                {
                    assert!(!source.contains('\n'));
                }
            }
        }
    }

    #[test]
    fn quiet_decisions_make_nothing_visible_and_one_cluster_has_no_write_indices() {
        let mut decisions = Decisions::new(ChaCha8Rng::seed_from_u64(1), 300, true, true);
        for _ in 0..2000 {
            match decisions.next(3).1 {
                Step::Settings(_) | Step::Upkeep(_) => panic!("not quiet"),
                Step::Bulk { refresh, .. } | Step::Single { refresh, .. } => assert!(!refresh),
                Step::Alias(action) => assert!(!action.to_string().contains("is_write_index")),
                Step::Recreate { .. } | Step::Mapping(_) => {}
            }
        }
    }

    #[test]
    fn every_kind_of_step_comes_up() {
        let steps = steps(1);
        let has = |wanted: fn(&Step) -> bool| steps.iter().any(|(_, step)| wanted(step));
        assert!(has(|step| matches!(step, Step::Recreate { .. })));
        assert!(has(|step| matches!(step, Step::Mapping(_))));
        assert!(has(|step| matches!(step, Step::Settings(_))));
        assert!(has(|step| matches!(step, Step::Alias(_))));
        assert!(has(|step| matches!(step, Step::Upkeep("_flush"))));
    }
}
