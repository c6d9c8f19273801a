//! Users' types that panic, fire, and come back in where no callback of theirs runs: destructors,
//! methods of errors, hooks, and `tracing` subscribers.

use std::panic::panic_any;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::common::{Cell, Log, OnDrop, checked, ending, outcome_of};
use futures_core::Stream;
use thence_core::{
    Deferred, Emitter, Failure, Fault, FlowContext, FlowLocal, Kind, Lock, Never, Outcome, Pool,
    Queue, Scope, Step, all, first_ok, hosting, join, on, repeat_until, restore_failure_hook,
    retry, retry_if, set_failure_hook,
};

/// Panics when it is dropped.
#[derive(Debug)]
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// What is reported of a bomb.
const ONE: &str = "panicked in a destructor or a hook: one";
const TWO: &str = "panicked in a destructor or a hook: two";

/// An error with a trail of one's own.
#[derive(Debug)]
struct Odd<Tr>(&'static str, std::marker::PhantomData<Tr>);

impl<Tr> Odd<Tr> {
    fn new(message: &'static str) -> Self {
        Self(message, std::marker::PhantomData)
    }
}

impl<Tr: Clone + Default + 'static> Fault for Odd<Tr> {
    type Trail = Tr;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, _: &mut Tr, _: Step) {}

    fn message(&self) -> String {
        self.0.to_owned()
    }

    fn steps(&self, _: &Tr) -> Vec<Step> {
        Vec::new()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

impl<Tr> Clone for Odd<Tr> {
    fn clone(&self) -> Self {
        Self::new(self.0)
    }
}

/// A trail that panics when it is dropped.
#[derive(Clone)]
struct BombTrail(#[expect(dead_code, reason = "held for its drop")] Rc<Bomb>);

impl Default for BombTrail {
    fn default() -> Self {
        Self(Rc::new(Bomb("two")))
    }
}

/// An error that panics when it is dropped, with a trail that does too.
struct BombError(#[expect(dead_code, reason = "held for its drop")] Bomb);

impl Fault for BombError {
    type Trail = BombTrail;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, _: &mut BombTrail, _: Step) {}

    fn message(&self) -> String {
        "a bomb".to_owned()
    }

    fn steps(&self, _: &BombTrail) -> Vec<Step> {
        Vec::new()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

/// A standard error that panics when it is asked what it says.
#[derive(Debug)]
struct Mute;

impl std::fmt::Display for Mute {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("no words");
    }
}

impl std::error::Error for Mute {}

/// A `tracing` subscriber that does what it is told to, at an event and when it is asked for its
/// span.
#[derive(Clone)]
struct Meddling {
    at_event: Arc<dyn Fn() + Send + Sync>,
    at_asking: Arc<dyn Fn() + Send + Sync>,
}

impl Meddling {
    fn during(
        at_event: impl Fn() + Send + Sync + 'static,
        at_asking: impl Fn() + Send + Sync + 'static,
        body: impl FnOnce(),
    ) {
        let subscriber = Self { at_event: Arc::new(at_event), at_asking: Arc::new(at_asking) };
        tracing::subscriber::with_default(subscriber, body);
    }
}

impl tracing::Subscriber for Meddling {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        (self.at_event)();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}

    fn current_span(&self) -> tracing_core::span::Current {
        (self.at_asking)();
        tracing_core::span::Current::none()
    }
}

// Reports.

#[test]
fn an_old_failure_hook_may_set_a_hook_when_it_is_dropped() {
    checked(|reports| {
        let owned = OnDrop::new(|| restore_failure_hook(set_failure_hook(|_| ())));
        let before = set_failure_hook(move |_| {
            let _ = &owned;
        });
        restore_failure_hook(before);
        drop(Deferred::<u8>::err(Failure::msg("told")));
        reports.expect(&["told"]);
    });
}

#[test]
fn a_failure_hook_that_panics_at_the_end_of_its_thread_ends_only_that() {
    std::thread::spawn(|| {
        let bomb = Bomb("one");
        drop(set_failure_hook(move |_| {
            let _ = &bomb;
        }));
    })
    .join()
    .unwrap();
}

#[test]
fn a_failure_hook_and_a_subscriber_that_panic_leave_the_drop_whole() {
    std::thread::spawn(|| {
        Meddling::during(
            || panic!("the subscriber"),
            || (),
            || {
                let before = set_failure_hook(|_| panic_any(Bomb("the hook")));
                drop(Deferred::<u8>::err(Failure::msg("told")));
                assert_eq!(thence_core::unhandled(), 1);
                restore_failure_hook(before);
            },
        );
    })
    .join()
    .unwrap();
}

#[test]
fn an_error_that_panics_when_it_is_asked_is_reported_with_its_steps() {
    checked(|reports| {
        drop(Deferred::<u8, Mute>::err(Mute));
        let line = line!() - 1;
        drop(Deferred::<u8>::err(Failure::from(Mute)));
        for report in reports.take() {
            assert_eq!(report.message(), "an error whose message panicked: no words");
            assert_eq!(report.kind(), Kind::DestructorPanicked);
            assert!(report.site().is_some_and(|site| site.line() - line < 3));
        }
        assert_eq!(thence_core::unhandled(), 2);
    });
}

#[test]
fn an_error_and_its_trail_that_panic_when_they_are_dropped_are_both_reported() {
    checked(|reports| {
        drop(Deferred::<u8, BombError>::err(BombError(Bomb("one"))));
        let mut messages: Vec<_> =
            reports.take().iter().map(|report| report.message().to_owned()).collect();
        messages.sort();
        assert_eq!(messages, ["a bomb", ONE, TWO]);
    });
}

#[test]
fn a_payload_that_panics_when_it_is_dropped_is_reported() {
    checked(|reports| {
        Deferred::<u8>::ok(1).map(|_| panic_any(Bomb("one"))).report();
        reports.expect(&["panicked: a payload that is not text", ONE]);
    });
}

#[test]
fn an_error_that_is_its_own_cause_is_reported() {
    #[derive(Debug)]
    struct Ring;
    impl std::fmt::Display for Ring {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("ring")
        }
    }
    impl std::error::Error for Ring {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(self)
        }
    }
    checked(|reports| {
        drop(Deferred::<u8, Ring>::err(Ring));
        drop(Deferred::<u8>::err(Ring.into()));
        for report in reports.take() {
            assert!(report.message().starts_with("ring: ring: "), "{}", report.message());
            assert!(report.message().ends_with(": .."), "{}", report.message());
        }
    });
}

