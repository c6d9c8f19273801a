//! Figures from many rounds, and the order of a round.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// One figure, measured once a round.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds what a round measured.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle figure.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Half the width of the middle half: a round in which a neighbour was busy does not widen it.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / 2.0
    }

    /// Each round's figure, divided by another's of the same round.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(figure, other)| figure / other).collect())
    }

    /// Median and spread as a table shows a ratio.
    pub fn ratio(&self) -> String {
        if self.0.is_empty() {
            return "-".into();
        }
        format!("{:.2} ± {:.2}", self.median(), self.spread())
    }

    fn quantile(&self, part: f64) -> f64 {
        if self.0.is_empty() {
            return f64::NAN;
        }
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = part * (sorted.len() - 1) as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * place.fract()
    }
}

/// The source of each round's order. Not good random numbers, only different ones.
#[derive(Debug)]
pub struct Order(u64);

impl Order {
    /// Seeded from the clock.
    pub fn new() -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(time.as_nanos() as u64 | 1)
    }

    /// `0..length`, shuffled.
    pub fn shuffled(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last, self.next() as usize % (last + 1));
        }
        order
    }

    /// Heads or tails: which of a pair goes first.
    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    /// The upper half of an xorshift step.
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}

impl Default for Order {
    fn default() -> Self {
        Self::new()
    }
}

/// Means of two slices of each, which alternate: A B A B, or B A B A by a coin.
///
/// # Errors
///
/// Those of a slice.
pub fn paired<T: Copy>(
    order: &mut Order,
    (subject, reference): (T, T),
    mut slice: impl FnMut(T) -> io::Result<f64>,
) -> io::Result<(f64, f64)> {
    let (mut ours, mut theirs) = (0.0, 0.0);
    let subject_first = order.coin();
    for _ in 0..2 {
        if subject_first {
            ours += slice(subject)?;
            theirs += slice(reference)?;
        } else {
            theirs += slice(reference)?;
            ours += slice(subject)?;
        }
    }
    Ok((ours / 2.0, theirs / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_round_moves_neither_median_nor_spread() {
        let sample = Sample(vec![1.0, 1.1, 1.2, 1.1, 50.0]);
        assert!((sample.median() - 1.1).abs() < 1e-9);
        assert!((sample.spread() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn a_shuffle_keeps_every_place() {
        let mut order = Order::new().shuffled(9);
        order.sort_unstable();
        assert_eq!(order, (0..9).collect::<Vec<_>>());
    }
}
