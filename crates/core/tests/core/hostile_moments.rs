//! Users' code at the moments at which a node changes: it fires, cancels, extends and leaves what is
//! just ending, being made, replaced or freed. Each of these once crashed, hung, or ended a thing
//! twice; under AddressSanitizer they say where.

#![allow(unsafe_code, reason = "a waker by hand: what its clone does is its executor's")]

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use thence_core::{
    Canceller, Deferred, Failure, Fault, FlowContext, FlowLocal, Kind, Lock, Never, Outcome, Step,
    Trigger, Wait, flow, hosting,
};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// An error that does something each time it is told of a step.
struct Acts(Rc<dyn Fn()>);

impl Fault for Acts {
    type Trail = ();
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, (): &mut (), _: Step) {
        (self.0)();
    }

    fn message(&self) -> String {
        "acts".to_owned()
    }

    fn steps(&self, (): &()) -> Vec<Step> {
        Vec::new()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

/// An error whose trail does what [`AT_DEFAULT`] says when it is made.
#[derive(Debug)]
struct Trailed;

#[derive(Clone)]
struct Trail;

thread_local! {
    static AT_DEFAULT: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn at_default(f: impl FnOnce() + 'static) {
    AT_DEFAULT.with_borrow_mut(|slot| *slot = Some(Box::new(f)));
}

impl Default for Trail {
    fn default() -> Self {
        if let Some(f) = AT_DEFAULT.take() {
            f();
        }
        Self
    }
}

impl Fault for Trailed {
    type Trail = Trail;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, _: &mut Trail, _: Step) {}

    fn message(&self) -> String {
        "trailed".to_owned()
    }

    fn steps(&self, _: &Trail) -> Vec<Step> {
        Vec::new()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

fn counted<T>(d: Deferred<T, impl Fault>, log: &Log, name: &'static str) {
    let log = log.clone();
    d.settled().done(move |outcome| {
        log.add(match outcome {
            Outcome::Ok(_) => format!("{name} ok"),
            Outcome::Err(error) => format!("{name} {}", error.message()),
            Outcome::Stop(stop) => format!("{name} {stop}"),
        });
    });
}

#[test]
fn an_error_that_cancels_its_own_deferred_while_it_is_told_ends_it_once() {
    checked(|_| {
        let log = &Log::new();
        for _ in 0..3 {
            let (trigger, d) = Deferred::<u64, Acts>::with_error();
            let canceller = d.canceller();
            let owned = Rc::new(());
            counted(d.map(|n| n + 1), log, "end");
            let kept = owned.clone();
            trigger.fail(Acts(Rc::new(move || {
                let _ = &kept;
                canceller.cancel();
            })));
            assert_eq!(Rc::strong_count(&owned), 1, "the error was dropped, once");
        }
        log.expect(&["end acts", "end acts", "end acts"]);
    });
}

#[test]
fn an_error_that_cancels_its_step_while_it_is_told_ends_it_once() {
    checked(|_| {
        let log = &Log::new();
        let canceller = Cell::<Canceller>::new();
        let (trigger, d) = Deferred::<u8, Acts>::with_error();
        let by_error = canceller.clone();
        let d = d.and_then(move |_| {
            Err::<u8, _>(Acts(Rc::new(move || {
                if let Some(canceller) = by_error.take() {
                    canceller.cancel();
                }
            })))
        });
        canceller.put(d.canceller());
        counted(d, log, "step");
        trigger.fire(1);
        log.expect(&["step acts"]);
    });
}

#[test]
fn an_error_that_drops_or_extends_its_deferred_while_it_is_told_is_handed_on_once() {
    checked(|_| {
        let log = &Log::new();
        for extends in [true, false] {
            let held = Cell::<Deferred<u8, Acts>>::new();
            let (trigger, d) = Deferred::<u8, Acts>::with_error();
            held.put(d);
            let (taken, log) = (held.clone(), log.clone());
            trigger.fail(Acts(Rc::new(move || {
                let Some(d) = taken.take() else { return };
                if extends {
                    counted(d, &log, "extended");
                } else {
                    drop(d.recover(|_| 0));
                }
            })));
        }
        log.expect(&["extended acts"]);
    });
}

#[test]
fn a_trail_that_cancels_the_source_it_is_made_for_makes_the_error_a_late_one() {
    checked(|_| {
        let log = &Log::new();
        let (trigger, d) = Deferred::<u64, Trailed>::with_error();
        let canceller = d.canceller();
        counted(d, log, "end");
        at_default(move || canceller.cancel());
        trigger.fail(Trailed);
        log.expect(&["end cancelled"]);
    });
}

#[test]
fn a_request_stops_a_source_without_making_a_trail() {
    checked(|_| {
        let log = &Log::new();
        let (trigger, d) = Deferred::<u64, Trailed>::with_error();
        let held = Cell::new();
        held.put(trigger);
        let taken = held.clone();
        at_default(move || {
            if let Some(trigger) = taken.take() {
                Trigger::fire(trigger, 7);
            }
        });
        let canceller = d.canceller();
        counted(d.map(|n| n + 1), log, "end");
        canceller.cancel();
        assert!(AT_DEFAULT.take().is_some(), "a Stop has no trail");
        drop(held.take());
        log.expect(&["end cancelled"]);
    });
}

#[test]
fn a_flow_whose_trail_panics_leaves_the_list_of_what_is_unfinished_once() {
    checked(|reports| {
        let log = &Log::new();
        let (before, kept) = Deferred::<u8>::new();
        let (go, wait) = Deferred::<(), Never>::infallible();
        let d: Deferred<u8, Trailed> = Deferred::from_future(async move {
            wait.await;
            Err(Trailed)
        });
        let (after, kept_too) = Deferred::<u8>::new();
        counted(d, log, "flow");
        at_default(|| panic!("no trail"));
        go.fire(());
        reports.expect(&["trailed"]);
        assert_eq!(hosting::live().flows, 0);
        log.expect(&["flow panicked: no trail"]);
        // Both neighbours in the list are there still, and leave it in any order.
        let waiters = [kept.map(drop).settled(), kept_too.map(drop).settled()];
        assert_eq!(hosting::unfinished().len(), 2);
        drop(before);
        assert_eq!(hosting::unfinished().len(), 1);
        drop(after);
        reports.expect_kinds(&[]);
        for waiter in waiters {
            waiter.done(|outcome| assert!(!outcome.is_ok()));
        }
    });
}

#[test]
fn an_await_that_outlives_its_flow_leads_nowhere() {
    checked(|_| {
        let log = &Log::new();
        // Two awaits in one flow; the second is moved out before the flow ends with the first.
        let saved = Cell::<Wait<(), Failure>>::new();
        let (first, a) = Deferred::<()>::new();
        let (second, b) = Deferred::<()>::new();
        // Too late for a request: they end when they are fired or dropped.
        first.on_cancel(|| ());
        second.on_cancel(|| ());
        let b = b.then(|outcome| Deferred::ended(outcome));
        let keep = saved.clone();
        let ended = flow(async move {
            let (mut a, mut b) = (a.into_future(), Some(b.into_future()));
            std::future::poll_fn(move |task| {
                if let Some(wait) = &mut b {
                    let _ = Pin::new(wait).poll(task);
                }
                let done = Pin::new(&mut a).poll(task);
                if done.is_ready()
                    && let Some(wait) = b.take()
                {
                    keep.put(wait);
                }
                done
            })
            .await
        });
        let canceller = ended.canceller();
        // The flow's waiter runs and is freed; the flow itself is kept by the await.
        counted(ended.map(|()| ()), log, "flow");
        let (held, away) = (first, canceller);
        away.cancel(); // the request stands in the flow, and in what it awaits
        held.fire(());
        // Memory that a stale link would reach is something else by now.
        let others: Vec<_> = (0..64).map(|_| Deferred::<[u64; 4]>::new()).collect();
        hosting::unfinished();
        drop(second); // `Stop(Cancelled)` reaches `then`: the request is fulfilled, and goes no further
        drop(saved.take());
        for (trigger, d) in others {
            trigger.fire([0; 4]);
            d.report();
        }
        log.expect(&["flow ok"]);
    });
}

#[test]
fn a_context_that_ends_with_a_replaced_forwarder_may_fire_what_it_waited_for() {
    struct Fires;
    impl Drop for Fires {
        fn drop(&mut self) {
            AT_END.with_borrow_mut(|at_end| {
                if let Some(f) = at_end.take() {
                    f();
                }
            });
        }
    }
    thread_local! {
        static AT_END: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    }
    static LOCAL: FlowLocal<Arc<Fires>> = FlowLocal::new();

    checked(|_| {
        let log = &Log::new();
        let (source, d) = Deferred::<u8>::new();
        let (go, outer) = Deferred::<()>::new();
        let (go_on, last) = Deferred::<()>::new();
        // A forwarder that was made in a context of its own, whose last count it has.
        let context = FlowContext::current().with_local(&LOCAL, Arc::new(Fires));
        let forwarder = context.enter(|| outer.and_then(move |()| d));
        drop(context);
        go.fire(());
        // Another one takes its place: one hop and never two.
        let end = last.and_then(move |()| forwarder);
        AT_END.with_borrow_mut(|at_end| *at_end = Some(Box::new(move || source.fire(5))));
        let keep = Cell::new();
        keep.put(end);
        go_on.fire(());
        counted(keep.take().unwrap(), log, "end");
        log.expect(&["end ok"]);
    });
}

#[test]
fn a_closure_that_extends_its_own_deferred_as_it_is_dropped_is_handed_on_once() {
    checked(|_| {
        let log = &Log::new();
        let own = Cell::<Deferred<u8>>::new();
        let (trigger, d) = Deferred::<u8>::new();
        let back = log.clone();
        trigger.on_unclaimed(move |n| back.add(format!("back {n}")));
        let (taken, noted) = (own.clone(), log.clone());
        let extends = OnDrop::new(move || {
            if let Some(d) = taken.take() {
                drop(d.inspect(move |n| noted.add(format!("extended {n}"))));
            }
        });
        // Passed by, so that it is dropped without a call.
        own.put(d.or_else(move |failure: Failure| {
            let _extends = &extends;
            Err::<u8, _>(failure)
        }));
        trigger.fire(3);
        log.expect(&["extended 3", "back 3"]);
    });
}

#[test]
fn a_canceller_that_ends_its_source_and_drops_all_that_keeps_it_is_heard_once() {
    checked(|_| {
        let log = &Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (held, d) = (Cell::new(), d);
        held.put(trigger);
        let own = Cell::new();
        let (taken, left) = (held.clone(), own.clone());
        let log_too = log.clone();
        held.with(|trigger: &mut Trigger<u8>| {
            trigger.on_cancel(move || {
                log_too.add("asked");
                drop(left.take());
                drop(taken.take());
            });
        });
        let canceller = d.canceller();
        own.put(d.map(|n| n + 1));
        canceller.cancel();
        canceller.cancel();
        log.expect(&["asked"]);
    });
}

#[test]
fn a_waker_whose_clone_panics_or_ends_what_is_awaited_leaves_nothing_behind() {
    checked(|_| {
        let log = &Log::new();
        for acts in [Clones::Panic, Clones::Fire] {
            let (trigger, d) = Deferred::<u8>::new();
            let fires = Cell::new();
            fires.put(trigger);
            let mut wait = d.into_future();
            let shared = Rc::new(Part { acts, trigger: fires });
            let waker = part(&shared);
            let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                Pin::new(&mut wait).poll(&mut Context::from_waker(&waker))
            }));
            log.add(match polled {
                Err(_) => "panicked",
                Ok(Poll::Ready(Ok(7))) => "ready",
                Ok(_) => "pending",
            });
            drop(wait);
            if let Some(trigger) = shared.trigger.take() {
                trigger.fire(0); // nobody is there any more
            }
        }
        log.expect(&["panicked", "ready"]);
    });
}

