//! How fast a follower that was away catches up from the translog, against the best plain loader into the same target.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::agents::{self, Agents, Reader, Setup};
use crate::documents;
use crate::load::{self, Load};
use crate::output::aside;
use crate::plan::Plan;
use crate::process::Process;
use crate::report::{Goal, Measured, Row, Unit};
use crate::rest::within;
use crate::spread::Spread;
use crate::world::World;

/// The speed of catching up should be at least this share of the loader's.
const GOAL: f64 = 0.9;
/// No flush takes operations out of a translog below this size.
const KEPT: &str = "4gb";
/// How long that may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(10);
/// Processor time is given for this many operations.
const UNIT_OPS: f64 = 1_000_000.0;
/// Whose.
const NAMES: [&str; 4] = ["leader agent", "leader's JVM", "follower agent", "target's JVM"];

/// Measures each number of shards.
pub(super) async fn measure(world: &World, plan: &Plan) -> Result<Measured> {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for &shards in plan.shards {
        let case = Case::measure(world, plan, shards).await?;
        notes.push(case.note());
        rows.extend(case.rows());
    }
    Ok(Measured {
        title: "Translog reader: catching up".to_owned(),
        how: format!(
            "An index is followed and paused while it is empty; then {} documents are written to the leader. The clock \
             runs from `_resume` until the durable checkpoints of the follower are the leader's; the loader's from its \
             first bulk to the last answer, with the index created and the bodies ready in memory. Both end with every document \
             counted, and both have been run before without being timed. *Kept* leaves the leader's translog alone (`flush_threshold_size` is {KEPT}; the engines' own \
             default of 512 MB would hold as much). *Flushed* is a second follower, as far behind, that resumes after a \
             `_flush` has dropped all of it. Processor time is for a million operations, kept; *busy* is what all four processes \
             have used, in shares of a core: where that is all there are, each second of the agents is taken from the target, and the \
             target's own time, loaded and replicated, tells what would be left of the ratio with cores for both. {} {}.",
            plan.catch_up_docs,
            world.cores("The target's JVM", "both agents, the leader's JVM and the loader"),
            notes.join(". ")
        ),
        rows,
    })
}

/// One number of shards.
struct Case {
    shards: u32,
    load: Load,
    kept: Spread,
    flushed: Spread,
    loaded: Spread,
    ratios: [Spread; 2],
    costs: [Spread; 4],
    /// Of the target's JVM, under the loader.
    loaders_cost: Spread,
    /// Cores that were busy while catching up.
    busy: Spread,
    /// What the target needs for the loader's documents, as a share of what it needs for ours.
    targets: Spread,
    readers: [BTreeSet<String>; 2],
}

impl Case {
    async fn measure(world: &World, plan: &Plan, shards: u32) -> Result<Case> {
        let docs = plan.catch_up_docs;
        let setup = Setup {
            reader: Reader::Translog,
            ..Setup::default()
        };
        let agents = Agents::start(world, setup).await?;
        let elsewhere = [
            world.leader.jvm()?,
            agents.leader.process(),
            agents.follower.process(),
            Process::own(),
        ];
        let _apart = world.apart([&elsewhere, &[world.target.jvm()?]])?;
        // Finding the best shape warms the target up.
        let load = Load::best(&world.target.rest, docs, shards, plan.shapes).await?;
        let mut case = Case {
            shards,
            load,
            kept: Spread::default(),
            flushed: Spread::default(),
            loaded: Spread::default(),
            ratios: Default::default(),
            costs: Default::default(),
            loaders_cost: Spread::default(),
            busy: Spread::default(),
            targets: Spread::default(),
            readers: Default::default(),
        };
        // And this warms up what replication takes of it: explicit versions have a path of their own in the engine.
        Behind::make(world, &agents, docs, shards)
            .await?
            .warm(world, &agents)
            .await?;
        for sample in 0..plan.samples {
            case.sample(world, &agents, docs, sample).await?;
        }
        Ok(case)
    }

    async fn sample(&mut self, world: &World, agents: &Agents, docs: u64, sample: usize) -> Result<()> {
        let behind = Behind::make(world, agents, docs, self.shards).await?;
        let [kept, flushed] = &behind.copies;
        let mut times = [Duration::ZERO; 2];
        // Of the target, replicated and loaded.
        let mut targets = [0.0; 2];
        let for_a_unit = |time: Duration| time.as_secs_f64() * UNIT_OPS / docs as f64;
        // Each goes first in turn.
        for part in [sample % 2, (sample + 1) % 2] {
            if part == 1 {
                // As the follower's index, it is there before the clock starts.
                let (target, index) = (&world.target.rest, world.name("loaded"));
                self.load.create(target, &index).await?;
                let jvm = world.target.jvm()?;
                let before = jvm.cpu()?;
                times[1] = self.load.run_into(target, &index).await?;
                targets[1] = for_a_unit(jvm.cpu()?.saturating_sub(before));
                self.loaders_cost.add(targets[1]);
                continue;
            }
            let processes = [
                agents.leader.process(),
                world.leader.jvm()?,
                agents.follower.process(),
                world.target.jvm()?,
            ];
            let before = processes.map(Process::cpu);
            times[0] = behind.resume(world, agents, kept, &mut self.readers[0]).await?;
            let mut all = Duration::ZERO;
            for ((before, process), costs) in before.into_iter().zip(processes).zip(&mut self.costs) {
                let cost = process.cpu()?.saturating_sub(before?);
                all += cost;
                // The target comes last.
                targets[0] = for_a_unit(cost);
                costs.add(targets[0]);
            }
            self.busy.add(all.as_secs_f64() / times[0].as_secs_f64());
            world.calm().await?;
        }
        let flush = format!("/{}/_flush", behind.index);
        world.leader.rest.post(&flush, &json!({})).await?;
        let without = behind
            .resume(world, agents, flushed, &mut self.readers[1])
            .await?;
        behind.clear(world, agents).await?;

        let [kept, loaded] = times.map(|time| docs as f64 / time.as_secs_f64());
        let flushed = docs as f64 / without.as_secs_f64();
        aside(&format!(
            "         {} shards: {kept:.0}/s kept, {flushed:.0}/s flushed, loader {loaded:.0}/s; read by {:?}",
            self.shards, self.readers
        ));
        self.kept.add(kept);
        self.flushed.add(flushed);
        self.loaded.add(loaded);
        self.ratios[0].add(kept / loaded);
        self.ratios[1].add(flushed / loaded);
        self.targets.add(targets[1] / targets[0]);
        Ok(())
    }

