//! What the engine reads out of an index's settings, with its defaults, and what blocks forbid.

use std::time::Duration;

use serde_json::Value;

use crate::error::{ApiError, ApiResult};
use crate::settings::Flat;
use crate::time::Span;

/// What the engine reads out of an index's settings.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    pub(crate) replicas: u32,
    /// `None`: never by itself.
    pub(crate) refresh: Option<Duration>,
    /// Whether an unsearched shard may stop refreshing: only while `refresh_interval` is not set.
    pub(crate) may_idle: bool,
    pub(crate) idle_after: Duration,
    pub(crate) gc_deletes: Duration,
    pub(crate) max_result_window: usize,
    pub(crate) fields_limit: usize,
    pub(crate) hidden: bool,
    pub(crate) default_pipeline: Option<String>,
    pub(crate) final_pipeline: Option<String>,
    pub(crate) blocks: Blocks,
}

/// The blocks that an operator or a full disk puts on an index.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one setting of the engine")]
pub(crate) struct Blocks {
    pub(crate) read_only: bool,
    pub(crate) allow_delete: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) metadata: bool,
}

/// What a request wants of an index, as far as blocks care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    MetadataRead,
    MetadataWrite,
    DeleteIndex,
}

impl Blocks {
    /// Refuses what a block forbids.
    pub(crate) fn check(self, access: Access, index: &str) -> ApiResult<()> {
        use Access::{DeleteIndex, MetadataRead, MetadataWrite, Read, Write};
        let writes = matches!(access, Write | MetadataWrite | DeleteIndex);
        let metadata = matches!(access, MetadataRead | MetadataWrite | DeleteIndex);
        let found = if self.read_only && writes {
            Some((403, "FORBIDDEN/5/index read-only (api)"))
        } else if self.allow_delete && matches!(access, Write | MetadataWrite) {
            let what = "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, \
                        index has read-only-allow-delete block";
            Some((429, what))
        } else if self.read && access == Read {
            Some((403, "FORBIDDEN/7/index read (api)"))
        } else if self.write && access == Write {
            Some((403, "FORBIDDEN/8/index write (api)"))
        } else if self.metadata && metadata {
            Some((403, "FORBIDDEN/9/index metadata (api)"))
        } else {
            None
        };
        match found {
            Some((status, what)) => {
                let reason = format!("index [{index}] blocked by: [{what}];");
                Err(ApiError::new(status, "cluster_block_exception", reason))
            }
            None => Ok(()),
        }
    }
}

impl Knobs {
    /// Reads validated settings; what cannot be read falls back to the engine's default.
    pub(crate) fn of(flat: &Flat) -> Knobs {
        let text = |name: &str| flat.get(name).and_then(Value::as_str);
        let number = |name: &str, default: u64| text(name).and_then(|t| t.parse().ok()).unwrap_or(default);
        let on = |name: &str| text(name) == Some("true");
        let time = |name: &str, default: u64| {
            let span = text(name).and_then(Span::parse);
            span.unwrap_or(Span::Of(Duration::from_secs(default))).length()
        };
        let pipeline = |name: &str| text(name).filter(|p| *p != "_none").map(str::to_owned);
        Knobs {
            replicas: number("index.number_of_replicas", 1) as u32,
            refresh: time("index.refresh_interval", 1).filter(|d| !d.is_zero()),
            may_idle: !flat.contains_key("index.refresh_interval"),
            idle_after: time("index.search.idle.after", 30).unwrap_or(Duration::MAX),
            gc_deletes: time("index.gc_deletes", 60).unwrap_or(Duration::MAX),
            max_result_window: number("index.max_result_window", 10_000) as usize,
            fields_limit: number("index.mapping.total_fields.limit", 1_000) as usize,
            hidden: on("index.hidden"),
            default_pipeline: pipeline("index.default_pipeline"),
            final_pipeline: pipeline("index.final_pipeline"),
            blocks: Blocks {
                read_only: on("index.blocks.read_only"),
                allow_delete: on("index.blocks.read_only_allow_delete"),
                read: on("index.blocks.read"),
                write: on("index.blocks.write"),
                metadata: on("index.blocks.metadata"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{flatten_index, updated};

    #[test]
    fn null_puts_the_default_back() {
        let current = flatten_index(&json!({"refresh_interval": "-1"}));
        assert_eq!(Knobs::of(&current).refresh, None);
        let next = updated(
            &current,
            &flatten_index(&json!({"refresh_interval": null})),
            true,
            "i",
            "u",
        )
        .unwrap();
        assert_eq!(Knobs::of(&next).refresh, Some(Duration::from_secs(1)));
    }
}