#[test]
fn a_waker_that_drops_the_await_it_wakes_is_heard_once() {
    struct DropsIt;
    impl Wake for DropsIt {
        fn wake(self: Arc<Self>) {
            DROPPED.with_borrow_mut(|dropped| drop(dropped.take()));
        }
    }
    thread_local! {
        static DROPPED: RefCell<Option<Wait<u8, Failure>>> = const { RefCell::new(None) };
    }
    checked(|_| {
        let log = &Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let back = log.clone();
        trigger.on_unclaimed(move |n| back.add(format!("back {n}")));
        let mut wait = d.into_future();
        let waker = Waker::from(Arc::new(DropsIt));
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
        DROPPED.with_borrow_mut(|dropped| *dropped = Some(wait));
        trigger.fire(4);
        log.expect(&["back 4"]);
    });
}

#[test]
fn a_value_that_fires_its_like_as_it_is_dropped_is_dropped_once() {
    struct Link(Option<Trigger<Link>>, Log);
    impl Drop for Link {
        fn drop(&mut self) {
            if let Some(next) = self.0.take() {
                self.1.add("next");
                next.fire(Self(None, self.1.clone()));
            }
        }
    }
    checked(|_| {
        let log = &Log::new();
        let (trigger, d) = Deferred::<Link>::new();
        let (first, start) = Deferred::<Link>::new();
        drop(d);
        drop(start);
        first.fire(Link(Some(trigger), log.clone()));
        log.expect(&["next"]);
    });
}

