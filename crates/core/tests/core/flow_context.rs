//! A step runs in the context of the code that wrote it (DESIGN.md §3.8).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use thence_core::{
    Deferred, Failure, FlowContext, FlowLocal, RemoteTrigger, Trigger, all, emit, flow, hosting, on,
};

use crate::common::{Log, OnDrop, checked};

static TENANT: FlowLocal<&str> = FlowLocal::new();
static DEPTH: FlowLocal<u32> = FlowLocal::new();

fn request(id: &str) -> FlowContext {
    FlowContext::current().with_request_id(id)
}

/// The request this is asked in.
fn asked() -> String {
    FlowContext::current().request_id().unwrap_or("none").to_owned()
}

#[test]
fn a_step_runs_in_the_context_of_whoever_wrote_it_not_of_whoever_fires_it() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<u8>::new();
        let (one, two, three) = (log.clone(), log.clone(), log.clone());
        let d = request("a").enter(|| d.inspect(move |_| one.add(asked())));
        let d = d.inspect(move |_| two.add(asked()));
        let d = request("b").enter(|| d.inspect(move |_| three.add(asked())));
        request("c").enter(|| {
            trigger.fire(1);
            assert_eq!(asked(), "c");
        });
        d.report();
        log.expect(&["a", "none", "b"]);
        assert_eq!(asked(), "none");
    });
}

#[test]
fn what_is_ready_runs_where_it_is_written() {
    checked(|_| {
        let log = Log::new();
        let (seen, inside) = (log.clone(), log.clone());
        request("a").enter(|| {
            Deferred::<u8>::ok(1)
                .map(move |_| {
                    seen.add(asked());
                    // Inside a callback it queues, and runs in the context of this callback.
                    request("b").enter(|| Deferred::<u8>::ok(2).map(move |_| inside.add(asked())))
                })
                .flatten()
                .report();
        });
        log.expect(&["a", "b"]);
    });
}

#[test]
fn a_returned_deferred_has_the_context_of_the_code_that_made_it() {
    checked(|_| {
        let log = Log::new();
        let (trigger, pending) = Deferred::<u8>::new();
        let (inner, outer) = (log.clone(), log.clone());
        let pending = request("inner").enter(|| pending.inspect(move |_| inner.add(asked())));
        request("outer").enter(|| {
            Deferred::<u8>::ok(1)
                .and_then(move |_| pending)
                .inspect(move |_| outer.add(asked()))
                .report();
        });
        trigger.fire(1);
        log.expect(&["inner", "outer"]);
    });
}

#[test]
fn a_flow_runs_every_poll_in_the_context_it_was_started_in() {
    checked(|_| {
        let log = Log::new();
        let (one, first) = Deferred::<u8>::new();
        let (two, second) = Deferred::<u8>::new();
        let seen = log.clone();
        let d = request("a").with_local(&TENANT, "north").enter(|| {
            flow(async move {
                seen.add(asked());
                first.await?;
                seen.add(format!("{} {:?}", asked(), TENANT.get()));
                let inner = seen.clone();
                // What it starts is in it too.
                flow(async move {
                    inner.add(format!("inner {}", asked()));
                    Ok(())
                })
                .await?;
                second.await?;
                seen.add(asked());
                Ok(())
            })
        });
        d.report();
        request("b").enter(|| one.fire(1));
        two.fire(2);
        log.expect(&["a", "a Some(\"north\")", "inner a", "a"]);
    });
}

