//! The three lanes (DESIGN.md §3.3).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use thence_core::{Deferred, Failure, Never, Outcome, Stop, Wait, flow};

use crate::common::{Log, OnDrop, checked, ending, outcome_of};

fn stops() -> [Stop; 3] {
    [Stop::Cancelled, Stop::lost(), Stop::panicked(Box::new("elsewhere"))]
}

/// A chain of every step that must not see a stop.
fn every_step(d: Deferred<u8>, log: &Log) -> Deferred<u8, Never> {
    let log = || log.clone();
    let (a, b, c, e, f, g, h, i, j) =
        (log(), log(), log(), log(), log(), log(), log(), log(), log());
    d.map(move |n| {
        a.add("map");
        n
    })
    .and_then(move |n| {
        b.add("and_then");
        Ok(n)
    })
    .and_then_try(move |n| {
        c.add("and_then_try");
        Ok(Deferred::ok(n))
    })
    .map_err(move |error| {
        e.add("map_err");
        error
    })
    .or_else(move |error| {
        f.add("or_else");
        Err::<u8, Failure>(error)
    })
    .inspect(move |_| g.add("inspect"))
    .inspect_err(move |_| h.add("inspect_err"))
    .branch(
        move |n| {
            i.add("branch ok");
            Ok::<_, Failure>(n)
        },
        Err,
    )
    .shield()
    .err_into::<Failure>()
    .named("last")
    .recover(move |_| {
        j.add("recover");
        0
    })
}

#[test]
fn no_step_sees_a_stop_but_those_that_ask() {
    checked(|_| {
        for (n, stop) in stops().into_iter().enumerate() {
            for ready in [false, true] {
                let log = Log::new();
                let (trigger, mut d) = Deferred::<u8>::new();
                let mut trigger = Some(trigger);
                if ready {
                    drop(outcome_of(std::mem::replace(&mut d, Deferred::ok(0))));
                    drop(trigger.take());
                    d = Deferred::ended(Outcome::Stop(stop.clone()));
                }
                let d = every_step(d, &log).finally(log.noting("finally"));
                if let Some(trigger) = trigger {
                    trigger.settle(Outcome::Stop(stop.clone()));
                }
                let end = outcome_of(d).take().unwrap();
                assert_eq!(end, ["cancelled", "lost", "panicked: elsewhere"][n]);
                log.expect(&["finally"]);
            }
        }
    });
}

#[test]
fn then_and_settled_see_every_lane() {
    checked(|_| {
        let lanes = || -> Vec<Outcome<u8>> {
            let mut lanes = vec![Outcome::Ok(1), Outcome::Err(Failure::msg("no"))];
            lanes.extend(stops().map(Outcome::Stop));
            lanes
        };
        for outcome in lanes() {
            let expected = ending(&outcome);
            let (trigger, d) = Deferred::<u8>::new();
            let d = d.then(|outcome| Ok::<_, Failure>(ending(&outcome)));
            trigger.settle(outcome.clone());
            assert_eq!(outcome_of(d).take().unwrap(), format!("ok {expected:?}"));
            let (trigger, d) = Deferred::<u8>::new();
            let seen = outcome_of(d);
            trigger.settle(outcome);
            assert_eq!(seen.take().unwrap(), expected);
        }
    });
}

#[test]
fn a_stop_drops_a_flows_future_at_the_await_and_panicking_is_false() {
    checked(|_| {
        for stop in stops() {
            let log = Log::new();
            let (trigger, d) = Deferred::<u8>::new();
            let (outer, inner, after) = (log.clone(), log.clone(), log.clone());
            let f = flow(async move {
                let _first = OnDrop::new(move || {
                    assert!(!std::thread::panicking());
                    outer.add("first made, last dropped");
                });
                let _second = OnDrop::new(move || inner.add("last made, first dropped"));
                let n = d.await?;
                after.add("went on");
                Ok(n)
            });
            let expected = Outcome::<u8>::Stop(stop.clone());
            trigger.settle(Outcome::Stop(stop));
            log.expect(&["last made, first dropped", "first made, last dropped"]);
            assert_eq!(outcome_of(f).take().unwrap(), ending(&expected));
        }
    });
}