#[test]
fn to_set_a_hook_runs_nothing_that_was_queued_before() {
    checked(|_| {
        let lock = Lock::new(());
        let set = Cell::<Waker>::new();
        let (stored, held) = (set.clone(), lock.clone());
        flow(async move {
            let guard = held.acquire().await;
            std::future::poll_fn(|task| {
                if !stored.is_empty() {
                    return Poll::Ready(());
                }
                stored.put(task.waker().clone());
                Poll::Pending
            })
            .await;
            drop(guard);
            Ok(())
        })
        .report();
        set.with(|waker| waker.wake_by_ref()); // the flow is queued; it lets go of the lock
        let waiter = lock.acquire(); // who waits sets hooks, and is in line when that happens
        hosting::run_until_idle();
        assert!(waiter.is_ready(), "a waiter waits for a free lock");
        drop(set.take());
        drop(waiter);
    });
}

#[test]
fn a_shared_one_whose_end_was_queued_reaches_who_comes_then() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let shared = d.shared();
        let hold = hosting::hold();
        Deferred::<(), Never>::ok(()).done(move |()| trigger.fire(1));
        drop(hold);
        let waiter = shared.wait();
        hosting::run_until_idle();
        assert_eq!(outcome_of(waiter).take().as_deref(), Some("ok 1"));
        assert_eq!(outcome_of(shared.wait()).take().as_deref(), Some("ok 1"));
    });
}

