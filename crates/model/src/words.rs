//! How errors and times are told to people.

use std::error::Error;

/// An error and what caused it, in one line: what a log, a status or the other side's operator gets to see. A cause that the
/// text before it ends with is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A lag in the unit that says something.
pub fn lag(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn lag_is_told_in_the_unit_that_says_something() {
        assert_eq!(lag(0.0), "0 ms");
        assert_eq!(lag(0.0049), "5 ms");
        assert_eq!(lag(12.34), "12.3 s");
    }

    #[test]
    fn every_cause_is_told_once() {
        let cause = || io::Error::other("the disk is full");
        assert_eq!(
            chain(&Outer("writing failed", cause())),
            "writing failed: the disk is full"
        );
        assert_eq!(
            chain(&Outer("writing failed: the disk is full", cause())),
            "writing failed: the disk is full"
        );
    }
}