// Trails.

#[test]
fn an_error_for_which_no_trail_can_be_made_is_told() {
    #[derive(Clone)]
    struct NoTrail;
    impl Default for NoTrail {
        fn default() -> Self {
            panic!("no trail");
        }
    }
    checked(|reports| {
        let d = Deferred::<u8, Odd<NoTrail>>::err(Odd::new("odd"));
        reports.expect(&["odd"]);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: no trail");
    });
}

#[test]
fn a_trail_that_panics_when_it_is_dropped_keeps_no_error_from_its_handler() {
    checked(|reports| {
        let odd = || Deferred::<u8, Odd<BombTrail>>::err(Odd::new("odd"));
        assert_eq!(outcome_of(odd().recover(|_| 1)).take().unwrap(), "ok 1");
        assert_eq!(outcome_of(odd().or_else(|_| Ok::<_, Never>(2))).take().unwrap(), "ok 2");
        assert_eq!(
            outcome_of(odd().then(|end| Ok::<_, Never>(ending(&end)))).take().unwrap(),
            "ok \"err odd\""
        );
        assert_eq!(outcome_of(odd()).take().unwrap(), "err odd");
        reports.expect(&[TWO; 4]);
    });
}

#[test]
fn a_trail_that_cannot_be_copied_loses_no_error() {
    #[derive(Default)]
    struct Once;
    impl Clone for Once {
        fn clone(&self) -> Self {
            panic!("one");
        }
    }
    checked(|reports| {
        drop(thence_core::all_settled([Deferred::<u8, Odd<Once>>::err(Odd::new("odd"))]));
        reports.expect(&[ONE, "odd"]);
    });
}