#[test]
fn a_thread_that_is_ending_may_ask_for_its_beacon() {
    struct Asks;
    impl Drop for Asks {
        fn drop(&mut self) {
            assert!(hosting::beacon().running().is_none());
        }
    }
    thread_local! {
        static ASKS: Asks = const { Asks };
    }
    std::thread::spawn(|| {
        ASKS.with(|_| ());
        hosting::beacon();
    })
    .join()
    .unwrap();
}

#[test]
fn of_two_stops_in_one_poll_the_first_is_met_and_the_other_is_told() {
    checked(|reports| {
        let (a, b) = (Deferred::<()>::new(), Deferred::<()>::new());
        let d = flow(async move {
            let mut waits = [a.1.into_future(), b.1.into_future()];
            std::future::poll_fn(move |task| {
                for wait in &mut waits {
                    let _ = Pin::new(wait).poll(task);
                }
                Poll::<()>::Pending
            })
            .await;
            Ok(())
        });
        drop(a.0);
        drop(b.0);
        assert_eq!(outcome_of(d).take().as_deref(), Some("lost"));
        // The other one reached nobody.
        reports.expect_kinds(&[Kind::Lost]);
    });
}

/// What a hand-made waker does when it is cloned.
#[derive(Clone, Copy)]
enum Clones {
    Panic,
    Fire,
}

struct Part {
    acts: Clones,
    trigger: Cell<Trigger<u8>>,
}

/// A waker whose clone acts; it is used on one thread.
fn part(part: &Rc<Part>) -> Waker {
    fn clone(data: *const ()) -> RawWaker {
        // SAFETY: `part` made the pointer of an `Rc`, of which each waker has a count.
        let part = unsafe {
            Rc::increment_strong_count(data.cast::<Part>());
            Rc::from_raw(data.cast::<Part>())
        };
        match part.acts {
            Clones::Panic => panic!("no clone"),
            Clones::Fire => {
                if let Some(trigger) = part.trigger.take() {
                    trigger.fire(7);
                }
            }
        }
        RawWaker::new(Rc::into_raw(part).cast(), &TABLE)
    }
    fn drop_it(data: *const ()) {
        // SAFETY: as above.
        drop(unsafe { Rc::from_raw(data.cast::<Part>()) });
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, drop_it, |_| (), drop_it);
    // SAFETY: the table keeps the counts right.
    unsafe { Waker::from_raw(RawWaker::new(Rc::into_raw(part.clone()).cast(), &TABLE)) }
}
