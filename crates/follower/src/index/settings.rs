//! Getting settings past a target that may be another engine or version: what it does not know is left out and reported,
//! what it takes only on a closed index is put while it is closed for a moment.

use slipstream_cluster::{Cluster, ClusterError, ErrorKind};
use slipstream_model::IndexName;
use slipstream_model::settings::Settings;

/// What a refusal of settings asks for.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// Leave these out.
    Unknown(Vec<String>),
    /// Put these on a closed index.
    Static(Vec<String>),
}

/// Takes out of `settings` what the target, in refusing them, said it does not know. `None` if the refusal is about
/// something else.
pub(super) fn drop_unknown(refused: &ClusterError, settings: &mut Settings) -> Option<Vec<String>> {
    match refusal(refused, settings) {
        Some(Refusal::Unknown(names)) => {
            settings.retain(|name, _| !names.contains(name));
            Some(names)
        }
        _ => None,
    }
}

/// Puts changed settings on an index, closing it for those that need that. Returns what the target does not know.
pub(super) async fn put(
    cluster: &Cluster,
    index: &IndexName,
    mut change: Settings,
) -> Result<Vec<String>, ClusterError> {
    let mut closed = Settings::new();
    let mut unknown = Vec::new();
    while !change.is_empty() {
        let Err(error) = cluster.put_settings(index, &change).await else {
            break;
        };
        match refusal(&error, &change) {
            Some(Refusal::Unknown(names)) => {
                change.retain(|name, _| !names.contains(name));
                unknown.extend(names);
            }
            Some(Refusal::Static(names)) => {
                for name in names {
                    // A default that the target put there itself is not worth closing the index.
                    closed.extend(change.remove_entry(&name).filter(|(_, value)| !value.is_null()));
                }
            }
            None => return Err(error),
        }
    }
    if !closed.is_empty() {
        cluster.close_index(index).await?;
        let result = loop {
            let Err(error) = cluster.put_settings(index, &closed).await else {
                break Ok(());
            };
            match drop_unknown(&error, &mut closed) {
                Some(names) => unknown.extend(names),
                None => break Err(error),
            }
        };
        cluster.open_index(index).await?;
        result?;
    }
    Ok(unknown)
}

/// Which of `settings` the target's words are about, and what they ask for.
fn refusal(error: &ClusterError, settings: &Settings) -> Option<Refusal> {
    if error.kind != ErrorKind::BadRequest {
        return None;
    }
    let words = error.reason()?;
    // Names stand in brackets; one may be the beginning of another.
    let named: Vec<String> = settings
        .keys()
        .filter(|name| names(words, name))
        .cloned()
        .collect();
    if named.is_empty() {
        return None;
    }
    let unknown = [
        "unknown setting",
        "private index setting",
        "not updateable",
        "unknown index setting",
    ];
    if words.contains("non dynamic settings") {
        Some(Refusal::Static(named))
    } else if unknown.iter().any(|u| words.contains(u)) {
        Some(Refusal::Unknown(named))
    } else {
        None
    }
}

/// Whether `words` mention the whole name.
fn names(words: &str, name: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
    words
        .match_indices(name)
        .any(|(at, _)| !words[..at].ends_with(part) && !words[at + name.len()..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_found_in_the_engines_words() {
        let words =
            "Can't update non dynamic settings [[index.codec, index.sort.field]] for open indices [[f/u]]";
        assert!(names(words, "index.codec"));
        assert!(names(words, "index.sort.field"));
        assert!(!names(words, "index.sort"));
        let words = "unknown setting [index.knn] please check that any required plugins are installed";
        assert!(names(words, "index.knn"));
        assert!(!names(words, "index.kn"));
    }
}
