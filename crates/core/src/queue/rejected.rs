//! What a queue answers instead of taking or giving an item.

use std::fmt;

use crate::Failure;
use crate::fault::{Ends, Fault, Step};

/// An item that a [`Queue`](crate::Queue) did not take, and why. There are no other reasons.
///
/// It becomes a [`Failure`] by `?`, whatever the item is; the item is dropped then.
///
/// ```
/// use thence_core::{Failure, Queue, Rejected};
///
/// fn offer(lines: &Queue<&'static str>) -> Result<(), Failure> {
///     match lines.try_put("two") {
///         Err(Rejected::Full(line)) => Ok(println!("dropped {line}")),
///         other => Ok(other?),
///     }
/// }
/// let lines = Queue::bounded(1);
/// lines.try_put("one")?;
/// assert!(offer(&lines).is_ok());
/// lines.close();
/// assert!(offer(&lines).is_err());
/// # Ok::<(), Failure>(())
/// ```
pub enum Rejected<T> {
    /// The queue is closed.
    Closed(T),
    /// There was no room.
    Full(T),
}

impl<T> Rejected<T> {
    /// The item.
    ///
    /// ```
    /// use thence_core::Queue;
    ///
    /// let queue = Queue::bounded(0);
    /// let rejected = queue.try_put("item").unwrap_err();
    /// assert_eq!(rejected.into_item(), "item");
    /// ```
    pub fn into_item(self) -> T {
        match self {
            Self::Closed(item) | Self::Full(item) => item,
        }
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "the queue is closed: the item was not taken",
            Self::Full(_) => "the queue is full: the item was not taken",
        })
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(_) => "Closed(..)",
            Self::Full(_) => "Full(..)",
        })
    }
}

impl<T: 'static> Fault for Rejected<T> {
    type Trail = Ends;
    type Awaited<U> = Result<U, Self>;

    fn passed(&mut self, trail: &mut Ends, step: Step) {
        trail.push(step);
    }

    fn message(&self) -> String {
        self.to_string()
    }

    fn steps(&self, trail: &Ends) -> Vec<Step> {
        trail.steps()
    }

    fn awaited<U>(result: Result<U, Self>) -> Result<U, Self> {
        result
    }
}

impl<T: 'static> From<Rejected<T>> for Failure {
    fn from(rejected: Rejected<T>) -> Self {
        Self::msg(rejected)
    }
}

/// Nothing is left in a [`Queue`](crate::Queue) that is closed, or in the
/// [`Events`](crate::Events) of an emitter that is gone.
///
/// ```
/// use thence_core::QueueClosed;
///
/// assert_eq!(QueueClosed.to_string(), "closed: nothing more comes");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueClosed;

impl fmt::Display for QueueClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed: nothing more comes")
    }
}

impl std::error::Error for QueueClosed {}
