//! Waiting longer each time.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use thence_core::{Deferred, Never};

use crate::time::after;

/// A delay for [`retry`](thence_core::retry): `first` after the first attempt, twice as long after
/// each further one, and never longer than `most`.
///
/// Many who failed together come back together; [`backoff_with`] spreads them.
///
/// ```
/// use std::time::Duration;
/// use thence_core::{Failure, retry};
/// use thence_reactor::backoff;
/// # thence_reactor::run(async {
///
/// let delay = backoff(Duration::from_millis(1), Duration::from_secs(1));
/// let answer = retry(5, delay, |attempt| match attempt {
///     1..3 => Err(Failure::msg("busy")),
///     _ => Ok(attempt),
/// });
/// assert_eq!(answer.await?, 3);
/// # Ok(()) }).unwrap();
/// ```
///
/// # Panics
///
/// The delay panics when this thread has no reactor, which ends the retry `Stop(Panicked)`.
#[doc(alias = "exponential")]
pub fn backoff(
    first: Duration,
    most: Duration,
) -> impl FnMut(u32) -> Deferred<(), Never> + 'static {
    move |attempt| after(doubled(first, attempt).min(most))
}

/// As [`backoff`], each delay drawn evenly from zero to what it would be there: full jitter.
///
/// ```
/// use std::time::Duration;
/// use thence_reactor::{Jitter, backoff_with};
///
/// let delay = backoff_with(Duration::from_millis(50), Duration::from_secs(5), Jitter::random());
/// # drop(delay);
/// ```
///
/// # Panics
///
/// As [`backoff`].
pub fn backoff_with(
    first: Duration,
    most: Duration,
    mut jitter: Jitter,
) -> impl FnMut(u32) -> Deferred<(), Never> + 'static {
    move |attempt| after(jitter.draw(doubled(first, attempt).min(most)))
}

/// Where the chance of [`backoff_with`] comes from.
///
/// ```
/// use std::time::Duration;
/// use thence_core::{Failure, retry};
/// use thence_reactor::{Jitter, backoff_with};
///
/// let answer = thence_reactor::test(async {
///     let delay = backoff_with(Duration::from_millis(1), Duration::from_secs(1), Jitter::seeded(7));
///     retry(2, delay, |attempt| match attempt {
///         1 => Err(Failure::msg("busy")),
///         _ => Ok(attempt),
///     })
///     .await
/// });
/// assert_eq!(answer, 2);
/// ```
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Another one each time.
    ///
    /// ```
    /// use thence_reactor::Jitter;
    ///
    /// let jitter = Jitter::random(); // for a program
    /// # drop(jitter);
    /// ```
    pub fn random() -> Self {
        Self(RandomState::new().hash_one(0_u8))
    }

    /// The same delays for the same seed, so that a test can tell them.
    ///
    /// ```
    /// use thence_reactor::Jitter;
    ///
    /// let jitter = Jitter::seeded(7); // for a test
    /// # drop(jitter);
    /// ```
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Something from zero to `most`.
    fn draw(&mut self, most: Duration) -> Duration {
        // A fraction of 2^64: the upper half of the product.
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let drawn = (u128::from(nanos) * u128::from(self.next())) >> 64;
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(nanos))
    }

    /// SplitMix64: small, and good enough to spread retries.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// `first`, doubled for each attempt after the first.
fn doubled(first: Duration, attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor)
}
