//! Query parameters, as strictly as the engines take them: an unknown one is a mistake of the caller, never ignored.

use axum::extract::Query;
use axum::http::Uri;

use crate::error::ApiError;

/// Parameters that change how an answer is printed, on every call. Answers are JSON whatever `format` says.
const PRINTING: [&str; 5] = ["pretty", "human", "error_trace", "filter_path", "format"];
/// How long the engines wait for something, on every call. Here a call waits as long as it has to, at most half a minute, so
/// they only have to be times.
const WAITING: [&str; 3] = ["timeout", "master_timeout", "cluster_manager_timeout"];

/// The query of one request.
pub(crate) struct Params {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads the query; refuses parameters that neither printing nor `allowed` knows.
    pub(crate) fn of(uri: &Uri, allowed: &[&str]) -> Result<Params, ApiError> {
        let params = Params::unchecked(uri)?;
        for (name, value) in &params.pairs {
            if WAITING.contains(&name.as_str()) {
                if !is_time(value) {
                    return Err(ApiError::illegal(format!(
                        "failed to parse setting [{name}] with value [{value}] as a time value: give a number and its unit, as in \
                         [30s]"
                    )));
                }
                continue;
            }
            if !allowed.contains(&name.as_str()) && !PRINTING.contains(&name.as_str()) {
                return Err(ApiError::illegal(format!(
                    "request [{}] contains unrecognized parameter: [{name}]",
                    params.path
                )));
            }
        }
        Ok(params)
    }

    /// Reads the query of a request that may be meant for the target, which has parameters of its own.
    pub(crate) fn unchecked(uri: &Uri) -> Result<Params, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| ApiError::illegal("the query of the request is not URL-encoded UTF-8"))?;
        Ok(Params {
            path: uri.path().to_owned(),
            pairs,
        })
    }

    /// The last value given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// A boolean; given without a value it is true.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(ApiError::illegal(format!(
                "Failed to parse value [{other}] as only [true] or [false] are allowed."
            ))),
        }
    }
}

/// Whether the engines would take it for a span of time.
fn is_time(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = text[digits..].to_ascii_lowercase();
    matches!(text, "0" | "-1")
        || (digits > 0 && matches!(unit.as_str(), "nanos" | "micros" | "ms" | "s" | "m" | "h" | "d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(uri: &str) -> Result<Params, ApiError> {
        Params::of(&uri.parse().unwrap(), &["verbose"])
    }

    #[test]
    fn a_flag_may_stand_alone() {
        assert!(params("/a?verbose").ok().unwrap().flag("verbose").unwrap());
        assert!(
            params("/a?verbose=true&pretty")
                .ok()
                .unwrap()
                .flag("verbose")
                .unwrap()
        );
        assert!(!params("/a?verbose=false").ok().unwrap().flag("verbose").unwrap());
        assert!(params("/a?verbose=1").ok().unwrap().flag("verbose").is_err());
    }

    #[test]
    fn what_the_engines_take_everywhere_is_taken() {
        for query in [
            "format=json&human&filter_path=a.b",
            "timeout=30s&master_timeout=-1&cluster_manager_timeout=1m",
        ] {
            assert!(params(&format!("/a?{query}")).is_ok(), "{query}");
        }
        for query in ["timeout=soon", "timeout=", "master_timeout=30"] {
            let error = params(&format!("/a?{query}")).err().unwrap();
            assert!(error.reason().contains("as a time value"), "{}", error.reason());
        }
    }

    #[test]
    fn unknown_parameters_are_named() {
        let error = params("/a/_status?verbos=true").err().unwrap();
        assert_eq!(
            error.reason(),
            "request [/a/_status] contains unrecognized parameter: [verbos]"
        );
    }
}
