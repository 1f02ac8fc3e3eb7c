//! How many documents to ask for at once: by bytes, learnt from what came, so that neither tiny nor huge documents
//! make pages of the wrong size (I8).

/// Adapts the number of documents a page to a budget of bytes.
#[derive(Debug)]
pub(crate) struct PageSize {
    /// What the index gives at once.
    most: usize,
    /// Smoothed bytes a document.
    per_doc: f64,
    /// Pages were too large for the hard limit: this many documents at most, until pages fit again.
    cap: usize,
}

/// The hard limit of one answer, above which it is dropped and asked for in smaller pieces.
pub(crate) const MAX_PAGE_BYTES: usize = 24 * 1024 * 1024;
/// The hard limit for a single document: beyond the 100 MB that the engines take in a request.
pub(crate) const MAX_DOC_BYTES: usize = 256 * 1024 * 1024;
/// What a page should have when there is enough credit.
pub(crate) const PAGE_BYTES: u64 = 4 * 1024 * 1024;

impl PageSize {
    pub(crate) fn new(most: usize) -> Self {
        PageSize {
            most,
            per_doc: 2048.0,
            cap: most,
        }
    }

    /// The most that the index gives in one answer.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Documents to ask for when `bytes` may be sent.
    pub(crate) fn docs(&self, bytes: u64) -> usize {
        let budget = bytes.clamp(64 * 1024, PAGE_BYTES) as f64;
        ((budget / self.per_doc) as usize).clamp(1, self.cap)
    }

    /// The limit of the answer's bytes for a page of `docs` documents.
    pub(crate) fn limit(docs: usize) -> usize {
        if docs == 1 { MAX_DOC_BYTES } else { MAX_PAGE_BYTES }
    }

    /// A page came with this many documents and bytes.
    pub(crate) fn learn(&mut self, docs: usize, bytes: usize) {
        if docs == 0 {
            return;
        }
        let seen = bytes as f64 / docs as f64;
        // Growth is believed at once, shrinking slowly: a page too large costs more than one too small.
        self.per_doc = if seen > self.per_doc {
            seen
        } else {
            self.per_doc.mul_add(0.5, seen * 0.5)
        };
        self.cap = (self.cap * 2).min(self.most);
    }

    /// A page of `docs` documents was over its limit. Returns `false` if it can't be made smaller.
    pub(crate) fn too_large(&mut self, docs: usize) -> bool {
        self.cap = (docs / 8).max(1);
        docs > 1
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::settings::MOST_IN_AN_ANSWER;

    use super::*;

    #[test]
    fn i8_pages_follow_bytes_not_counts() {
        let mut size = PageSize::new(MOST_IN_AN_ANSWER);
        for _ in 0..8 {
            size.learn(1000, 300_000);
        }
        assert_eq!(size.docs(u64::MAX), 10_000);
        size.learn(10, 10 * 1024 * 1024);
        assert_eq!(size.docs(u64::MAX), 4);
        assert_eq!(size.docs(1), 1);
    }

    #[test]
    fn i8_a_page_over_the_limit_shrinks_down_to_one_document() {
        let mut size = PageSize::new(MOST_IN_AN_ANSWER);
        assert!(size.too_large(64));
        assert_eq!(size.docs(u64::MAX), 8);
        assert!(size.too_large(8));
        assert_eq!(size.docs(u64::MAX), 1);
        assert!(!size.too_large(1), "a single document has no smaller page");
    }

    #[test]
    fn max_result_window_is_respected() {
        let mut size = PageSize::new(500);
        size.learn(100, 100);
        assert!(size.docs(u64::MAX) <= 500);
    }
}
