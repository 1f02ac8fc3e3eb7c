//! Which layout the records of a store have, and how an older one becomes the newest.
//!
//! The number stands in the store itself, under `meta`. A store from a later release is refused: its records would be
//! misread. One from an earlier release is brought up step by step when it is opened, each step in one synced batch
//! together with its new number, so that a crash leaves it before or after a step and never within.
//!
//! To change the layout: raise [`KNOWN`], append to [`STEPS`] what rewrites the layout before, and keep a test that
//! opens a store of that layout. A new field with a `serde` default needs no new schema.

use rocksdb::WriteBatch;

use crate::engine::Engine;
use crate::error::{Malformed, Result, StoreError};
use crate::tuning::Family;

/// The newest schema that this release knows, and the one that it writes.
pub(crate) const KNOWN: u32 = 1;

/// Key of the schema under `meta`, its value the number in decimal digits.
const KEY: &[u8] = b"schema";

/// Collects what turns every record of one schema into the next.
type Step = fn(&Engine) -> Result<WriteBatch>;

/// The steps; the first leads from schema 1 to 2.
const STEPS: [Step; KNOWN as usize - 1] = [];

/// The store's schema, `None` if it has no records yet.
pub(crate) fn found(engine: &Engine) -> Result<Option<u32>> {
    let action = || "reading its schema".to_owned();
    let Some(value) = engine.get(Family::Meta, KEY, action)? else {
        return Ok(None);
    };
    let number = std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| {
        StoreError::corrupt(
            engine.path(),
            action(),
            Malformed("the schema is not a number from 1 up"),
        )
    })
}

/// Adds the schema `number` to a batch.
pub(crate) fn put(engine: &Engine, batch: &mut WriteBatch, number: u32) -> Result<()> {
    batch.put_cf(engine.family(Family::Meta)?, KEY, number.to_string());
    Ok(())
}

/// Brings a store of schema `found` to the newest.
pub(crate) fn bring_up_to_date(engine: &Engine, found: u32) -> Result<()> {
    follow(engine, found, &STEPS)
}

fn follow(engine: &Engine, found: u32, steps: &[Step]) -> Result<()> {
    let known = steps.len() as u32 + 1;
    if found > known {
        return Err(StoreError::NewerSchema {
            path: engine.path().to_path_buf(),
            found,
            known,
        });
    }
    for (number, step) in (2..).zip(steps).skip(found as usize - 1) {
        let mut batch = step(engine)?;
        put(engine, &mut batch, number)?;
        engine.write_synced(batch, || format!("raise its schema to {number}"))?;
        tracing::info!(path = %engine.path().display(), schema = number, "store upgraded");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuning;

    fn engine(folder: &tempfile::TempDir) -> Engine {
        Engine::open(folder.path(), &tuning::database(true), false).unwrap()
    }

    fn schema(engine: &Engine, number: u32) {
        let mut batch = WriteBatch::default();
        put(engine, &mut batch, number).unwrap();
        engine.write_synced(batch, String::new).unwrap();
    }

    fn mark(engine: &Engine, name: &str) -> Result<WriteBatch> {
        let mut batch = WriteBatch::default();
        batch.put_cf(engine.family(Family::Meta)?, name, "done");
        Ok(batch)
    }

    fn done(engine: &Engine, name: &str) -> bool {
        engine
            .get(Family::Meta, name.as_bytes(), String::new)
            .unwrap()
            .is_some()
    }

    const TWO_STEPS: [Step; 2] = [|e| mark(e, "to 2"), |e| mark(e, "to 3")];

    #[test]
    fn an_older_store_goes_through_the_steps_it_lacks_and_only_those() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder);
        assert_eq!(found(&engine).unwrap(), None);
        schema(&engine, 2);
        follow(&engine, 2, &TWO_STEPS).unwrap();
        assert_eq!(found(&engine).unwrap(), Some(3));
        assert!(!done(&engine, "to 2") && done(&engine, "to 3"));
    }

    #[test]
    fn a_failed_step_leaves_the_store_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder);
        schema(&engine, 1);
        let broken: [Step; 2] = [
            |e| mark(e, "to 2"),
            |e| Err(StoreError::corrupt(e.path(), "upgrading", Malformed("no"))),
        ];
        follow(&engine, 1, &broken).unwrap_err();
        assert_eq!(found(&engine).unwrap(), Some(2));
        follow(&engine, 2, &TWO_STEPS).unwrap();
        assert_eq!(found(&engine).unwrap(), Some(3));
    }

    #[test]
    fn a_newer_schema_is_refused_and_nonsense_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(&folder);
        assert!(matches!(
            bring_up_to_date(&engine, KNOWN + 1),
            Err(StoreError::NewerSchema { found, known: KNOWN, .. }) if found == KNOWN + 1
        ));
        for nonsense in ["", "0", "one", "-1"] {
            let mut batch = WriteBatch::default();
            batch.put_cf(engine.family(Family::Meta).unwrap(), KEY, nonsense);
            engine.write_synced(batch, String::new).unwrap();
            assert!(
                matches!(found(&engine), Err(StoreError::Corrupt { .. })),
                "{nonsense:?}"
            );
        }
    }
}
