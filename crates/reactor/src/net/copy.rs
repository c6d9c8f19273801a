//! From one stream to another.

use std::io;

use bytes::Bytes;
use thence_core::{Deferred, Failure, flow, join};

use super::Transport;
use crate::driver::RECV_MAX;

/// Copies what comes on `from` to `to`, until `from` ends; gives how many bytes that were. `to` is
/// not shut down by it.
///
/// * The next bytes are taken when the last ones are with the operating system. So it holds 64 KiB
///   at most, beside the little that a connection reads ahead.
/// * Left, it goes on to its end. Cancelled, it ends at once: what it has read still goes out, and
///   what it has not is there for the next read.
///
/// ```
/// use thence_reactor::net::{Transport, UnixStream, copy};
/// # thence_reactor::run(async {
///
/// let (client, server) = UnixStream::pair()?;
/// let echo = Transport::from(server);
/// let echoed = copy(echo.clone(), echo);
/// client.write("hello").await?;
/// assert_eq!(client.read_exact(5).await?, "hello");
/// client.shutdown().await?;
/// assert_eq!(echoed.await?, 5);
/// # Ok(()) }).unwrap();
/// ```
///
/// # Errors
///
/// The Deferred fails when either stream is broken; the failure says which, and after how many
/// bytes. One of `to` is found out with the next bytes that come.
#[track_caller]
pub fn copy(from: impl Into<Transport>, to: impl Into<Transport>) -> Deferred<u64> {
    let (from, to) = (from.into(), to.into());
    flow(async move {
        let names = Names { from: "the first", to: "the second" };
        names.pump(&from, &to).await
    })
}

/// Copies both ways between `a` and `b`, until both have ended: what a proxy does.
///
/// When one of them ends the other is shut down for sending and may go on for as long as it likes;
/// put a [`timeout`](crate::DeferredExt::timeout) on it where that matters. Each way is as
/// [`copy`]: it holds a bounded amount, and what quits it loses nothing.
///
/// ```
/// use thence_reactor::net::{UnixStream, copy_both};
/// # thence_reactor::run(async {
///
/// let (client, front) = UnixStream::pair()?;
/// let (back, server) = UnixStream::pair()?;
/// let proxy = copy_both(front, back);
///
/// client.write("question").await?;
/// client.shutdown().await?; // the answer may still come
/// assert_eq!(server.read_exact(8).await?, "question");
/// assert_eq!(server.read(10).await?, "");
/// server.write("answer").await?;
/// drop(server);
/// assert_eq!(client.read_exact(6).await?, "answer");
///
/// let copied = proxy.await?;
/// assert_eq!((copied.a_to_b, copied.b_to_a), (8, 6));
/// # Ok(()) }).unwrap();
/// ```
///
/// # Errors
///
/// The Deferred fails when either stream is broken. Then both ways end, and both streams are
/// [aborted](Transport::abort), so that nobody waits for the other half of what was cut. The failure
/// says on which way, at which end and after how many bytes.
#[doc(alias = "copy_bidirectional")]
#[track_caller]
pub fn copy_both(a: impl Into<Transport>, b: impl Into<Transport>) -> Deferred<Copied> {
    let (a, b) = (a.into(), b.into());
    flow(async move {
        let (from_a, to_b) = (a.clone(), b.clone());
        let there =
            flow(async move { Names { from: "a", to: "b" }.pump_out(&from_a, &to_b).await });
        let (from_b, to_a) = (b.clone(), a.clone());
        let back = flow(async move { Names { from: "b", to: "a" }.pump_out(&from_b, &to_a).await });
        match join((there, back)).await {
            Ok((a_to_b, b_to_a)) => Ok(Copied { a_to_b, b_to_a }),
            Err(failure) => {
                a.abort();
                b.abort();
                Err(failure)
            }
        }
    })
}

/// How many bytes [`copy_both`] copied each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// From the first stream to the second.
    pub a_to_b: u64,
    /// From the second stream to the first.
    pub b_to_a: u64,
}

/// What the two ends are called in a failure.
struct Names {
    from: &'static str,
    to: &'static str,
}

impl Names {
    /// Copies to the end of `from`.
    async fn pump(&self, from: &Transport, to: &Transport) -> Result<u64, Failure> {
        let mut copied = 0;
        loop {
            let read = from.read(RECV_MAX).await;
            let bytes = read.map_err(|failure| self.told(failure, "read from", copied))?;
            if bytes.is_empty() {
                return Ok(copied);
            }
            let len = bytes.len() as u64;
            let written = write_whatever(to, bytes).await;
            written.map_err(|failure| self.told(failure, "write to", copied))?;
            copied += len;
        }
    }

    /// As [`pump`](Names::pump), and tells `to` about the end.
    async fn pump_out(&self, from: &Transport, to: &Transport) -> Result<u64, Failure> {
        let copied = self.pump(from, to).await?;
        match to.shutdown().await {
            // Its other end is gone by now, which the way back will tell if it was too early.
            Err(failure) if is_unconnected(&failure) => Ok(copied),
            Err(failure) => Err(self.told(failure, "shut down", copied)),
            Ok(()) => Ok(copied),
        }
    }

    fn told(&self, failure: Failure, what: &str, copied: u64) -> Failure {
        let Names { from, to } = self;
        let end = if what == "read from" { from } else { to };
        failure.context(format!("cannot {what} {end}, after {copied} bytes from {from} to {to}"))
    }
}

/// A write that a request does not reach: its wait ends, and what was read goes out all the same.
fn write_whatever(to: &Transport, bytes: Bytes) -> Deferred<()> {
    let (trigger, waited) = Deferred::new();
    to.write(bytes).settled().done(move |outcome| trigger.settle(outcome));
    waited
}

fn is_unconnected(failure: &Failure) -> bool {
    let error = failure.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::NotConnected)
}
