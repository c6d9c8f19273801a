//! Facts 124 to 136 of docs/from-twisted.md: coroutines, which are flows here.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 125, 134 | what is no future of a `Result` does not compile: `not_a_flow` in the deck's examples |
//! | 130 | `a_million_nested_flows_end_and_are_asked_to_end` in stack.rs |

use std::cell::RefCell;
use std::future::{Future, IntoFuture, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use thence_core::{Deferred, Failure, Never, Outcome, flow, hosting};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

#[test]
fn fact_124_a_flow_runs_at_once_to_its_first_pending_await_and_a_bare_block_never() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        let f = flow(async move {
            seen.add("began");
            Deferred::<()>::ok(()).await?;
            seen.add("past a ready await");
            let n = d.await?;
            seen.add("resumed");
            Ok(n)
        });
        log.expect(&["began", "past a ready await"]);
        trigger.fire(1);
        log.expect(&["resumed"]);
        assert_eq!(outcome_of(f).take().unwrap(), "ok 1");

        let seen = log.clone();
        drop(async move { seen.add("never") });
        log.expect(&[]);
    });
}

#[test]
fn fact_126_differs_an_await_takes_the_value_of_a_fired_one_and_of_a_pending_one() {
    checked(|_| {
        for fired in [false, true] {
            let value = Rc::new(());
            let weak = Rc::downgrade(&value);
            let (trigger, d) = Deferred::<Rc<()>>::new();
            let mut later = Some((trigger, value));
            if fired {
                let (trigger, value) = later.take().unwrap();
                trigger.fire(value);
            }
            let f = flow(async move { Ok(Rc::try_unwrap(d.await?).is_ok()) });
            if let Some((trigger, value)) = later {
                trigger.fire(value);
            }
            assert_eq!(
                outcome_of(f).take().unwrap(),
                "ok true",
                "the very value, and the only one"
            );
            assert!(weak.upgrade().is_none());
        }
    });
}

#[test]
fn fact_127_an_await_gives_the_very_error_and_it_counts_as_handled() {
    checked(|_| {
        for fired in [false, true] {
            let error = std::io::Error::other("kept");
            let address = std::ptr::from_ref(error.get_ref().unwrap()).addr();
            let (trigger, d) = Deferred::<u8>::new();
            let mut later = Some((trigger, Failure::from(error)));
            if fired {
                let (trigger, failure) = later.take().unwrap();
                trigger.fail(failure);
            }
            let f = flow(async move {
                let error: std::io::Error = d.await.unwrap_err().trap()?;
                Ok(std::ptr::from_ref(error.get_ref().unwrap()).addr())
            });
            if let Some((trigger, failure)) = later {
                trigger.fail(failure);
            }
            assert_eq!(outcome_of(f).take().unwrap(), format!("ok {address}"));
        }
    });
}

#[test]
fn fact_128_differs_a_flow_that_gives_a_deferred_is_a_nest_that_flatten_waits_for() {
    checked(|_| {
        let (trigger, inner) = Deferred::<u8>::new();
        let nest: Deferred<Deferred<u8>> = flow(async move {
            // A future that is ready gives its value straight back.
            assert_eq!(ready(2).await, 2);
            Ok(inner)
        });
        assert!(nest.is_ready());
        let flat = nest.flatten();
        assert!(!flat.is_ready());
        trigger.fire(1);
        assert_eq!(outcome_of(flat).take().unwrap(), "ok 1");
    });
}

