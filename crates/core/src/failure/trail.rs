//! The steps that a failure passed: the first and the last of them, repeats folded.

use std::fmt;

use crate::fault::Step;

/// The first and last steps, repeats folded.
#[derive(Clone, Default)]
pub(super) struct Trail {
    /// The oldest `KEPT`, then the newest `KEPT`.
    runs: Vec<Run>,
    /// How many steps stood between these two.
    omitted: usize,
}

/// Some steps, and how often they came one after the other.
#[derive(Clone, PartialEq)]
struct Run {
    steps: Vec<Step>,
    times: usize,
}

impl Trail {
    pub(super) fn push(&mut self, step: Step) {
        // A step on something that has ended is labelled after it is on the trail.
        if let Some(Run { steps, times: 1 }) = self.runs.last()
            && let [last] = steps[..]
            && step.is_label_of(last)
        {
            self.runs.pop();
        }
        self.runs.push(Run { steps: vec![step], times: 1 });
        if self.fold() {
            return;
        }
        if self.runs.len() > 2 * KEPT {
            let omitted = self.runs.remove(KEPT);
            self.omitted += omitted.steps.len() * omitted.times;
        }
    }

    /// The steps that were kept, each once.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        self.runs.iter().flat_map(|run| run.steps.iter().copied())
    }

    /// Writes a step a line.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self.runs.iter().enumerate() {
            if index == KEPT && self.omitted > 0 {
                write!(f, "\n    .. {} more ..", self.omitted)?;
            }
            for step in &run.steps {
                write!(f, "\n    at {step}")?;
            }
            match (run.steps.len(), run.times) {
                (_, 1) => {}
                (1, times) => write!(f, " x{times}")?,
                (steps, times) => write!(f, "\n    .. the last {steps} steps x{times} ..")?,
            }
        }
        Ok(())
    }

    /// Whether the newest step closed a repeat of up to `LONGEST` steps. A loop leaves its steps
    /// once, and how often.
    fn fold(&mut self) -> bool {
        // What stands before an omission is no neighbour of what comes after it.
        let first = if self.omitted > 0 { KEPT } else { 0 };
        let near = &mut self.runs[first..];
        for length in 1..=LONGEST {
            let Some(begin) = near.len().checked_sub(length) else { break };
            let (before, newest) = near.split_at_mut(begin);
            let is_plain =
                |runs: &[Run]| runs.iter().all(|run| run.steps.len() == 1 && run.times == 1);
            if !is_plain(newest) {
                break;
            }
            let newest_steps = || newest.iter().map(|run| run.steps[0]);
            if let Some(run) = before.last_mut()
                && run.steps.len() == length
                && run.steps.iter().copied().eq(newest_steps())
            {
                run.times += 1;
                self.runs.truncate(first + begin);
                return true;
            }
            if let Some(again) = begin.checked_sub(length)
                && is_plain(&before[again..])
                && before[again..].iter().map(|run| run.steps[0]).eq(newest_steps())
            {
                let steps = newest_steps().collect();
                self.runs.truncate(first + again);
                self.runs.push(Run { steps, times: 2 });
                return true;
            }
        }
        false
    }
}

/// How many lines a trail keeps at each end (DESIGN.md §3.1).
const KEPT: usize = 16;

/// The longest loop whose repeats are folded.
const LONGEST: usize = 4;
