//! Running a program to its end.

use std::{cell::RefCell, io, rc::Rc, sync::Arc, time::Duration};

use thence_core::{Failure, Outcome, Stop, flow, hosting};

use crate::{
    drain::{Drained, Why},
    hub::Hub,
    reactor::Reactor,
    signals::{Signal, SignalSource},
    time::later,
};

/// Runs `main` on a reactor of its own, until it has ended and everything it started has.
///
/// Main's end, SIGINT, SIGTERM or [`Handle::stop`](crate::Handle::stop) begin the drain: listeners
/// take in what is at the door and close, what is queued is delivered, and flows, steps, jobs and
/// writes that are under way have ten seconds to end. What has not ended by then is cancelled, each
/// with a line in the log that says where it is. Listeners, [`every`](crate::every), subscriptions
/// and timers that nobody waits for do not hold it open. A second signal ends at once.
///
/// ```
/// use std::time::Duration;
/// use thence_core::Failure;
///
/// fn main() -> Result<(), Failure> {
///     thence_reactor::run(async {
///         thence_reactor::after(Duration::from_millis(1)).await;
///         println!("hello");
///         Ok(())
///     })
/// }
/// ```
///
/// # Errors
///
/// What `main` fails with. [`Drained`] when the drain stopped it before it had a value; a main that
/// is to end well then waits for [`draining`](crate::draining) and returns. What was cut, after a
/// second signal. And when this thread has a reactor already: a run inside a run is an error.
#[track_caller]
pub fn run<T: 'static>(
    main: impl Future<Output = Result<T, Failure>> + 'static,
) -> Result<T, Failure> {
    Reactor::builder().build()?.run(main)
}

/// Whether this thread has a reactor, which timers, sockets and the pool need. What is woken while one
/// is dropped finds none any more.
///
/// ```
/// assert!(!thence_reactor::has_reactor());
/// thence_reactor::run(async {
///     assert!(thence_reactor::has_reactor());
///     Ok(())
/// })
/// .unwrap();
/// ```
pub fn has_reactor() -> bool {
    Hub::try_current().is_some()
}