#[test]
fn an_error_that_panics_when_it_is_asked_for_its_steps_is_mapped() {
    #[derive(Debug)]
    struct NoSteps;
    impl Fault for NoSteps {
        type Trail = ();
        type Awaited<T> = Result<T, Self>;

        fn passed(&mut self, (): &mut (), _: Step) {}

        fn message(&self) -> String {
            "no steps".to_owned()
        }

        fn steps(&self, (): &()) -> Vec<Step> {
            panic!("one");
        }

        fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
            result
        }
    }
    checked(|reports| {
        let d = Deferred::<u8, NoSteps>::err(NoSteps).map_err(|_| Failure::msg("mapped"));
        reports.expect(&[ONE]);
        assert_eq!(outcome_of(d).take().unwrap(), "err mapped");
        drop(Deferred::<u8, NoSteps>::err(NoSteps));
        reports.expect(&[ONE, "no steps"]);
    });
}

#[test]
fn what_an_error_sets_off_when_it_is_told_of_a_step_has_run() {
    struct Firing(Option<thence_core::Trigger<u8>>);
    impl Fault for Firing {
        type Trail = ();
        type Awaited<T> = Result<T, Self>;

        fn passed(&mut self, (): &mut (), _: Step) {
            if let Some(trigger) = self.0.take() {
                trigger.fire(1);
            }
        }

        fn message(&self) -> String {
            "firing".to_owned()
        }

        fn steps(&self, (): &()) -> Vec<Step> {
            Vec::new()
        }

        fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
            result
        }
    }
    checked(|reports| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        d.map(move |n| seen.add(n)).report();
        let d = Deferred::<u8, Firing>::err(Firing(Some(trigger)));
        log.expect(&["1"]);
        drop(d);
        reports.expect(&["firing"]);
    });
}

// Steps.

#[test]
fn a_value_that_panics_when_it_is_dropped_does_not_unwind_out_of_report() {
    checked(|reports| {
        Deferred::<Bomb>::ok(Bomb("one")).report();
        let (trigger, d) = Deferred::<Bomb>::new();
        d.report();
        trigger.fire(Bomb("two"));
        reports.expect(&[ONE, TWO]);
    });
}

#[test]
fn the_branch_that_is_not_taken_may_panic_when_it_is_dropped() {
    checked(|reports| {
        let branched = |panics: bool| {
            let bomb = Bomb("one");
            let d = Deferred::<u8>::ok(1).branch(
                move |n| if panics { panic!("taken") } else { Ok::<_, Failure>(n) },
                move |_| {
                    let _bomb = &bomb;
                    Ok(2)
                },
            );
            outcome_of(d).take().unwrap()
        };
        assert_eq!(branched(false), "ok 1");
        assert_eq!(branched(true), "panicked: taken");
        reports.expect(&[ONE, ONE]);
    });
}

#[test]
fn a_value_that_is_looked_at_may_panic_when_the_looking_unwinds() {
    checked(|reports| {
        let d = Deferred::<Bomb>::ok(Bomb("one")).inspect(|_| panic!("looking")).map(|_| ());
        reports.expect(&[ONE]);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: looking");
    });
}

// Contexts.

#[test]
fn locals_that_panic_when_they_are_dropped_are_each_reported() {
    static FIRST: FlowLocal<Arc<Bomb>> = FlowLocal::new();
    static SECOND: FlowLocal<Arc<Bomb>> = FlowLocal::new();
    checked(|reports| {
        let context = FlowContext::current()
            .with_local(&FIRST, Arc::new(Bomb("one")))
            .with_local(&SECOND, Arc::new(Bomb("two")));
        let context = context.with_local(&FIRST, Arc::new(Bomb("two")));
        reports.expect(&[ONE]);
        drop(context);
        reports.expect(&[TWO, TWO]);
    });
}

#[test]
fn a_subscriber_that_panics_when_it_is_asked_for_its_span_disturbs_no_step() {
    std::thread::spawn(|| {
        Meddling::during(
            || (),
            || panic!("no span"),
            || {
                let (trigger, d) = Deferred::<u8>::new();
                let end = outcome_of(d.map(|n| n + 1));
                trigger.fire(1);
                assert_eq!(end.take().unwrap(), "ok 2");
            },
        );
    })
    .join()
    .unwrap();
}

// Events.

