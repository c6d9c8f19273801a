//! A run and its end: what holds it open, what does not, what is cut.

use std::{cell::Cell, rc::Rc, time::Duration};

use thence_core::{
    Deferred, Failure, Outcome, emit, flow, hosting, on, restore_failure_hook, set_failure_hook,
};
use thence_reactor::{
    Drained, Reactor, Signal, Why, after, draining, every, net::TcpListener, offload, run, signal,
};

use crate::common::{ANY, Log, World, ms};

#[test]
fn gives_what_main_gives() {
    assert_eq!(run(async { Ok(3) }).unwrap(), 3);
    let failed = run(async { Err::<(), _>(Failure::msg("no")) });
    assert_eq!(failed.unwrap_err().to_string(), "no");
}

#[test]
fn a_panic_in_main_is_an_error() {
    let mut world = World::new();
    let failed = world.reactor.run(async {
        if true {
            panic!("bad luck");
        }
        Ok(())
    });
    assert!(failed.unwrap_err().to_string().contains("bad luck"));
}

#[test]
fn a_run_inside_a_run_is_an_error() {
    let inner = run(async { Ok(run(async { Ok(()) })) }).unwrap();
    assert!(inner.unwrap_err().to_string().contains("already"));
}

#[test]
fn reactors_come_one_after_another() {
    for n in 0..3 {
        let mut reactor = Reactor::builder().build().unwrap();
        assert!(Reactor::builder().build().is_err(), "one at a time");
        assert_eq!(reactor.run(async move { Ok(n) }).unwrap(), n);
        assert_eq!(reactor.run(async move { Ok(n + 1) }).unwrap(), n + 1, "and again");
    }
}

