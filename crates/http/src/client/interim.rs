//! Answers before the answer: 1xx.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use http::Request;

use crate::Body;

/// The heads that hyper has read and nobody has been given. hyper wants what it calls to be `Send`,
/// so it only leaves them here, and whoever waits for the answer hands them on.
#[derive(Clone, Default)]
pub(super) struct Interim(Arc<Mutex<Come>>);

#[derive(Default)]
struct Come {
    heads: VecDeque<http::Response<()>>,
    reader: Option<Waker>,
}

impl Interim {
    /// Has the heads before the answer to `request` left here.
    pub(super) fn watch(request: &mut Request<Body>) -> Self {
        let interim = Self::default();
        let come = interim.clone();
        hyper::ext::on_informational(request, move |head| {
            let mut copy = http::Response::new(());
            *copy.status_mut() = head.status();
            *copy.version_mut() = head.version();
            *copy.headers_mut() = head.headers().clone();
            let reader = come.with(|come| {
                come.heads.push_back(copy);
                come.reader.take()
            });
            if let Some(reader) = reader {
                reader.wake();
            }
        });
        interim
    }

    /// The next head; wakes `reader` when there is one, if there is none.
    pub(super) fn next(&self, reader: &Waker) -> Option<http::Response<()>> {
        self.with(|come| {
            let next = come.heads.pop_front();
            if next.is_none() {
                come.reader = Some(reader.clone());
            }
            next
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Come) -> T) -> T {
        // Nothing of a user's runs under the lock.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Interim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interim")
    }
}