#[test]
fn a_handler_added_by_the_subscriber_that_is_warned_does_not_panic() {
    #[derive(Clone)]
    struct Beep;
    std::thread::spawn(|| {
        Meddling::during(
            || drop(on(|_: &Beep| ())),
            || (),
            || {
                for _ in 0..64 {
                    drop(on(|_: &Beep| ()));
                }
                let told = outcome_of(thence_core::deliver(Beep).map(|told| told.handlers));
                assert_eq!(told.take().unwrap(), "ok 65");
            },
        );
    })
    .join()
    .unwrap();
}

#[test]
fn a_handler_that_is_removed_may_panic_when_it_is_dropped() {
    checked(|reports| {
        let emitter = Emitter::new();
        let bomb = Bomb("one");
        let subscription = emitter.on(move |_: &u8| {
            let _ = &bomb;
        });
        subscription.cancel();
        reports.expect(&[ONE]);
    });
}

#[test]
fn an_event_that_panics_when_it_is_dropped_is_no_failure_of_its_handler() {
    checked(|reports| {
        let emitter = Emitter::new();
        emitter.on(|_: &Bomb| ());
        let told = outcome_of(emitter.deliver(Bomb("one")).map(|told| told.failed));
        assert_eq!(told.take().unwrap(), "ok 0");
        reports.expect(&[ONE]);
        Emitter::new().emit(Bomb("two"));
        reports.expect(&[TWO]);
    });
}

#[test]
fn an_emitter_drops_its_handlers_in_the_order_of_their_types() {
    checked(|_| {
        let log = Log::new();
        let emitter = Emitter::new();
        let owned = |what: &'static str| {
            let owned = OnDrop::new(log.noting(what));
            move || {
                let _ = &owned;
            }
        };
        let (a, b, c, d, e) = (owned("a"), owned("b"), owned("c"), owned("d"), owned("e"));
        emitter.on(move |_: &u8| a());
        emitter.on(move |_: &u16| b());
        emitter.on(move |_: &u32| c());
        emitter.on(move |_: &u64| d());
        emitter.on(move |_: &i8| e());
        drop(emitter);
        log.expect(&["a", "b", "c", "d", "e"]);
    });
}

#[test]
fn handlers_that_panic_at_the_end_of_their_thread_end_only_that() {
    std::thread::spawn(|| {
        let (first, second) = (Bomb("one"), Bomb("two"));
        on(move |_: &u8| {
            let _ = &first;
        });
        on(move |_: &u16| {
            let _ = &second;
        });
    })
    .join()
    .unwrap();
}

#[test]
fn an_event_at_the_end_of_a_thread_reaches_nobody() {
    thread_local! {
        static LAST: OnDrop<fn()> = OnDrop::new(|| thence_core::emit(1_u8));
    }
    std::thread::spawn(|| {
        // The one that is made first is destroyed last.
        LAST.with(|_| ());
        on(|_: &u8| ());
    })
    .join()
    .unwrap();
}

// Many.

#[test]
fn values_of_many_that_nobody_takes_may_panic_one_after_the_other() {
    checked(|reports| {
        let bomb = |text| Deferred::<Bomb>::ok(Bomb(text));
        drop(all([bomb("one"), bomb("two")]));
        reports.expect(&[ONE, TWO]);
        drop(join((bomb("one"), bomb("two"))));
        reports.expect(&[ONE, TWO]);
        let failing = Deferred::<Bomb>::err(Failure::msg("failed"));
        drop(all([bomb("one"), bomb("two"), failing]));
        reports.expect(&[ONE, TWO, "failed"]);
    });
}

#[test]
fn errors_of_many_may_panic_when_they_are_dropped() {
    checked(|reports| {
        let bomb = || Deferred::<u8, BombError>::err(BombError(Bomb("one")));
        let first = first_ok([bomb(), bomb(), Deferred::ok(7)]);
        assert_eq!(reports.take().len(), 4);
        assert_eq!(outcome_of(first).take().unwrap(), "ok 7");
        drop(first_ok([bomb(), bomb()]));
        let told = reports.take();
        assert_eq!(told.len(), 5);
        assert_eq!(told[0].message(), "none of 2 succeeded: a bomb; a bomb");
    });
}

