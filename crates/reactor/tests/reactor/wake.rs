//! Other threads wake the loop when it sleeps, and only then.

use std::{
    cell::Cell,
    os::fd::AsRawFd,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use thence_core::{Deferred, all, hosting};
use thence_reactor::{DeferredExt, Reactor, offload, run};

/// Counts, in the place of the driver's waker, how often a sleeper would be woken.
fn counted() -> Arc<AtomicUsize> {
    let count = Arc::<AtomicUsize>::default();
    let counted = count.clone();
    hosting::inbox().set_waker(Arc::new(move || add_one(&counted)));
    count
}

fn add_one(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Has another thread post a hundred times, and waits for that.
fn post_a_hundred(reactor: &thence_reactor::Handle) {
    let handle = reactor.clone();
    let posts = move || (0..100).for_each(|_| handle.call(|| ()).unwrap());
    thread::spawn(posts).join().unwrap();
}

#[test]
fn a_hundred_posts_to_a_loop_between_two_turns_wake_it_once() {
    let mut reactor = Reactor::builder().build().unwrap();
    let calls = counted();
    for woken in 1..4 {
        post_a_hundred(&reactor.handle());
        assert_eq!(calls.load(Ordering::Relaxed), woken);
        reactor.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(reactor.next_timeout(), None);
    }
}

#[test]
fn posts_to_a_loop_that_is_awake_wake_nobody_and_are_found() {
    let mut reactor = Reactor::builder().build().unwrap();
    let calls = counted();
    let handle = reactor.handle();
    let in_a_turn = calls.clone();
    let called = reactor.handle().call(move || {
        let before = in_a_turn.load(Ordering::Relaxed);
        post_a_hundred(&handle);
        assert_eq!(in_a_turn.load(Ordering::Relaxed), before);
    });
    called.unwrap();
    reactor.turn(Some(Duration::ZERO)).unwrap();
    // It came too late for that turn, and whoever waits on the descriptor is told by the turn.
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(reactor.next_timeout(), None);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn whoever_waits_on_the_descriptor_alone_hears_of_every_post() {
    let mut reactor = Reactor::builder().build().unwrap();
    let mut outer = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(8);
    let fd = reactor.as_fd().unwrap().as_raw_fd();
    let mut source = mio::unix::SourceFd(&fd);
    outer.registry().register(&mut source, mio::Token(0), mio::Interest::READABLE).unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let handle = reactor.handle();
    let counted = came.clone();
    let other = thread::spawn(move || {
        for n in 0..2000 {
            let counted = counted.clone();
            handle.call(move || add_one(&counted)).unwrap();
            if n % 7 == 0 {
                thread::yield_now();
            }
        }
    });
    while came.load(Ordering::Relaxed) < 2000 {
        // It never asks `next_timeout`, for it has no timers.
        outer.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
        assert!(!events.is_empty(), "nothing became readable, and something was posted");
        reactor.turn(Some(Duration::ZERO)).unwrap();
    }
    other.join().unwrap();
}

#[test]
fn no_wake_is_lost_between_threads_that_post_as_they_like() {
    for spin in [Duration::ZERO, Duration::from_micros(20)] {
        let mut reactor = Reactor::builder().spin(spin).build().unwrap();
        let handle = reactor.handle();
        let came = reactor.run(async move {
            let (trigger, all_came) = Deferred::<()>::new();
            let came = Arc::new(AtomicUsize::new(0));
            let last = trigger.remote();
            let senders: Vec<_> = (0..3)
                .map(|sender| {
                    let (handle, came) = (handle.clone(), came.clone());
                    thread::spawn(move || {
                        for n in 0..3000_u32 {
                            let came = came.clone();
                            handle.call(move || add_one(&came)).unwrap();
                            // Now and then the loop has the time to fall asleep.
                            match (n + sender) % 64 {
                                0 => thread::sleep(Duration::from_micros(60)),
                                n if n % 8 == 0 => thread::yield_now(),
                                _ => {}
                            }
                        }
                    })
                })
                .collect();
            thread::spawn(move || {
                senders.into_iter().for_each(|sender| sender.join().unwrap());
                last.fire(());
            });
            all_came.timeout(Duration::from_secs(60)).await?;
            Ok(came.load(Ordering::Relaxed))
        });
        assert_eq!(came.unwrap(), 9000);
    }
}

#[test]
fn no_result_of_a_job_is_lost_however_few_are_under_way() {
    run(async {
        for at_a_time in [1, 2, 7] {
            for _ in 0..300 {
                let jobs = (0..at_a_time).map(|n| offload(move || Ok(n)));
                let came = all(jobs).timeout(Duration::from_secs(60)).await?;
                assert_eq!(came, Vec::from_iter(0..at_a_time));
            }
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_waker_of_this_thread_wakes_a_loop_between_two_turns_and_none_that_is_awake() {
    let mut reactor = Reactor::builder().build().unwrap();
    let calls = counted();
    let kept = Rc::new(Cell::new(None));
    let slot = kept.clone();
    let mut polls = 0;
    let polled = thence_core::flow(std::future::poll_fn(move |task| {
        slot.set(Some(task.waker().clone()));
        polls += 1;
        // Woken by itself, and then by the test.
        if polls == 1 {
            task.waker().wake_by_ref();
        }
        if polls < 3 { std::task::Poll::Pending } else { std::task::Poll::Ready(Ok(())) }
    }));
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert!(!polled.is_ready());
    let waker = kept.take().unwrap();
    waker.wake_by_ref();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    reactor.turn(Some(Duration::ZERO)).unwrap();
    assert!(polled.is_ready());
    polled.report();
}

#[test]
fn a_turn_that_panics_leaves_a_loop_that_is_woken() {
    let mut reactor = Reactor::builder().build().unwrap();
    let calls = counted();
    let hold = hosting::hold();
    let turn = AssertUnwindSafe(|| reactor.turn(Some(Duration::ZERO)));
    assert!(catch_unwind(turn).is_err(), "a turn under a hold runs no queue");
    drop(hold);
    post_a_hundred(&reactor.handle());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    reactor.turn(Some(Duration::ZERO)).unwrap();
}
