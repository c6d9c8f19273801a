//! What can go wrong with a request.

use std::error::Error;
use std::fmt;

use thence_reactor::dns::Destination;

use crate::BodyError;

/// Why a request has no answer, or an answer no end.
#[derive(Debug)]
pub struct ClientError {
    kind: ClientErrorKind,
    to: Option<Destination>,
    was_sent: bool,
    was_reused: bool,
    source: Option<BodyError>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// Nothing of the answer's body came for too long. It is the error of that body.
    BodyTimeout,
    /// What came is not HTTP, or says two things of where it ends.
    BrokenAnswer,
    /// The request's body broke off, or was not as long as it was said to be.
    BrokenUpload,
    /// As many connections as there may be were in use, and none became free in the time that one
    /// may take to be made.
    Busy,
    /// The connection ended before the first byte of an answer.
    Closed,
    /// No connection was made in time.
    ConnectTimeout,
    /// The head of the answer did not come in time.
    HeadTimeout,
    /// The request cannot be sent as it is; the source says why. Nothing was sent.
    InvalidRequest,
    /// The connection was refused, or could not be made.
    Refused,
    /// The host has no address.
    Unresolved,
    /// The other side took nothing of the request for too long.
    UploadTimeout,
}

impl ClientError {
    pub(super) fn new(
        kind: ClientErrorKind,
        to: Option<&Destination>,
        source: Option<BodyError>,
    ) -> Self {
        Self { kind, to: to.cloned(), was_sent: false, was_reused: false, source }
    }

    pub(super) fn sent(mut self, was_sent: bool, was_reused: bool) -> Self {
        (self.was_sent, self.was_reused) = (was_sent, was_reused);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ClientErrorKind {
        self.kind
    }

    /// Whether some of the request may have reached the other side. `false` is a proof that none
    /// did (RFC 9110 §9.2.2).
    pub fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// Whether the connection had answered another request before.
    pub fn was_reused(&self) -> bool {
        self.was_reused
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ClientErrorKind::BodyTimeout => "nothing came of the answer's body for too long",
            ClientErrorKind::BrokenAnswer => "the answer is not HTTP",
            ClientErrorKind::BrokenUpload => "the request's body broke off",
            ClientErrorKind::Busy => "no connection became free in time",
            ClientErrorKind::Closed => "closed before the first byte of an answer",
            ClientErrorKind::ConnectTimeout => "no connection in time",
            ClientErrorKind::HeadTimeout => "no answer in time",
            ClientErrorKind::InvalidRequest => "the request cannot be sent",
            ClientErrorKind::Refused => "no connection",
            ClientErrorKind::Unresolved => "the host was not found",
            ClientErrorKind::UploadTimeout => "nothing of the request was taken for too long",
        })?;
        match &self.to {
            Some(to) => write!(f, " ({to})"),
            None => Ok(()),
        }
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