#[test]
fn one_error_that_panics_when_it_is_asked_does_not_hide_what_the_others_say() {
    checked(|reports| {
        let errors = [Failure::from(Mute), Failure::msg("refused")];
        drop(first_ok(errors.map(Deferred::<u8>::err)));
        reports
            .expect(&["none of 2 succeeded: an error whose message panicked: no words; refused"]);
    });
}

#[test]
fn inputs_whose_iterator_panics_are_told_as_left() {
    checked(|reports| {
        let inputs = [Some("first"), None].into_iter().map(|text| match text {
            Some(text) => Deferred::<u8>::err(Failure::msg(text)),
            None => panic!("no more"),
        });
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all(inputs)));
        assert!(ran.is_err());
        reports.expect(&["first"]);
    });
}

// Shared.

/// Cannot be copied.
struct Single;

impl Clone for Single {
    fn clone(&self) -> Self {
        panic!("single");
    }
}

#[test]
fn an_item_that_cannot_be_copied_goes_back_where_it_came_from() {
    checked(|_| {
        let back = Cell::new();
        let kept = back.clone();
        let (trigger, d) = Deferred::<Single>::new();
        trigger.on_unclaimed(move |item| kept.put(item));
        let shared = d.shared();
        let end = outcome_of(shared.wait().map(|_| ()));
        trigger.fire(Single);
        assert_eq!(end.take().unwrap(), "panicked: single");
        drop(shared);
        assert!(!back.is_empty());
    });
}

#[test]
fn an_error_that_cannot_be_copied_is_told() {
    #[derive(Debug)]
    struct SingleError;
    impl std::fmt::Display for SingleError {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the error")
        }
    }
    impl std::error::Error for SingleError {}
    impl Clone for SingleError {
        fn clone(&self) -> Self {
            panic!("single");
        }
    }
    checked(|reports| {
        let shared = Deferred::<u8, SingleError>::err(SingleError).shared();
        assert_eq!(outcome_of(shared.wait()).take().unwrap(), "panicked: single");
        drop(shared);
        reports.expect(&["the error"]);
    });
}

#[test]
fn a_copy_that_waits_for_what_is_copied_is_served() {
    #[derive(Default)]
    struct Asking(Option<Cell<thence_core::Shared<Self>>>);
    impl Clone for Asking {
        fn clone(&self) -> Self {
            // The last handle goes while what it is a handle of is copied.
            if let Some(shared) = self.0.as_ref().and_then(Cell::take) {
                shared.wait().map(|_| ()).report();
            }
            Self(None)
        }
    }
    checked(|_| {
        let cell = Cell::new();
        let (trigger, d) = Deferred::<Asking>::new();
        let shared = d.shared();
        let ends = [outcome_of(shared.wait().map(|_| ())), outcome_of(shared.wait().map(|_| ()))];
        cell.put(shared);
        trigger.fire(Asking(Some(cell)));
        assert!(ends.iter().all(|end| end.take().unwrap() == "ok ()"));
    });
}

// Again.

#[test]
fn what_a_predicate_panics_at_may_panic_when_it_is_dropped() {
    checked(|reports| {
        let d = retry_if(
            3,
            |_| Deferred::ok(()),
            |_: &BombError| panic!("asking"),
            |_| Err::<u8, _>(BombError(Bomb("one"))),
        );
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: asking");
        assert_eq!(reports.take().len(), 2);
        let d = repeat_until(|| Ok::<_, Failure>(Bomb("one")), |_| panic!("asking"));
        reports.expect(&[ONE]);
        assert_eq!(outcome_of(d).take().unwrap(), "panicked: asking");
    });
}

