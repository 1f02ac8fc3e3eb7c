//! The names of the files in a shard's translog folder.

/// The checkpoint of the generation that is being written; it names that generation.
pub const CHECKPOINT: &str = "translog.ckp";

const PREFIX: &str = "translog-";
const SUFFIX: &str = ".tlog";

/// The file of a generation's operations.
pub fn generation(generation: u64) -> String {
    format!("{PREFIX}{generation}{SUFFIX}")
}

/// The checkpoint of a closed generation, as [`CHECKPOINT`] was when it was closed.
pub fn generation_checkpoint(generation: u64) -> String {
    format!("{PREFIX}{generation}.ckp")
}

/// The generation whose operations are in the file of that name; `None` for every name that [`generation`] does not
/// make.
pub fn parse_generation(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let canonical = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_generation() {
        for number in [0, 1, 9, 10, 4711, u64::MAX] {
            assert_eq!(parse_generation(&generation(number)), Some(number));
            assert_eq!(parse_generation(&generation_checkpoint(number)), None);
        }
        assert_eq!(generation(7), "translog-7.tlog");
        assert_eq!(generation_checkpoint(7), "translog-7.ckp");
    }

    #[test]
    fn other_files_are_no_generations() {
        for name in [
            CHECKPOINT,
            "",
            "translog-.tlog",
            "translog-1",
            "translog-+1.tlog",
            "translog--1.tlog",
            "translog-01.tlog",
            "translog-1.tlog.tmp",
            "Translog-1.tlog",
            "translog-18446744073709551616.tlog",
            "translog-\u{0661}.tlog",
        ] {
            assert_eq!(parse_generation(name), None, "{name}");
        }
    }
}