#[test]
fn a_flow_that_another_thread_wakes_is_in_its_context() {
    checked(|_| {
        let waker = Arc::new(Mutex::new(None));
        let (give, ready) = (waker.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let is_ready = ready.clone();
        let d = request("a").enter(|| {
            flow(async move {
                std::future::poll_fn(move |task| {
                    if is_ready.load(std::sync::atomic::Ordering::Acquire) {
                        return std::task::Poll::Ready(());
                    }
                    *give.lock().unwrap() = Some(task.waker().clone());
                    std::task::Poll::Pending
                })
                .await;
                assert_eq!(asked(), "a");
                Ok(())
            })
        });
        std::thread::spawn(move || {
            ready.store(true, std::sync::atomic::Ordering::Release);
            waker.lock().unwrap().take().unwrap().wake();
        })
        .join()
        .unwrap();
        hosting::run_until_idle();
        assert!(d.is_ready());
        d.report();
    });
}

#[test]
fn what_a_remote_trigger_fires_is_in_its_own_context_and_the_other_thread_may_enter_it() {
    checked(|_| {
        let log = Log::new();
        let (trigger, d) = Deferred::<String>::new();
        let seen = log.clone();
        let context = request("a").with_local(&DEPTH, 3);
        let d = context.enter(|| d.inspect(move |_| seen.add(asked())));
        let (remote, there): (RemoteTrigger<String>, _) = (trigger.remote(), context.remote());
        std::thread::spawn(move || {
            assert_eq!(asked(), "none");
            let said = there.enter(|| format!("{} {:?}", asked(), DEPTH.get()));
            assert_eq!(asked(), "none");
            remote.fire(said);
        })
        .join()
        .unwrap();
        request("b").enter(hosting::run_until_idle);
        log.expect(&["a"]);
        d.inspect(|said| assert_eq!(said, "a Some(3)")).report();
    });
}

#[test]
fn an_event_handler_runs_in_the_context_of_whoever_emitted() {
    struct Beep;
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let subscription = request("subscribed").enter(|| on(move |_: &Beep| seen.add(asked())));
        request("emitted").enter(|| emit(Beep));
        emit(Beep);
        log.expect(&["emitted", "none"]);
        subscription.cancel();
    });
}

#[test]
fn hooks_run_in_the_context_of_their_source() {
    checked(|_| {
        let log = Log::new();
        let source = |id: &str| {
            request(id).enter(|| {
                let (trigger, d) = Deferred::<u8>::new();
                let (cancelled, left, unclaimed) = (log.clone(), log.clone(), log.clone());
                trigger.on_cancel(move || cancelled.add(format!("cancelled in {}", asked())));
                trigger.on_left(move || left.add(format!("left in {}", asked())));
                trigger.on_unclaimed(move |_| unclaimed.add(format!("unclaimed in {}", asked())));
                (trigger, d)
            })
        };
        let (trigger, d) = source("a");
        request("z").enter(|| d.cancel());
        drop(d);
        trigger.fire(1);
        log.expect(&["cancelled in a", "left in a", "unclaimed in a"]);
    });
}

#[test]
fn destructors_of_what_was_left_run_in_its_context() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let (trigger, d) = Deferred::<OnDrop<Box<dyn FnOnce()>>>::new();
        drop(request("a").enter(|| d.inspect(|_| ())));
        request("b").enter(move || {
            trigger.fire(OnDrop::new(Box::new(move || seen.add(asked()))));
        });
        log.expect(&["a"]);

        let (never, wait) = Deferred::<u8>::new();
        let held = OnDrop::new(log.noting("dropped"));
        let seen = log.clone();
        let d = request("c").enter(|| {
            flow(async move {
                let _held = held;
                let _seen = OnDrop::new(move || seen.add(asked()));
                wait.await.map(drop)
            })
        });
        d.cancel();
        drop(never);
        drop(d);
        log.expect(&["c", "dropped"]);
    });
}

#[test]
fn a_report_names_the_request_of_what_was_left_unhandled() {
    checked(|reports| {
        let (trigger, d) = Deferred::<u8>::new();
        drop(request("r-1").enter(|| d.map(|n| n)));
        request("r-2").enter(|| trigger.fail(Failure::msg("no")));
        let report = reports.take().pop().unwrap();
        assert_eq!(report.request_id(), Some("r-1"));
        assert!(report.to_string().ends_with("\n    in request r-1"), "{report}");

        request("r-3").enter(|| drop(Deferred::<u8>::err(Failure::msg("no"))));
        assert_eq!(reports.take()[0].request_id(), Some("r-3"));
        drop(Deferred::<u8>::err(Failure::msg("no")));
        assert_eq!(reports.take()[0].request_id(), None);

        // A loser of `all` belongs to whoever wrote the `all`.
        let (one, a) = Deferred::<u8>::new();
        let (two, b) = Deferred::<u8>::new();
        two.on_cancel(|| ());
        let both = request("r-4").enter(|| all([a, b]));
        one.fail(Failure::msg("first"));
        two.fail(Failure::msg("second"));
        assert_eq!(reports.take()[0].request_id(), Some("r-4"));
        both.recover(|_| Vec::new()).done(drop);
    });
}