/// Polls both, as `join!` does.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut of_a, mut of_b) = (None, None);
    poll_fn(|cx| {
        if of_a.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            of_a = Some(value);
        }
        if of_b.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            of_b = Some(value);
        }
        if of_a.is_some() && of_b.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (of_a.unwrap(), of_b.unwrap())
}

#[test]
fn a_join_cannot_hide_a_stop() {
    checked(|_| {
        let log = Log::new();
        let (a, d) = Deferred::<u8>::new();
        let (b, e) = Deferred::<u8>::new();
        let seen = log.clone();
        let f = flow(async move {
            let late = async {
                let value = e.await;
                seen.add("awaits of that poll went on");
                value
            };
            let (a, b) = both(d.into_future(), late).await;
            Ok(a? + b?)
        });
        b.fire(2);
        log.expect(&["awaits of that poll went on"]);
        drop(a);
        assert_eq!(outcome_of(f).take().unwrap(), "lost");
    });
}

#[test]
fn after_a_stop_every_further_await_of_the_poll_is_pending() {
    checked(|reports| {
        let log = Log::new();
        let seen = log.clone();
        let f = flow(async move {
            let stopped = Deferred::<u8>::ended(Outcome::Stop(Stop::Cancelled));
            let other = async {
                let value = Deferred::<u8>::ok(1).await;
                seen.add("went on");
                value
            };
            let _ = both(stopped.into_future(), other).await;
            Ok(())
        });
        log.expect(&[]);
        assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
        assert!(reports.is_empty());
    });
}

#[test]
fn a_stop_wins_over_what_the_poll_returned() {
    checked(|reports| {
        for fails in [false, true] {
            let mut stopped: Wait<u8, Failure> =
                Deferred::ended(Outcome::Stop(Stop::Cancelled)).into_future();
            let f = flow(poll_fn(move |cx| {
                assert!(Pin::new(&mut stopped).poll(cx).is_pending());
                Poll::Ready(if fails { Err(Failure::msg("returned")) } else { Ok(5) })
            }));
            assert_eq!(outcome_of(f).take().unwrap(), "cancelled");
            if fails {
                reports.expect(&["returned"]);
            }
        }
    });
}

#[test]
fn a_stop_awaited_on_a_foreign_executor_unwinds() {
    checked(|_| {
        let mut task = Context::from_waker(Waker::noop());
        for (stop, text) in stops().into_iter().zip(["cancelled", "lost", ""]) {
            let mut wait = Deferred::<u8>::ended(Outcome::Stop(stop)).into_future();
            let caught = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut wait).poll(&mut task)));
            let payload = caught.map(|poll| poll.is_ready()).unwrap_err();
            match payload.downcast::<Stop>() {
                Ok(stop) => assert!(stop.to_string().starts_with(text)),
                Err(payload) => assert_eq!(payload.downcast_ref(), Some(&"elsewhere")),
            }
        }
    });
}

#[test]
fn settled_on_a_foreign_executor_gives_the_stop() {
    checked(|_| {
        let mut task = Context::from_waker(Waker::noop());
        let (trigger, d) = Deferred::<u8>::new();
        let mut wait = d.settled().into_future();
        assert!(Pin::new(&mut wait).poll(&mut task).is_pending());
        drop(trigger);
        let Poll::Ready(outcome) = Pin::new(&mut wait).poll(&mut task) else { panic!("pending") };
        assert_eq!(ending(&outcome), "lost");
    });
}

#[test]
fn await_gives_a_result_and_plain_values_where_nothing_can_fail() {
    checked(|_| {
        flow(async {
            let plain: u8 = Deferred::<u8, Never>::ok(1).await;
            let result: Result<u8, Failure> = Deferred::<u8>::err(Failure::msg("no")).await;
            let io: Result<u8, std::io::Error> = Deferred::err(std::io::Error::other("no")).await;
            assert!(plain == 1 && result.is_err() && io.is_err());
            Ok(())
        })
        .report();
    });
}

#[test]
fn finally_runs_on_every_lane_and_passes_the_end_on() {
    checked(|_| {
        let log = Log::new();
        let d = Deferred::<u8>::ok(1).finally(log.noting("ok"));
        assert_eq!(outcome_of(d).take().unwrap(), "ok 1");
        let d = Deferred::<u8>::err(Failure::msg("no")).finally(log.noting("err"));
        assert_eq!(outcome_of(d).take().unwrap(), "err no");
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.finally(log.noting("stop"));
        d.cancel();
        assert_eq!(outcome_of(d).take().unwrap(), "cancelled");
        drop(trigger);
        log.expect(&["ok", "err", "stop"]);
    });
}

