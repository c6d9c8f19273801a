//! A name for every request, in the log, the answer and the upstream's request.

use std::cell::Cell;

use http::{HeaderMap, HeaderValue};

use crate::{forward::headers::REQUEST_ID, session::token::hex};

/// Gives out request ids: eight random digits for this run, a dash, a count.
#[derive(Debug)]
pub struct RequestIds {
    run: String,
    next: Cell<u64>,
}

impl RequestIds {
    /// Ids that begin with `run`, which should differ between runs.
    pub fn new(run: [u8; 4]) -> Self {
        Self { run: hex(&run), next: Cell::new(1) }
    }

    /// Ids of a run with a random name.
    pub fn random() -> Self {
        let mut run = [0; 4];
        // Without random bytes the ids of two runs look alike, which is a nuisance and no more.
        let _ = getrandom::fill(&mut run);
        Self::new(run)
    }

    /// The id for a request: its own, if it has one that is short and plain, else a fresh one.
    pub fn id_for(&self, client: &HeaderMap) -> String {
        let mut given = client.get_all(REQUEST_ID).iter();
        if let (Some(id), None) = (given.next().and_then(plain), given.next()) {
            return id.to_owned();
        }
        let count = self.next.replace(self.next.get() + 1);
        format!("{}-{count}", self.run)
    }
}

/// Letters, digits, `-`, `_` and `.`: safe in a log line, a field and a page as it stands.
fn plain(id: &HeaderValue) -> Option<&str> {
    let id = id.to_str().ok()?;
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ((1..=64).contains(&id.len()) && id.bytes().all(safe)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(ids: &[&str]) -> HeaderMap {
        ids.iter().map(|id| (REQUEST_ID, id.parse().unwrap())).collect()
    }

    #[test]
    fn ids_are_counted_within_a_run() {
        let ids = RequestIds::new([0xab, 0, 0, 1]);
        assert_eq!(ids.id_for(&asking(&[])), "ab000001-1");
        assert_eq!(ids.id_for(&asking(&[])), "ab000001-2");
    }

    #[test]
    fn a_plain_id_is_kept_and_a_strange_one_replaced() {
        let ids = RequestIds::new([0; 4]);
        assert_eq!(ids.id_for(&asking(&["trace_1.a-B"])), "trace_1.a-B");
        for strange in [&["a b"][..], &[""], &["<b>"], &["a", "b"], &[&"x".repeat(65)]] {
            assert!(ids.id_for(&asking(strange)).starts_with("00000000-"), "{strange:?}");
        }
    }
}