#[test]
fn fact_129_a_million_ready_awaits_need_no_stack() {
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    let thread = small.spawn(|| {
        let f = flow(async {
            let mut sum = 0_u64;
            for _ in 0..1_000_000 {
                sum += Deferred::<u64, Never>::ok(1).await;
            }
            Ok(sum)
        });
        assert_eq!(outcome_of(f).take().unwrap(), "ok 1000000");
        assert_eq!(hosting::live(), hosting::Live::default());
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn fact_131_differs_a_request_reaches_what_is_awaited_and_its_stop_ends_the_flow_there() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        trigger.on_cancel(log.noting("asked"));
        let (seen, guard) = (log.clone(), OnDrop::new(log.noting("cleaned up")));
        let f = flow(async move {
            let _guard = guard;
            let result = d.await;
            seen.add("went on");
            result
        });
        f.cancel();
        log.expect(&["asked"]);
        drop(trigger);
        log.expect(&["cleaned up"]);
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_131_a_flow_that_asks_for_the_outcome_may_translate_swallow_or_go_on() {
    checked(|_| {
        for how in ["translate", "swallow", "go on"] {
            let (_trigger, d) = Deferred::<u8>::new();
            let (clean, cleaned_up) = Deferred::<u8>::new();
            let f = flow(async move {
                let Outcome::Stop(stop) = d.settled().await else { return Ok(0) };
                match how {
                    "translate" => Err(Failure::msg(format!("gave up: {stop}"))),
                    "swallow" => Ok(1),
                    // It was told of the request, so what it awaits now is not asked to end.
                    _ => cleaned_up.await,
                }
            });
            f.cancel();
            assert!(!clean.is_cancelled());
            clean.fire(2);
            let end = match how {
                "translate" => "err gave up: cancelled",
                "swallow" => "ok 1",
                _ => "ok 2",
            };
            assert_eq!(outcome_of(f).take().unwrap(), end);
        }
    });
}

#[test]
fn fact_132_a_flow_is_freed_with_its_trigger_or_its_last_waker() {
    checked(|reports| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let guard = OnDrop::new(log.noting("freed"));
        let f = flow(async move {
            let _guard = guard;
            d.await
        });
        drop(f); // nobody waits; the flow waits for the trigger alone
        log.expect(&[]);
        drop(trigger);
        log.expect(&["freed"]);
        reports.expect_kinds(&[thence_core::Kind::Lost]);

        let guard = OnDrop::new(log.noting("freed"));
        let wakers = Cell::<Waker>::new();
        let kept = wakers.clone();
        let mut polled = false;
        let f = flow(async move {
            let _guard = guard;
            poll_fn(move |task| {
                if !std::mem::replace(&mut polled, true) {
                    kept.put(task.waker().clone());
                }
                Poll::<()>::Pending
            })
            .await;
            Ok(())
        });
        log.expect(&[]);
        drop(wakers.take());
        hosting::run_until_idle();
        log.expect(&["freed"]);
        assert_eq!(outcome_of(f).take().unwrap(), "lost");
    });
}

#[test]
fn fact_133_the_trail_goes_through_every_level() {
    checked(|_| {
        let from = line!();
        let (trigger, d) = Deferred::<u8>::new();
        let lower = flow(async move { d.await });
        let upper = flow(async move { lower.map(|n| n).await });
        trigger.fail(Failure::msg("down there"));
        let lines = Cell::new();
        let kept = lines.clone();
        let lines_of = move |failure: Failure| {
            kept.put(failure.sites().map(|site| site.line() - from).collect::<Vec<_>>());
            0
        };
        upper.recover(lines_of).done(drop);
        // Made, awaited, out of the lower flow, its step, awaited, out of the upper flow.
        assert_eq!(lines.take().unwrap(), [1, 2, 2, 3, 3, 3]);
    });
}

#[test]
fn fact_135_any_future_is_a_deferred_with_its_value_its_failure_and_a_request() {
    checked(|_| {
        let d = Deferred::from_future(ready(Ok::<_, Failure>(1)));
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
        let d = Deferred::<u8>::from_future(ready(Err(Failure::msg("no"))));
        assert_eq!(outcome_of(d).take().unwrap(), "err no");

        // A foreign future has nothing to ask: it is dropped.
        let log = Log::new();
        let guard = OnDrop::new(log.noting("dropped"));
        let kept = Rc::new(RefCell::new(None));
        let waker = kept.clone();
        let d = Deferred::<u8>::from_future(poll_fn(move |task| {
            let _guard = &guard;
            *waker.borrow_mut() = Some(task.waker().clone());
            Poll::Pending
        }));
        d.cancel();
        log.expect(&["dropped"]);
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
    });
}

#[test]
fn fact_135_differs_a_dropped_await_leaves_and_a_stop_is_asked_for_or_unwinds() {
    checked(|_| {
        // Elsewhere to drop a future is to cancel it; here it only stops the waiting.
        let (trigger, d) = Deferred::<u8>::new();
        let mut wait = d.into_future();
        assert!(poll_once(&mut wait).is_pending());
        drop(wait);
        assert!(!trigger.is_cancelled());
        trigger.fire(1);

        let (trigger, d) = Deferred::<u8>::new();
        let mut wait = d.settled().into_future();
        assert!(poll_once(&mut wait).is_pending());
        drop(trigger);
        assert!(matches!(poll_once(&mut wait), Poll::Ready(Outcome::Stop(_))));

        let (trigger, d) = Deferred::<u8>::new();
        let mut wait = d.into_future();
        drop(trigger);
        let unwound = catch_unwind(AssertUnwindSafe(|| poll_once(&mut wait)));
        assert!(unwound.is_err(), "there is no flow to end");
    });
}

#[test]
fn fact_136_differs_a_foreign_executor_awaits_a_deferred() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let mut trigger = Some(trigger);
        let ended = block_on(async { d.map(|n| n + 1).await }, || {
            trigger.take().expect("it is idle once").fire(1);
        });
        assert_eq!(ended.unwrap(), 2);
        let failed = block_on(async { Deferred::<u8>::err(Failure::msg("no")).await }, || ());
        assert_eq!(failed.unwrap_err().to_string(), "no");
    });
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Another executor: polls when woken, and calls `idle` when it has nothing to do.
fn block_on<F: Future>(future: F, mut idle: impl FnMut()) -> F::Output {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let mut future = pin!(future);
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    loop {
        if !flag.0.swap(false, Ordering::SeqCst) {
            idle();
            continue;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
    }
}
