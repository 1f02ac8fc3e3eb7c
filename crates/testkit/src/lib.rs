//! Everything the end-to-end suites and the benchmarks need beside the product: real servers, a faulty link, a
//! random writer and a comparison of their own.
//!
//! Nothing here depends on a crate of the product. A test that used the product's client or its notion of equality
//! would share its mistakes; this crate speaks HTTP by itself and compares byte by byte.

pub mod client;
pub mod compare;
pub mod proxy;
pub mod servers;
pub mod workload;

/// A line beside a test's outcome, which is shown where that fails, or with `--nocapture`.
#[expect(
    clippy::print_stdout,
    reason = "only what is printed there is kept with the test that it belongs to"
)]
fn aside(line: &str) {
    println!("{line}");
}
