//! What a write asks of versions: read from parameters or a bulk's line, refused where it contradicts itself.

use crate::call::Params;
use crate::error::{ApiError, ApiResult};
use crate::shard::Expect;

/// The version wishes of one write, as parameters or as members of a bulk line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wishes {
    pub(crate) version: Option<i64>,
    pub(crate) version_type: Option<String>,
    pub(crate) if_seq_no: Option<u64>,
    pub(crate) if_primary_term: Option<u64>,
    pub(crate) create: bool,
}

impl Wishes {
    pub(crate) fn of(params: &Params) -> ApiResult<Wishes> {
        Ok(Wishes {
            version: params.number("version")?,
            version_type: params.get("version_type").map(str::to_owned),
            if_seq_no: params.number("if_seq_no")?,
            if_primary_term: params.number("if_primary_term")?,
            create: params.get("op_type") == Some("create"),
        })
    }

    /// What the shard has to check; refuses wishes that contradict each other.
    pub(crate) fn expect(&self) -> ApiResult<Expect> {
        let kind = self.version_type.as_deref().unwrap_or("internal");
        let external = match kind {
            "internal" => None,
            "external" | "external_gt" | "external_gte" => {
                let version = self.version.unwrap_or(-3);
                if self.create {
                    return Err(ApiError::invalid(
                        "create operations only support internal versioning. use index instead",
                    ));
                }
                if version < 0 {
                    let name = if kind == "external_gte" {
                        "EXTERNAL_GTE"
                    } else {
                        "EXTERNAL"
                    };
                    let reason = format!("illegal version value [{version}] for version type [{name}]");
                    return Err(ApiError::invalid(&reason));
                }
                Some(version)
            }
            other => return Err(ApiError::illegal(format!("No version type match [{other}]"))),
        };
        match (external, self.if_seq_no, self.if_primary_term) {
            (Some(_), Some(_), _) => Err(ApiError::invalid(
                "compare and write operations can not use versioning",
            )),
            (Some(version), None, _) if kind == "external_gte" => Ok(Expect::ExternalGte(version)),
            (Some(version), None, _) => Ok(Expect::External(version)),
            (None, ..) if self.version.is_some() => Err(ApiError::invalid(
                "internal versioning can not be used for optimistic concurrency control. Please use `if_seq_no` and \
                 `if_primary_term` instead",
            )),
            (None, Some(seq), Some(term)) if term > 0 => Ok(Expect::Seq(seq, term)),
            (None, Some(_), _) => Err(ApiError::invalid("ifSeqNo is set, but primary term is [0]")),
            (None, None, Some(term)) => {
                let reason = format!("ifSeqNo is unassigned, but primary term is [{term}]");
                Err(ApiError::invalid(&reason))
            }
            (None, None, None) if self.create => Ok(Expect::Absent),
            (None, None, None) => Ok(Expect::Any),
        }
    }
}