#[test]
fn a_panic_leaves_the_context_as_it_was() {
    checked(|reports| {
        let log = Log::new();
        let seen = log.clone();
        let (trigger, d) = Deferred::<u8>::new();
        let d = request("a").enter(|| d.map(|_| -> u8 { panic!("oh") }));
        let d = d.then(move |outcome| {
            seen.add(format!("{} {}", asked(), crate::common::ending(&outcome)));
            Ok::<u8, Failure>(1)
        });
        trigger.fire(1);
        d.report();
        log.expect(&["none panicked: oh"]);
        assert_eq!(asked(), "none");

        let caught = std::panic::catch_unwind(|| request("b").enter(|| panic!("out of it")));
        assert!(caught.is_err());
        assert_eq!(asked(), "none");
        reports.expect(&[]);
    });
}

#[test]
fn a_local_is_found_where_it_was_set_and_the_nearest_one_counts() {
    checked(|_| {
        assert_eq!(TENANT.get(), None);
        let north = FlowContext::current().with_local(&TENANT, "north");
        north.enter(|| {
            assert_eq!(TENANT.get(), Some("north"));
            FlowContext::current().with_local(&TENANT, "south").with_local(&DEPTH, 1).enter(|| {
                assert_eq!((TENANT.get(), DEPTH.get()), (Some("south"), Some(1)));
            });
            assert_eq!((TENANT.get(), DEPTH.get()), (Some("north"), None));
            DEPTH.with(|depth| assert!(depth.is_none()));
        });
    });
}

/// A value whose clones are counted by its `Arc`.
static HELD: FlowLocal<Arc<()>> = FlowLocal::new();

#[test]
fn a_context_lives_as_long_as_what_was_written_in_it_and_no_longer() {
    checked(|_| {
        let value = Arc::new(());
        let (trigger, d) = Deferred::<u8>::new();
        let d = FlowContext::current()
            .with_local(&HELD, value.clone())
            .enter(|| d.map(|n| n).map(|n| n));
        assert_eq!(Arc::strong_count(&value), 2);
        trigger.fire(1);
        d.report();
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

/// Fires what this thread has kept when it is dropped.
struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        if let Some(trigger) = KEPT.take() {
            trigger.fire(7);
        }
    }
}

thread_local! {
    static KEPT: RefCell<Option<Trigger<u8>>> = const { RefCell::new(None) };
}

static LAST: FlowLocal<AtTheEnd> = FlowLocal::new();

#[test]
fn a_local_may_fire_when_its_context_ends() {
    checked(|_| {
        let log = Log::new();
        let seen = log.clone();
        let (last, d) = Deferred::<u8>::new();
        d.inspect(move |n| seen.add(n)).report();
        KEPT.set(Some(last));
        let (trigger, d) = Deferred::<u8>::new();
        FlowContext::current().with_local(&LAST, AtTheEnd).enter(|| d.map(|n| n).report());
        trigger.fire(1);
        log.expect(&["7"]);

        let (seen, (last, d)) = (log.clone(), Deferred::<u8>::new());
        d.inspect(move |n| seen.add(n)).report();
        KEPT.set(Some(last));
        FlowContext::current().with_local(&LAST, AtTheEnd).enter(|| ());
        log.expect(&["7"]);
    });
}

#[test]
fn every_part_of_it_is_shown() {
    checked(|_| {
        let shown = format!("{:?}", request("a").with_local(&TENANT, "north"));
        assert_eq!(shown, "FlowContext { request_id: Some(\"a\"), span: None, locals: 1 }");
        assert!(Rc::new(request("a")).request_id().is_some());
    });
}