#[test]
fn a_panicking_finally_is_the_end_and_the_error_it_had_is_told() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        let d = d.finally(|| panic!("clean-up"));
        trigger.fail(Failure::msg("first"));
        reports.expect(&["first"]);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: clean-up");
    });
}

#[test]
fn every_callback_may_panic() {
    type Make = fn(Deferred<u8>) -> Deferred<u8>;
    let on_ok: [Make; 6] = [
        |d| d.map(|_| panic!("here")),
        |d| d.and_then(|_| -> Result<u8, Failure> { panic!("here") }),
        |d| d.and_then_try(|_| panic!("here")),
        |d| d.inspect(|_| panic!("here")),
        |d| d.then(|_| -> Result<u8, Failure> { panic!("here") }),
        |d| d.branch(|_| -> Result<u8, Failure> { panic!("here") }, Err),
    ];
    let on_err: [Make; 5] = [
        |d| d.map_err(|_| -> Failure { panic!("here") }),
        |d| d.or_else(|_| -> Result<u8, Failure> { panic!("here") }),
        |d| d.inspect_err(|_| panic!("here")),
        |d| d.branch(Ok, |_| -> Result<u8, Failure> { panic!("here") }),
        |d| d.recover(|_| panic!("here")).map_err(|never| match never {}),
    ];
    checked(move |reports| {
        let makes = on_ok.map(|make| (true, make)).into_iter().chain(on_err.map(|m| (false, m)));
        for (value, make) in makes {
            for how in 0..3 {
                let end = move |trigger: thence_core::Trigger<u8>| match value {
                    true => trigger.fire(1),
                    false => trigger.fail(Failure::msg("no")),
                };
                let seen = match how {
                    0 => {
                        let (trigger, d) = Deferred::new();
                        let seen = outcome_of(make(d));
                        end(trigger);
                        seen
                    }
                    1 => {
                        let (trigger, d) = Deferred::new();
                        end(trigger);
                        outcome_of(make(d))
                    }
                    _ => {
                        let cell = crate::common::Cell::new();
                        let kept = cell.clone();
                        Deferred::<(), Never>::ok(()).done(move |()| {
                            let (trigger, d) = Deferred::new();
                            end(trigger);
                            kept.put(outcome_of(make(d)));
                        });
                        cell.take().unwrap()
                    }
                };
                assert_eq!(seen.take().unwrap(), "panicked: here");
            }
        }
        let f = flow(async { if true { panic!("here") } else { Ok(1_u8) } });
        assert_eq!(outcome_of(f).take().unwrap(), "panicked: here");
        let attempt = Deferred::<u8>::attempt(|| -> Result<u8, Failure> { panic!("here") });
        assert_eq!(outcome_of(attempt).take().unwrap(), "panicked: here");
        // What `inspect_err` looked at was not handled by it.
        reports.expect(&["no"; 3]);
    });
}

#[test]
fn a_panic_names_the_site_of_its_step() {
    checked(|_| {
        let line = line!() + 1;
        let d = Deferred::<u8>::ok(1).map(|_| -> u8 { panic!("here") });
        d.settled().done(move |outcome| {
            let Some(Stop::Panicked(panic)) = outcome.stop() else { panic!("{outcome:?}") };
            assert_eq!(panic.site().unwrap().line(), line);
        });
    });
}

#[test]
fn a_flow_drops_what_it_owns_when_it_panics() {
    checked(|_| {
        let log = Rc::new(RefCell::new(0));
        let (trigger, d) = Deferred::<u8>::new();
        let count = log.clone();
        let f = flow(async move {
            let _guard = OnDrop::new(move || *count.borrow_mut() += 1);
            d.await?;
            if true {
                panic!("after the await")
            }
            Ok(())
        });
        trigger.fire(1);
        assert_eq!(*log.borrow(), 1);
        assert_eq!(outcome_of(f).take().unwrap(), "panicked: after the await");
    });
}
