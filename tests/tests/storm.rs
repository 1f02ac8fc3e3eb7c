//! I1 to I4, I7: whatever happens, both sides end equal.
//!
//! `make test` runs one short storm. `make storm SEEDS=N` runs N seeds over all pairs in turn; `STORM_SEED=S` repeats one,
//! with the readers that it picks. `STORM_SECONDS=T` makes it longer, `STORM_PAIR=P`, `STORM_READERS=R` and `STORM_FILES=0` or `=1`
//! pick pair, readers and what indices begin with instead. A storm that fails leaves its logs in the system's folder for temporary files, and with
//! `STORM_KEEP=1` any storm does.

use std::time::Duration;

use slipstream_testkit::servers::Release;
use slipstream_tests::storm::{Readers, Storm};

const PAIRS: [(Release, Release); 5] = [
    (Release::OpenSearch2_19_1, Release::OpenSearch2_19_1),
    (Release::Elasticsearch7_10_2, Release::OpenSearch2_19_1),
    (Release::Elasticsearch7_10_2, Release::Elasticsearch7_10_2),
    (Release::OpenSearch2_19_1, Release::OpenSearch3_6_0),
    (Release::Elasticsearch7_17_29, Release::Elasticsearch8_19_21),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn i1_i2_i3_i4_i7_both_sides_are_equal_after_a_storm() {
    let seconds = number("STORM_SECONDS").unwrap_or(45);
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |d| d.as_secs());
    let first = number("STORM_SEED").unwrap_or(clock);
    for seed in first..first + number("STORM_SEEDS").unwrap_or(1) {
        let pair = number("STORM_PAIR").unwrap_or(seed) as usize % PAIRS.len();
        let readers =
            number("STORM_READERS").map(|number| Readers::ALL[number as usize % Readers::ALL.len()]);
        let restarts = (seconds / 30) as u32;
        Storm {
            pair: PAIRS[pair],
            readers: readers.unwrap_or_else(|| Readers::of_seed(seed)),
            files: number("STORM_FILES").map_or_else(|| Storm::begins_with_files(seed), |files| files > 0),
            seed,
            duration: Duration::from_secs(seconds),
            restarts,
        }
        .rage()
        .await;
    }
}
