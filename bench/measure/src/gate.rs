//! What was set as a goal, beside what was measured.

use std::fmt;

use crate::sample::Sample;
use crate::table::{Table, figure};

/// Goals, each met or missed.
#[derive(Debug)]
pub struct Gates(Table);

impl Gates {
    /// No goals yet.
    pub fn new() -> Self {
        Self(Table::new(&["goal", "at most", "measured", "met"]))
    }

    /// A ratio of times: met when the median minus its spread does not exceed the bound.
    pub fn ratio(&mut self, what: &str, bound: f64, sample: &Sample) {
        self.add(what, bound, sample.ratio(), sample.median() - sample.spread());
    }

    /// A count, which has no spread. What was not counted is neither met nor missed.
    pub fn count(&mut self, what: &str, bound: f64, count: Option<f64>) {
        let count = count.unwrap_or(f64::NAN);
        self.add(what, bound, figure(count), count);
    }

    fn add(&mut self, what: &str, bound: f64, measured: String, decides: f64) {
        let met = match decides {
            value if value.is_nan() => "-",
            value if value <= bound => "yes",
            _ => "no",
        };
        self.0.row(vec![what.to_owned(), figure(bound), measured, met.to_owned()]);
    }
}

impl Default for Gates {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