#[test]
fn an_error_that_panics_when_it_is_dropped_ends_no_retry() {
    checked(|reports| {
        let d = retry(
            2,
            |_| Deferred::ok(()),
            |n| if n == 1 { Err(BombError(Bomb("one"))) } else { Ok(7) },
        );
        reports.expect(&[ONE, TWO]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok 7");
    });
}

#[test]
fn a_value_that_panics_when_it_is_dropped_ends_no_repetition() {
    checked(|reports| {
        let mut left = 1;
        let d = repeat_until(
            move || {
                left -= 1;
                Ok::<_, Failure>(if left == 0 { Some(Bomb("one")) } else { None })
            },
            Option::is_none,
        );
        reports.expect(&[ONE]);
        assert_eq!(outcome_of(d).take().unwrap(), "ok None");
    });
}

#[test]
fn the_closures_of_a_retry_may_each_panic_when_they_are_dropped() {
    checked(|reports| {
        let (delays, works) = (Bomb("one"), Bomb("two"));
        let d = retry(
            1,
            move |_| {
                let _ = &delays;
                Deferred::ok(())
            },
            move |_| {
                let _ = &works;
                Ok::<_, Failure>(7)
            },
        );
        assert_eq!(outcome_of(d).take().unwrap(), "ok 7");
        reports.expect(&[ONE, TWO]);
    });
}

// Locks, pools, queues.

#[test]
fn a_guard_whose_lock_ends_with_it_does_not_unwind() {
    checked(|reports| {
        let lock = Lock::new(Bomb("one"));
        let guard = lock.try_acquire();
        drop(lock);
        drop(guard);
        reports.expect(&[ONE]);
    });
}

#[test]
fn a_thing_that_panics_when_it_is_closed_frees_its_place() {
    checked(|reports| {
        let made = Rc::new(std::cell::Cell::new(0));
        let count = made.clone();
        let pool = Pool::new(1, move || {
            count.set(count.get() + 1);
            Deferred::ok(if count.get() == 1 { Some(Bomb("one")) } else { None })
        });
        let held = Cell::new();
        let kept = held.clone();
        pool.lease().map(move |lease| kept.put(lease)).report();
        let next = outcome_of(pool.lease().map(|lease| lease.is_none()));
        drop(held.take());
        reports.expect(&[ONE]);
        assert_eq!(next.take().unwrap(), "ok true");
        assert_eq!(pool.open(), 0);
    });
}

#[test]
fn a_thing_that_panics_when_it_is_sorted_out_makes_room() {
    checked(|reports| {
        let pool = Pool::new(1, || Deferred::ok(Bomb("one")));
        pool.lease().map(thence_core::Lease::give_back).report();
        pool.retain(|_| false);
        reports.expect(&[ONE]);
        assert_eq!((pool.open(), pool.idle()), (0, 0));

        pool.lease().map(thence_core::Lease::give_back).report();
        let looks = || pool.retain(|_| panic!("looking"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(looks)).is_err());
        reports.expect(&[ONE]);
        assert_eq!((pool.open(), pool.idle()), (0, 0));
    });
}

#[test]
fn whoever_asks_a_pool_while_it_is_sorted_is_served_however_that_ends() {
    checked(|_| {
        let pool = Pool::new(2, || Deferred::ok(1));
        all([pool.lease(), pool.lease()])
            .map(|leases| leases.into_iter().for_each(thence_core::Lease::give_back))
            .report();
        let (first, waiting) = (Cell::new(), Cell::new());
        let (asking, held, end) = (pool.clone(), first.clone(), waiting.clone());
        let looks = || {
            pool.retain(move |_| {
                // One finds the place of what is looked at, the other waits.
                let held = held.clone();
                asking.lease().map(move |lease| held.put(lease)).report();
                end.put(outcome_of(asking.lease().map(|lease| *lease)));
                panic!("looking");
            });
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(looks)).is_err());
        assert_eq!(waiting.take().unwrap().take().unwrap(), "ok 1");
        drop(first.take());
    });
}

#[test]
fn idle_things_may_each_panic_when_their_pool_ends() {
    checked(|reports| {
        let names = std::cell::Cell::new("two");
        let pool = Pool::new(2, move || Deferred::ok(Bomb(names.replace("one"))));
        let leases = Cell::new();
        let kept = leases.clone();
        all([pool.lease(), pool.lease()]).map(move |leases| kept.put(leases)).report();
        leases.take().unwrap().into_iter().for_each(thence_core::Lease::give_back);
        drop(pool);
        reports.expect(&[TWO, ONE]);
    });
}