impl Reactor {
    /// As [`run`], on this reactor, which can run again afterwards.
    ///
    /// # Errors
    ///
    /// As [`run`].
    #[track_caller]
    pub fn run<T: 'static>(
        &mut self,
        main: impl Future<Output = Result<T, Failure>> + 'static,
    ) -> Result<T, Failure> {
        let end = Rc::new(RefCell::new(None));
        let slot = end.clone();
        self.hub.drain.reset();
        self.cut.clear();
        let watched = self.watch_signals()?;
        let held = hosting::hold();
        let hub = Rc::downgrade(&self.hub);
        flow(main).settled().done(move |outcome| {
            slot.replace(Some(outcome));
            if let Some(hub) = hub.upgrade() {
                hub.begin_drain(Why::Ended);
            }
        });
        drop(held);
        let finished = self.run_to_the_end();
        for source in watched {
            source.set_drains(false);
        }
        let cut = finished?;
        match (end.take(), cut) {
            (_, Some(cut)) => Err(cut),
            (Some(Outcome::Ok(value)), None) => Ok(value),
            (Some(Outcome::Err(failure)), None) => Err(failure),
            (Some(Outcome::Stop(Stop::Cancelled)) | None, None) => {
                Err(match self.hub.drain.why() {
                    None | Some(Why::Ended) => Failure::msg("main was cancelled"),
                    Some(why) => Failure::from(Drained { why }),
                })
            }
            (Some(Outcome::Stop(stop)), None) => Err(Failure::msg(format!("main {stop}"))),
        }
    }

    fn watch_signals(&self) -> Result<Vec<Rc<SignalSource>>, Failure> {
        if !self.signals {
            return Ok(Vec::new());
        }
        let both = [Signal::Interrupt, Signal::Terminate].map(|signal| {
            let source = SignalSource::of(&self.hub, signal)
                .map_err(|error| Failure::from(error).context(format!("cannot watch {signal}")))?;
            source.set_drains(true);
            Ok(source)
        });
        both.into_iter().collect()
    }

    /// Turns until everything has ended; gives what a second signal cut, if one came.
    fn run_to_the_end(&mut self) -> io::Result<Option<Failure>> {
        while self.hub.drain.why().is_none() {
            self.round(None)?;
        }
        let deadline = later(self.hub.now(), self.drain);
        // A job that has ended may leave nothing else to wake for.
        let inbox = hosting::inbox();
        self.hub.jobs.when_finished(Arc::new(move || {
            let _ = inbox.post(Box::new(|| ()));
        }));
        while !self.is_quiet()? {
            if let Some(signal) = self.hub.drain.cut() {
                return Ok(Some(self.cut_by(signal)));
            }
            let left = deadline.saturating_duration_since(self.hub.now());
            if left.is_zero() {
                self.cut_at_deadline()?;
                break;
            }
            self.round(Some(left))?;
        }
        Ok(None)
    }

    /// Whether everything has ended. Takes a turn, which does not wait, to be sure.
    fn is_quiet(&mut self) -> io::Result<bool> {
        if !self.nothing_lives() {
            return Ok(false);
        }
        self.round(Some(Duration::ZERO))?;
        Ok(self.nothing_lives() && self.turner.is_idle(&self.hub))
    }

    fn nothing_lives(&self) -> bool {
        let live = hosting::live();
        live.flows == 0
            && live.steps == 0
            && self.hub.unsent.get() == 0
            && self.hub.jobs.unfinished() == 0
            && hosting::queue_is_empty()
            && hosting::inbox().is_empty()
    }

    /// The time is up: says what is left, and asks it to end.
    fn cut_at_deadline(&mut self) -> io::Result<()> {
        tracing::warn!(
            "{} unfinished after {:?} of draining, cancelled: {}",
            self.count_unfinished(),
            self.drain,
            self.hub.drain.why().map_or_else(String::new, |why| why.to_string())
        );
        self.cut = unfinished();
        for line in &self.cut {
            tracing::warn!("{line}");
        }
        hosting::cancel_unfinished();
        for _ in 0..TURNS_AFTER_DEADLINE {
            self.round(Some(Duration::ZERO))?;
            if self.nothing_lives() {
                break;
            }
        }
        Ok(())
    }

    fn cut_by(&self, signal: Signal) -> Failure {
        let count = self.count_unfinished();
        tracing::warn!("{signal} again while draining: ends at once, {count} unfinished");
        for line in unfinished() {
            tracing::warn!("{line}");
        }
        Failure::msg(format!("a second {signal} cut the drain: {count} unfinished"))
    }

    fn count_unfinished(&self) -> String {
        let live = hosting::live();
        let counts = [
            (live.flows, "flow", "flows"),
            (live.steps, "step", "steps"),
            (self.hub.jobs.unfinished(), "offloaded job", "offloaded jobs"),
            (
                self.hub.unsent.get(),
                "connection with unsent bytes",
                "connections with unsent bytes",
            ),
        ];
        let parts: Vec<String> = counts
            .into_iter()
            .filter(|(n, ..)| *n > 0)
            .map(|(n, one, many)| format!("{n} {}", if n == 1 { one } else { many }))
            .collect();
        if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
    }
}

/// One line for each, with the place in the program.
fn unfinished() -> Vec<String> {
    let line = |unfinished: hosting::Unfinished| {
        let kind = if unfinished.is_flow { "flow" } else { "chain" };
        let label = unfinished.label.map_or_else(String::new, |label| format!(" `{label}`"));
        let waiter = match unfinished.waiter {
            Some(waiter) if waiter != unfinished.site => format!(", awaited at {waiter}"),
            _ => String::new(),
        };
        format!("unfinished {kind}{label} at {}{waiter}", unfinished.site)
    };
    hosting::unfinished().into_iter().map(line).collect()
}

/// Cancelled work has this many turns to end itself: destructors, `finally`, a last message.
const TURNS_AFTER_DEADLINE: usize = 100;
