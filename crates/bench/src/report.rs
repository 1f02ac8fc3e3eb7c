//! The report: circumstances first, then what was measured, as Markdown. The file and the terminal get the same text.

use std::fmt::Write as _;
use std::time::Duration;

use crate::args::Args;
use crate::machine::Machine;
use crate::spread::Spread;
use crate::world::World;

/// What one section has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The heading.
    pub(crate) title: String,
    /// How it was measured, and what to keep in mind.
    pub(crate) how: String,
    /// The numbers.
    pub(crate) rows: Vec<Row>,
}

/// One line of a table.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    values: Spread,
    unit: Unit,
    goal: Option<Goal>,
}

/// How values are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// A multiple of something measured beside it, or a given one.
    Ratio,
    /// Seconds, written in milliseconds.
    Seconds,
    /// Seconds of processor time.
    CpuSeconds,
    /// Things a second.
    PerSecond,
    /// Bytes, written in MiB.
    Bytes,
    /// A share of one core, written in percent.
    Core,
}

/// What a median should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

impl Row {
    /// A line without a goal.
    pub(crate) fn new(what: impl Into<String>, unit: Unit, values: Spread) -> Row {
        Row {
            what: what.into(),
            values,
            unit,
            goal: None,
        }
    }

    /// Whether it belongs to the table at the top: others only say what is behind those.
    fn is_headline(&self) -> bool {
        self.goal.is_some() || self.unit == Unit::Ratio
    }

    /// Sets the goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Row {
        self.goal = Some(goal);
        self
    }

    fn text(&self) -> String {
        let (least, greatest) = self.values.ends();
        let show = |value| self.unit.text(value);
        let numbers = format!(
            "| {} | {} | {} – {} | {} |",
            self.what,
            show(self.values.median()),
            show(least),
            show(greatest),
            self.values.len(),
        );
        match self.goal {
            Some(goal) if goal.is_met(self.values.median()) => {
                format!("{numbers} {} | met |\n", goal.text(self.unit))
            }
            Some(goal) => format!("{numbers} {} | **missed** |\n", goal.text(self.unit)),
            None if self.is_headline() => format!("{numbers} – | – |\n"),
            None => format!("{numbers}\n"),
        }
    }
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Unit::Ratio => format!("{value:.2}×"),
            // What takes only moments is compared with what takes only moments.
            Unit::Seconds if value < 0.1 => format!("{:.2} ms", value * 1000.0),
            Unit::Seconds => format!("{:.0} ms", value * 1000.0),
            Unit::CpuSeconds => format!("{value:.2} s"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Bytes => format!("{:.0} MiB", value / f64::from(1 << 20)),
            Unit::Core => format!("{:.2} %", value * 100.0),
        }
    }
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtLeast(bound) => value >= bound,
            Goal::AtMost(bound) => value <= bound,
        }
    }

    fn text(self, unit: Unit) -> String {
        match self {
            Goal::AtLeast(bound) => format!("≥ {}", unit.text(bound)),
            Goal::AtMost(bound) => format!("≤ {}", unit.text(bound)),
        }
    }
}

/// All sections.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Measured>);

impl Report {
    /// Adds a section.
    pub(crate) fn add(&mut self, measured: Measured) {
        self.0.push(measured);
    }

    /// The whole report.
    pub(crate) fn text(&self, machine: &Machine, world: &World, args: &Args, took: Duration) -> String {
        let mut text = String::from("# Benchmarks\n\n");
        if args.is_quick() {
            text.push_str("**This was a quick run, which only shows that everything works: the numbers mean nothing.**\n\n");
        }
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("make bench ARGS=\"{}\"", arguments.join(" "));
        _ = write!(
            text,
            "Read the ratios, not the absolute numbers, and neither as a promise for other machines:\n\n\
             - Both clusters, both agents and this program ran on one machine at a time: {}, {}. Two JVMs of one node each \
             share its cores with everything else unless a section says otherwise, there is no network between them, and the disk is mostly the page \
             cache. With machines of their own, both sides of a ratio gain, not necessarily alike.\n\
             - {} → {}, {} MiB of heap each, no replicas, security off on the clusters; between the agents \
             mutual TLS as always.\n\
             - {}, agents from `{}`; this program is {}.\n\
             - Documents are generated lines of an access log, about 300 bytes each, with ids spread like UUIDs; the \
             mapping is explicit and `refresh_interval` is set to 1 s.\n\
             - The sections *window reader* run with `translog = \"off\"` in `leader.toml`, as with a leader on another host; \
             the sections *translog reader* with `translog = \"on\"`.\n\
             - Each measurement is taken in turn with what it is compared with, after a warm-up; the table shows \
             median, least, greatest and number of samples.\n\n\
             Measured on {} in {} s by\n\n```\n{}\n```\n",
            machine.hardware,
            machine.kernel,
            world.leader.release(),
            world.target.release(),
            crate::world::HEAP_MB,
            machine.version,
            machine.binary,
            if cfg!(debug_assertions) {
                "a debug build"
            } else {
                "a release build"
            },
            machine.date,
            took.as_secs(),
            command,
        );
        text.push_str(
            "\n| | median | least – greatest | samples | goal | verdict |\n|---|--:|--:|--:|--:|---|\n",
        );
        let headlines = self
            .0
            .iter()
            .flat_map(|measured| &measured.rows)
            .filter(|row| row.is_headline());
        text.extend(headlines.map(Row::text));
        for measured in &self.0 {
            _ = write!(text, "\n## {}\n\n{}\n", measured.title, measured.how);
            let mut details = measured
                .rows
                .iter()
                .filter(|row| !row.is_headline())
                .map(Row::text)
                .peekable();
            if details.peek().is_some() {
                text.push_str("\n| | median | least – greatest | samples |\n|---|--:|--:|--:|\n");
                text.extend(details);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: [f64; 3]) -> Spread {
        let mut spread = Spread::default();
        for value in values {
            spread.add(value);
        }
        spread
    }

    #[test]
    fn the_median_decides_over_the_goal() {
        let row = Row::new("x", Unit::Ratio, spread([0.7, 0.81, 0.9])).goal(Goal::AtLeast(0.8));
        assert_eq!(row.text(), "| x | 0.81× | 0.70× – 0.90× | 3 | ≥ 0.80× | met |\n");
        let row =
            Row::new("y", Unit::Bytes, spread([1e6, 200e6, 300e6])).goal(Goal::AtMost(f64::from(150 << 20)));
        assert_eq!(
            row.text(),
            "| y | 191 MiB | 1 MiB – 286 MiB | 3 | ≤ 150 MiB | **missed** |\n"
        );
    }
}
