//! Open files: an agent holds a few for each shard, and the limit that shells and service managers begin with (1,024) is meant
//! for programs that use `select`. What the administrator allows at most is what this one may use.

use rustix::io;
use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises this process's limit of open files as far as it may without asking anybody.
pub(crate) fn allow_all() {
    if let Err(error) = raise() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn raise() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_used() {
        let before = getrlimit(Resource::Nofile);
        let mut less = before;
        less.current = before.maximum.map(|most| most - 1).or(Some(1_000_000));
        setrlimit(Resource::Nofile, less).unwrap();
        allow_all();
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
    }
}