    fn name(&self) -> String {
        if self.shards == 1 {
            "1 shard".to_owned()
        } else {
            format!("{} shards", self.shards)
        }
    }

    /// Who read, and how the loader loaded.
    fn note(&self) -> String {
        let readers = |at: usize| {
            let names: Vec<&str> = self.readers[at].iter().map(String::as_str).collect();
            names.join(" and ")
        };
        format!(
            "{}: kept was served by {}, flushed by {}; the loader sent {} documents a bulk on {} connections",
            self.name(),
            readers(0),
            readers(1),
            self.load.shape().batch,
            self.load.shape().parallel
        )
    }

    fn rows(self) -> Vec<Row> {
        let name = self.name();
        let [kept, flushed] = self.ratios;
        let mut rows = vec![
            Row::new(
                format!("Catching up, translog kept / loader, {name}"),
                Unit::Ratio,
                kept,
            )
            .goal(Goal::AtLeast(GOAL)),
            Row::new(
                format!("Catching up, translog flushed / loader, {name}"),
                Unit::Ratio,
                flushed,
            ),
            Row::new(
                format!("Catching up, target's processor time: loader / kept, {name}"),
                Unit::Ratio,
                self.targets,
            ),
            Row::new(format!("{name}: kept, operations"), Unit::PerSecond, self.kept),
            Row::new(
                format!("{name}: flushed, operations"),
                Unit::PerSecond,
                self.flushed,
            ),
            Row::new(format!("{name}: loader, documents"), Unit::PerSecond, self.loaded),
        ];
        rows.push(Row::new(format!("{name}: busy, kept"), Unit::Core, self.busy));
        rows.extend(
            NAMES.into_iter().zip(self.costs).map(|(who, cost)| {
                Row::new(format!("{name}: processor time, {who}"), Unit::CpuSeconds, cost)
            }),
        );
        rows.push(Row::new(
            format!("{name}: processor time, target's JVM, loader"),
            Unit::CpuSeconds,
            self.loaders_cost,
        ));
        rows
    }
}

/// An index of the leader, and two copies that have nothing of it yet.
struct Behind {
    index: String,
    copies: [String; 2],
    docs: u64,
}

impl Behind {
    async fn make(world: &World, agents: &Agents, docs: u64, shards: u32) -> Result<Behind> {
        let leader = &world.leader.rest;
        let index = world.name("behind");
        let mut definition = documents::index(shards);
        definition["settings"]["translog.flush_threshold_size"] = json!(KEPT);
        leader.put(&format!("/{index}"), &definition).await?;
        let copies = [world.name("behind-kept"), world.name("behind-flushed")];
        for copy in &copies {
            agents.follow(copy, &index).await?;
            agents.served_by(Reader::Translog, copy).await?;
            agents.pause(copy).await?;
        }
        load::write(leader, &index, docs).await?;
        leader.count(&index).await?;
        world.calm().await?;
        Ok(Behind { index, copies, docs })
    }

    /// How long one of the copies takes to become equal, and which readers served it meanwhile.
    async fn resume(
        &self,
        world: &World,
        agents: &Agents,
        copy: &str,
        readers: &mut BTreeSet<String>,
    ) -> Result<Duration> {
        let begun = Instant::now();
        agents.resume(copy).await?;
        let time = within(PATIENCE, &format!("[{copy}] to catch up"), async || {
            let shards = agents.shards(copy).await?;
            readers.extend(shards.iter().filter_map(reader));
            Ok((agents::reached(&shards) >= self.docs).then(|| begun.elapsed()))
        })
        .await?;
        let count = world.target.rest.count(copy).await?;
        ensure!(
            count == self.docs,
            "[{copy}] has {count} documents after catching up with {}",
            self.docs
        );
        Ok(time)
    }

    /// Both copies catch up, with nobody looking at how long that takes.
    async fn warm(self, world: &World, agents: &Agents) -> Result<()> {
        for copy in &self.copies {
            self.resume(world, agents, copy, &mut BTreeSet::new()).await?;
        }
        self.clear(world, agents).await
    }

    async fn clear(self, world: &World, agents: &Agents) -> Result<()> {
        for copy in &self.copies {
            agents.leave(&world.target.rest, copy).await?;
        }
        world.leader.rest.delete_index(&self.index).await?;
        world.calm().await
    }
}

/// The name of the reader that serves a shard, if one does.
fn reader(shard: &Value) -> Option<String> {
    let (name, _) = shard["reader"].as_str()?.split_once(':')?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_status_tells_its_reader() {
        let shard = json!({ "reader": "translog: the primary on node [a]" });
        assert_eq!(reader(&shard), Some("translog".to_owned()));
        assert_eq!(reader(&json!({ "reader": null })), None);
    }
}