#[test]
fn a_second_run_of_a_reactor_begins_afresh() {
    let mut world = World::new();
    for _ in 0..2 {
        let manual = world.manual.clone();
        world
            .reactor
            .run(async move {
                let listener = TcpListener::bind(ANY)?;
                let _peer = manual.connect(listener.local_addr())?;
                listener.accept().await?;
                let waiting = signal(Signal::Hangup);
                manual.raise(Signal::Hangup.number());
                waiting.await;
                assert!(!draining().is_ready());
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_main_that_was_cancelled_is_an_error() {
    let mut world = World::new();
    let cancelled = world.reactor.run(async {
        let waiting = after(ms(5));
        waiting.cancel();
        waiting.await;
        Ok(())
    });
    assert_eq!(cancelled.unwrap_err().to_string(), "main was cancelled");
}

#[test]
fn a_write_from_outside_a_turn_makes_one_due() {
    let mut world = World::new();
    let (stream, peer) = world.connection();
    assert_eq!(world.reactor.next_timeout(), None);
    drop(stream.write("x"));
    assert_eq!(world.reactor.next_timeout(), Some(ms(0)));
    world.settle();
    assert_eq!(peer.received(), b"x");
}

#[test]
fn what_needs_a_reactor_says_so() {
    let panicked = std::panic::catch_unwind(|| drop(after(ms(1)))).unwrap_err();
    let text = panicked.downcast_ref::<String>().unwrap();
    assert!(text.contains("`after` needs a reactor") && text.contains("thence::run"), "{text}");
    assert!(std::panic::catch_unwind(|| drop(offload(|| Ok(())))).is_err());
    assert!(std::panic::catch_unwind(|| drop(TcpListener::bind(ANY))).is_err());
}

#[test]
fn waits_for_flows_steps_and_jobs_that_main_left_behind() {
    let mut world = World::new();
    let log = Log::new();
    let seen = log.clone();
    world
        .reactor
        .run(async move {
            let in_flow = seen.clone();
            flow(async move {
                after(ms(3000)).await;
                in_flow.push("flow");
                Ok(())
            })
            .report();
            let in_step = seen.clone();
            after(ms(1000)).done(move |()| in_step.push("step"));
            offload(|| Ok(7)).inspect(move |_| seen.push("job")).report();
            Ok(())
        })
        .unwrap();
    assert_eq!(log.all(), ["job", "step", "flow"]);
}

#[test]
fn a_job_whose_end_nobody_sees_still_reports_its_failure() {
    for _ in 0..20 {
        let before = thence_core::unhandled();
        run(async {
            offload(|| Err::<(), _>(Failure::msg("seen at the end"))).report();
            Ok(())
        })
        .unwrap();
        assert_eq!(thence_core::unhandled() - before, 1);
    }
}

#[test]
fn timers_nobody_waits_for_listeners_and_beats_do_not_hold_it_open() {
    let mut world = World::new();
    let begun = world.manual.now();
    world
        .reactor
        .run(async {
            drop(after(ms(60_000)));
            let listener = TcpListener::bind(ANY)?;
            flow::<()>(async move {
                loop {
                    listener.accept().await?;
                }
            })
            .report();
            every(ms(700), || Ok::<(), Failure>(()));
            on(|_: &u8| ()).cancel();
            Ok(())
        })
        .unwrap();
    assert_eq!(world.manual.now() - begun, Duration::ZERO);
}

#[test]
fn delivers_what_is_queued() {
    let heard = Rc::new(Cell::new(0));
    let count = heard.clone();
    let subscription = on(move |n: &u32| count.set(count.get() + n));
    World::new()
        .reactor
        .run(async {
            emit(1_u32);
            emit(2_u32);
            Ok(())
        })
        .unwrap();
    subscription.cancel();
    assert_eq!(heard.get(), 3);
}

#[test]
fn cancels_what_is_left_at_the_deadline() {
    let mut world = World::with(|builder| builder.drain(ms(2000)));
    let begun = world.manual.now();
    let log = Log::new();
    let seen = log.clone();
    world
        .reactor
        .run(async move {
            let cleaned = seen.clone();
            flow(async move {
                struct Says(Log<&'static str>);
                impl Drop for Says {
                    fn drop(&mut self) {
                        self.0.push("dropped");
                    }
                }
                let _says = Says(cleaned);
                after(ms(60_000)).await;
                Ok(())
            })
            .finally(move || seen.push("finally"))
            .report();
            Ok(())
        })
        .unwrap();
    assert_eq!(world.manual.now() - begun, ms(2000));
    assert_eq!(log.all(), ["dropped", "finally"]);
    assert_eq!(hosting::live().flows, 0);
}

#[test]
fn a_job_that_does_not_end_is_left_behind_at_the_deadline() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut reactor = Reactor::builder().drain(ms(20)).build().unwrap();
    reactor
        .run(async move {
            offload(move || {
                let _ = released.recv();
                Ok(())
            })
            .report();
            Ok(())
        })
        .unwrap();
    drop(reactor);
    drop(release);
}

#[test]
fn a_signal_begins_the_drain() {
    let mut world = World::new();
    let manual = world.manual.clone();
    let log = Log::new();
    let seen = log.clone();
    let ended = world
        .reactor
        .run(async move {
            let told = seen.clone();
            draining().done(move |()| told.push("told"));
            flow(async move {
                after(ms(500)).await;
                seen.push("finished");
                Ok(())
            })
            .report();
            manual.raise(Signal::Terminate.number());
            draining().await;
            Ok("well")
        })
        .unwrap();
    assert_eq!(ended, "well");
    assert_eq!(log.all(), ["told", "finished"]);
}

#[test]
fn a_main_that_accepts_is_stopped_by_the_drain_and_says_by_what() {
    let mut world = World::new();
    let manual = world.manual.clone();
    let stopped: Result<(), Failure> = world.reactor.run(async move {
        let listener = TcpListener::bind(ANY)?;
        manual.raise(Signal::Interrupt.number());
        loop {
            listener.accept().await?;
        }
    });
    let drained = stopped.unwrap_err().trap::<Drained>().unwrap();
    assert_eq!(drained.why, Why::Signal(Signal::Interrupt));
}

#[test]
fn a_second_signal_ends_at_once_and_says_what_was_cut() {
    let mut world = World::new();
    let begun = world.manual.now();
    let manual = world.manual.clone();
    let cut = world.reactor.run(async move {
        flow(async {
            after(ms(5000)).await;
            Ok(())
        })
        .report();
        after(ms(6000)).done(|()| ());
        let again = manual.clone();
        flow(async move {
            after(ms(1000)).await;
            again.raise(Signal::Interrupt.number());
            Ok(())
        })
        .report();
        manual.raise(Signal::Interrupt.number());
        draining().await;
        Ok(())
    });
    let text = cut.unwrap_err().to_string();
    assert!(text.contains("SIGINT") && text.contains("1 flow, 2 steps unfinished"), "{text}");
    assert_eq!(world.manual.now() - begun, ms(1000));
    hosting::cancel_unfinished();
    world.settle();
}

#[test]
fn without_signals_they_are_the_program_s_own() {
    let mut world = World::with(|builder| builder.signals(false));
    let manual = world.manual.clone();
    world
        .reactor
        .run(async move {
            let waiting = signal(Signal::Interrupt);
            assert_eq!(manual.raise(Signal::Interrupt.number()), 1);
            waiting.await;
            Ok(())
        })
        .unwrap();
}

#[test]
fn stop_from_another_thread_begins_the_drain() {
    let mut reactor = Reactor::builder().build().unwrap();
    let handle = reactor.handle();
    let stopper = handle.clone();
    let other = std::thread::spawn(move || stopper.stop());
    let stopped = reactor.run(async { draining().map(Ok).await });
    stopped.unwrap();
    other.join().unwrap().unwrap();
    drop(reactor);
    assert!(handle.stop().is_err());
    assert!(handle.call(|| ()).is_err());
}

#[test]
fn calls_from_another_thread_run_in_order() {
    let mut reactor = Reactor::builder().build().unwrap();
    let handle = reactor.handle();
    let (tx, rx) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        for n in 0..100 {
            let tx = tx.clone();
            handle.call(move || tx.send(n).unwrap()).unwrap();
        }
        handle.stop().unwrap();
    });
    reactor.run(async { draining().map(Ok).await }).unwrap();
    other.join().unwrap();
    assert!(rx.iter().eq(0..100));
}

#[test]
fn a_call_that_panics_is_reported_and_keeps_no_other_from_running() {
    let log = Log::new();
    let seen = log.clone();
    let before = set_failure_hook(move |report| seen.push(report.message().to_owned()));
    let mut reactor = Reactor::builder().build().unwrap();
    let handle = reactor.handle();
    let other = std::thread::spawn(move || {
        handle.call(|| panic!("called")).unwrap();
        handle.stop().unwrap();
    });
    reactor.run(async { draining().map(Ok).await }).unwrap();
    other.join().unwrap();
    restore_failure_hook(before);
    assert_eq!(log.all(), ["panicked: called"]);
}

#[test]
fn a_callback_that_requeues_itself_lets_everything_else_through() {
    let mut world = World::with(|builder| builder.budget(8));
    fn again(left: Rc<Cell<bool>>) -> Deferred<()> {
        Deferred::<()>::ok(()).and_then(move |()| match left.get() {
            true => again(left),
            false => Deferred::ok(()),
        })
    }
    let going = Rc::new(Cell::new(true));
    let stop = going.clone();
    world
        .reactor
        .run(async move {
            let busy = again(going);
            after(ms(0)).await;
            stop.set(false);
            busy.await
        })
        .unwrap();
}

#[test]
fn a_foreign_loop_can_drive_it() {
    let mut reactor = Reactor::builder().build().unwrap();
    assert!(reactor.as_fd().is_some());
    assert_eq!(reactor.next_timeout(), None);
    let fired = Rc::new(Cell::new(false));
    let set = fired.clone();
    after(ms(2)).done(move |()| set.set(true));
    while let Some(wait) = reactor.next_timeout() {
        assert!(wait <= ms(2));
        reactor.turn(Some(wait)).unwrap();
    }
    assert!(fired.get());
}

#[test]
fn what_a_reactor_leaves_pending_ends_with_it() {
    let world = World::new();
    let waiting = crate::common::watch(after(ms(10)).then(|outcome| match outcome {
        Outcome::Stop(stop) => Deferred::<String>::ok(stop.to_string()),
        _ => Deferred::ok("a value".into()),
    }));
    drop(after(ms(10)));
    let told = crate::common::watch(draining());
    drop(world);
    assert_eq!(waiting.ok(), "cancelled");
    assert!(told.is_cancelled());
}

#[test]
fn a_beat_ends_with_its_run_and_is_not_of_the_next() {
    let mut world = World::new();
    let beats = Rc::new(Cell::new(0));
    for _ in 0..3 {
        let count = beats.clone();
        let main = async move {
            every(ms(10), move || {
                count.set(count.get() + 1);
                Ok::<(), Failure>(())
            });
            after(ms(35)).await;
            Ok(())
        };
        world.reactor.run(main).unwrap();
        assert_eq!(world.reactor.live().timers, 0);
    }
    assert_eq!(beats.get(), 9);
}
