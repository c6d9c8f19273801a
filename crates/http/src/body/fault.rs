//! What can be wrong with a body.

use std::error::Error;
use std::fmt;

use thence_core::Failure;

use super::BodyError;
use crate::ClientError;

/// What was wrong with a body, for whoever reads it or has it sent.
///
/// A [`Failure`] keeps it below its contexts: [`Failure::downcast_ref`] finds it.
#[derive(Debug)]
pub struct BodyFault {
    kind: BodyFaultKind,
    is_upload: bool,
    message: String,
    source: Option<BodyError>,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BodyFaultKind {
    /// The other side left before the end.
    BrokenOff,
    /// What came is no body, such as a chunk without a size.
    Malformed,
    /// Nothing came for too long.
    TimedOut,
    /// It is longer than its reader allowed.
    TooLong,
    /// It is not as long as `Content-Length` said.
    WrongLength,
}

impl BodyFault {
    pub(crate) fn new(kind: BodyFaultKind, message: impl fmt::Display) -> Self {
        Self { kind, is_upload: false, message: message.to_string(), source: None }
    }

    pub(crate) fn source(mut self, source: impl Into<BodyError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says that it is the body of a request to a server.
    pub(crate) fn upload(mut self, is_upload: bool) -> Self {
        self.is_upload = is_upload;
        self
    }

    /// The fault behind a failure, also when a client had it while it relayed the body.
    pub(crate) fn behind(failure: &Failure) -> Option<&Self> {
        if let Some(fault) = failure.downcast_ref() {
            return Some(fault);
        }
        let mut cause = failure.downcast_ref::<ClientError>()?.source();
        for _ in 0..CAUSES {
            let error = cause?;
            if let Some(fault) = error.downcast_ref() {
                return Some(fault);
            }
            cause = error.source();
        }
        None
    }

    /// What was wrong.
    pub fn kind(&self) -> BodyFaultKind {
        self.kind
    }

    /// Whether it was the body of a request to a [`Server`](crate::Server), so that its client is to
    /// blame. A handler that fails with such a fault answers 400, 408 or 413 and is not reported.
    pub fn is_upload(&self) -> bool {
        self.is_upload
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for BodyFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// How far down a fault is looked for: a chain of causes may lead back into itself.
const CAUSES: usize = 16;