#[test]
fn items_may_each_panic_when_their_queue_ends() {
    checked(|reports| {
        let queue = Queue::unbounded();
        queue.put(Bomb("one")).report();
        queue.put(Bomb("two")).report();
        drop(queue);
        reports.expect(&[ONE, TWO]);
    });
}

#[test]
fn a_stream_that_panics_and_panics_when_it_is_dropped_closes_its_queue() {
    struct Bad(#[expect(dead_code, reason = "held for its drop")] Bomb);
    impl Stream for Bad {
        type Item = u8;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
            panic!("polled");
        }
    }
    checked(|reports| {
        let queue = Queue::from_stream(Bad(Bomb("one")), 1);
        assert!(queue.is_closed());
        reports.expect(&[ONE, "panicked: polled"]);
    });
}

// Other threads.

#[test]
fn a_waker_that_panics_is_reported_and_loses_no_outcome() {
    checked(|reports| {
        let bomb = Bomb("two");
        hosting::inbox().set_waker(Arc::new(move || {
            let _ = &bomb;
            panic!("one");
        }));
        let (trigger, d) = Deferred::<u8>::new();
        let end = outcome_of(d);
        trigger.remote().fire(7);
        reports.expect(&[ONE]);
        hosting::inbox().clear_waker();
        reports.expect(&[TWO]);
        hosting::run_until_idle();
        assert_eq!(end.take().unwrap(), "ok 7");
    });
}

#[test]
fn what_nobody_reads_may_panic_on_the_thread_that_sent_it() {
    checked(|reports| {
        let remote = std::thread::spawn(|| {
            let (trigger, d) = Deferred::<Bomb>::new();
            drop(d);
            trigger.remote()
        })
        .join()
        .unwrap();
        remote.fire(Bomb("one"));
        reports.expect(&[ONE]);
    });
}

// Interrupts and scopes.

#[test]
fn a_hook_that_panics_when_it_is_over_loses_no_outcome() {
    checked(|reports| {
        for fails in [false, true] {
            let (trigger, d) = Deferred::<u8>::new();
            let (interrupt, d) = d.interruptible();
            interrupt.on_over(|| panic!("one"));
            let end = outcome_of(d);
            if fails {
                trigger.fail(Failure::msg("failed"));
                assert_eq!(end.take().unwrap(), "err failed");
            } else {
                interrupt.settle(Outcome::Ok(7));
                assert_eq!(end.take().unwrap(), "ok 7");
            }
            reports.expect(&[ONE]);
        }
    });
}

#[test]
fn an_old_hook_may_set_another_when_it_is_dropped() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (interrupt, d) = d.interruptible();
        let (again, third) = (interrupt.clone(), log.noting("third"));
        let owned = OnDrop::new(move || again.on_over(third));
        interrupt.on_over(move || drop(owned));
        interrupt.on_over(log.noting("second"));
        let end = outcome_of(d);
        trigger.fire(7);
        log.expect(&["third"]);
        assert_eq!(end.take().unwrap(), "ok 7");
    });
}

#[test]
fn a_member_whose_value_panics_when_it_is_dropped_ends_with_its_scope() {
    checked(|reports| {
        let (trigger, d) = Deferred::<Bomb>::new();
        let end = outcome_of(Scope::run(move |scope| async move {
            scope.add(d);
            Ok(7)
        }));
        assert!(end.is_empty());
        trigger.fire(Bomb("one"));
        reports.expect(&[ONE]);
        assert_eq!(end.take().unwrap(), "ok 7");
    });
}

#[test]
fn an_error_that_panics_when_it_is_asked_and_when_it_is_dropped_ends_its_scope() {
    #[derive(Debug)]
    struct Mute(#[expect(dead_code, reason = "held for its drop")] Bomb);
    impl std::fmt::Display for Mute {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("mute");
        }
    }
    impl std::error::Error for Mute {}
    checked(|reports| {
        let (trigger, d) = Deferred::<u8, Mute>::with_error();
        let end = outcome_of(Scope::run_fail_fast(move |scope| async move {
            scope.add(d);
            Ok(7)
        }));
        trigger.fail(Mute(Bomb("one")));
        reports.expect(&[ONE, "panicked in a destructor or a hook: mute"]);
        assert!(end.take().unwrap().starts_with("err a member failed"));
    });
}
