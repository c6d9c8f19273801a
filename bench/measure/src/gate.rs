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

    /// A ratio of times: met when the median does not exceed the bound, and not missed while the
    /// median minus its spread does not.
    pub fn ratio(&mut self, what: &str, bound: f64, sample: &Sample) {
        let met = match (sample.median(), sample.spread()) {
            (median, _) if median <= bound => "yes",
            (median, spread) if median - spread <= bound => "within spread",
            _ => "no",
        };
        self.add(what, bound, sample.ratio(), met);
    }

    /// A count, which has no spread. What was not counted is neither met nor missed.
    pub fn count(&mut self, what: &str, bound: f64, count: Option<f64>) {
        let met = match count {
            None => "-",
            Some(count) if count <= bound => "yes",
            Some(_) => "no",
        };
        self.add(what, bound, figure(count.unwrap_or(f64::NAN)), met);
    }

    fn add(&mut self, what: &str, bound: f64, measured: String, met: &str) {
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
