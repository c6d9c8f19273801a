//! `Queue`: items, getters and putters, each in the order they came.

use std::rc::Rc;

use thence_core::{Deferred, Failure, Never, Queue, QueueClosed, Rejected, hosting};

use crate::common::{Cell, Log, OnDrop, checked, outcome_of};

/// Gets an item and notes it, or that there is none.
fn get(queue: &Queue<u32>, log: &Log, name: &str) {
    let (seen, name) = (log.clone(), name.to_owned());
    queue.get().settled().done(move |outcome| seen.add(format!("{name}: {outcome:?}")));
}

/// Puts an item and notes when it is in.
fn put(queue: &Queue<u32>, log: &Log, item: u32) {
    let seen = log.clone();
    let d = queue.put(item);
    d.settled().done(move |outcome| seen.add(format!("put {item}: {outcome:?}")));
}

#[test]
fn items_come_out_in_the_order_they_went_in() {
    checked(|_| {
        let queue = Queue::unbounded();
        assert_eq!((queue.size(), queue.is_empty()), (None, true));
        (1..=3).for_each(|n| queue.put(n).report());
        assert_eq!((queue.len(), queue.is_empty()), (3, false));
        let taken: Vec<u32> = std::iter::from_fn(|| queue.try_get()).collect();
        assert_eq!(taken, [1, 2, 3]);
    });
}

#[test]
fn getters_are_served_in_the_order_they_came_and_at_once() {
    checked(|_| {
        let queue = Queue::bounded(4);
        let log = Log::new();
        ["a", "b", "c"].iter().for_each(|name| get(&queue, &log, name));
        assert_eq!((queue.waiting_getters(), queue.try_get()), (3, None));
        put(&queue, &log, 1);
        log.expect(&["a: Ok(1)", "put 1: Ok(())"]);
        put(&queue, &log, 2);
        put(&queue, &log, 3);
        put(&queue, &log, 4);
        log.expect(&["b: Ok(2)", "put 2: Ok(())", "c: Ok(3)", "put 3: Ok(())", "put 4: Ok(())"]);
        assert_eq!(queue.len(), 1);
    });
}

#[test]
fn putters_wait_for_room_in_the_order_they_came() {
    checked(|_| {
        let queue = Queue::bounded(2);
        let log = Log::new();
        (1..=5).for_each(|n| put(&queue, &log, n));
        log.expect(&["put 1: Ok(())", "put 2: Ok(())"]);
        assert_eq!((queue.len(), queue.waiting_putters(), queue.size()), (2, 3, Some(2)));
        assert_eq!(queue.try_get(), Some(1));
        log.expect(&["put 3: Ok(())"]);
        get(&queue, &log, "a");
        let mut seen = log.take();
        seen.sort();
        assert_eq!(seen, ["a: Ok(2)", "put 4: Ok(())"]);
        assert_eq!(
            (queue.try_get(), queue.try_get(), queue.try_get()),
            (Some(3), Some(4), Some(5))
        );
        log.expect(&["put 5: Ok(())"]);
    });
}

#[test]
fn try_put_gives_back_what_it_did_not_take_and_overtakes_nobody() {
    checked(|_| {
        let queue = Queue::bounded(1);
        assert!(queue.try_put(1).is_ok());
        let full = queue.try_put(2).unwrap_err();
        assert_eq!(full.to_string(), "the queue is full: the item was not taken");
        assert_eq!((format!("{full:?}").as_str(), full.into_item()), ("Full(..)", 2));
        // Room that somebody waits for is his.
        let log = Log::new();
        let hold = hosting::hold();
        put(&queue, &log, 3);
        queue.try_get();
        assert!(matches!(queue.try_put(4), Err(Rejected::Full(4))));
        drop(hold);
        hosting::run_until_idle();
        log.expect(&["put 3: Ok(())"]);
        queue.close();
        assert!(matches!(queue.try_put(5), Err(Rejected::Closed(5))));
    });
}

#[test]
fn a_queue_of_size_0_is_a_meeting() {
    checked(|_| {
        let queue = Queue::bounded(0);
        let log = Log::new();
        assert!(matches!(queue.try_put(0), Err(Rejected::Full(0))));
        put(&queue, &log, 1);
        put(&queue, &log, 2);
        assert_eq!((queue.len(), queue.waiting_putters()), (0, 2));
        log.expect(&[]);
        get(&queue, &log, "a");
        let mut seen = log.take();
        seen.sort();
        assert_eq!(seen, ["a: Ok(1)", "put 1: Ok(())"]);
        assert_eq!(queue.try_get(), Some(2));
        log.expect(&["put 2: Ok(())"]);
        get(&queue, &log, "b");
        assert!(queue.try_put(3).is_ok(), "somebody waits for it");
        log.expect(&["b: Ok(3)"]);
    });
}

#[test]
fn a_closed_queue_gives_what_is_in_it_and_then_ends() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let log = Log::new();
        put(&queue, &log, 1);
        let back = Cell::new();
        let kept = back.clone();
        queue
            .put(2)
            .or_else(move |rejected| {
                assert!(matches!(rejected, Rejected::Closed(_)));
                kept.put(rejected.into_item());
                Ok::<(), Never>(())
            })
            .done(|()| ());
        log.take();
        queue.close();
        assert!(queue.is_closed());
        assert_eq!(back.take(), Some(2), "who waited for room has his item back");
        put(&queue, &log, 3);
        log.expect(&["put 3: Err(Closed(..))"]);
        get(&queue, &log, "a");
        get(&queue, &log, "b");
        log.expect(&["a: Ok(1)", "b: Err(QueueClosed)"]);
        queue.close();
        assert_eq!(queue.try_get(), None);
        assert_eq!(QueueClosed.to_string(), "closed: nothing more comes");
    });
}

#[test]
fn closing_ends_whoever_waits_in_order() {
    checked(|_| {
        let log = Log::new();
        let queue = Queue::bounded(0);
        get(&queue, &log, "a");
        get(&queue, &log, "b");
        queue.close();
        log.expect(&["a: Err(QueueClosed)", "b: Err(QueueClosed)"]);
        let queue = Queue::bounded(0);
        put(&queue, &log, 1);
        put(&queue, &log, 2);
        queue.close();
        log.expect(&["put 1: Err(Closed(..))", "put 2: Err(Closed(..))"]);
    });
}

#[test]
fn the_last_handles_end_ends_whoever_waits() {
    checked(|_| {
        let log = Log::new();
        let queue = Queue::<u32>::bounded(0);
        get(&queue, &log, "a");
        drop(queue.clone());
        log.expect(&[]);
        drop(queue);
        log.expect(&["a: Err(QueueClosed)"]);
        let queue = Queue::bounded(0);
        put(&queue, &log, 1);
        drop(queue);
        log.expect(&["put 1: Err(Closed(..))"]);
    });
}

#[test]
fn an_item_that_nobody_will_ever_take_is_no_silent_loss() {
    checked(|reports| {
        let queue = Queue::bounded(0);
        drop(queue.put(Rc::new(1)));
        queue.put(Rc::new(2)).err_into::<Failure>().report();
        queue.close();
        reports.expect(&["the queue is closed: the item was not taken"; 2]);
    });
}

#[test]
fn a_putter_that_leaves_keeps_its_item_in_line() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let log = Log::new();
        put(&queue, &log, 1);
        drop(queue.put(2));
        put(&queue, &log, 3);
        assert_eq!(queue.waiting_putters(), 2);
        let taken: Vec<u32> = std::iter::from_fn(|| queue.try_get()).collect();
        assert_eq!(taken, [1, 2, 3]);
    });
}

#[test]
fn a_putter_that_is_cancelled_takes_its_item_out_and_drops_it() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let log = Log::new();
        let item = |n: u32| OnDrop::new(log.noting(format!("dropped {n}")));
        queue.put(item(1)).report();
        let second = queue.put(item(2));
        let third = queue.put(item(3));
        second.cancel();
        log.expect(&["dropped 2"]);
        assert_eq!(
            (outcome_of(second).take().unwrap().as_str(), queue.waiting_putters()),
            ("cancelled", 1)
        );
        drop(queue.try_get());
        // Too late: it is in.
        third.cancel();
        assert_eq!(outcome_of(third).take().unwrap(), "ok ()");
        log.expect(&["dropped 1"]);
        drop(queue.try_get());
        log.expect(&["dropped 3"]);
    });
}

#[test]
fn what_comes_back_may_be_more_than_the_size_and_is_taken_first() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let leaver = queue.get();
        queue.put(1).report();
        queue.put(2).report();
        let third = queue.put(3);
        drop(leaver);
        assert_eq!((queue.len(), third.is_ready()), (2, false));
        assert_eq!(queue.try_get(), Some(1));
        assert!(!third.is_ready(), "one is as many as it may hold");
        assert_eq!((queue.try_get(), queue.try_get()), (Some(2), Some(3)));
        third.report();
    });
}

#[test]
fn what_comes_back_to_a_closed_queue_is_still_taken() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let leaver = queue.get();
        queue.put(1).report();
        queue.close();
        drop(leaver);
        assert_eq!(queue.try_get(), Some(1));
        // And with no queue left it is dropped.
        let log = Log::new();
        let queue = Queue::unbounded();
        queue.put(OnDrop::new(log.noting("dropped"))).report();
        let last = queue.get();
        drop(queue);
        log.expect(&[]);
        drop(last);
        log.expect(&["dropped"]);
    });
}

#[test]
fn items_on_their_way_come_back_in_their_order_whoever_leaves_first() {
    checked(|_| {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let queue = Queue::unbounded();
            (0..4).for_each(|n| queue.put(n).report());
            let mut getters: Vec<_> = (0..3).map(|_| Some(queue.get())).collect();
            order.iter().for_each(|n| drop(getters[*n].take()));
            let taken: Vec<u32> = std::iter::from_fn(|| queue.try_get()).collect();
            assert_eq!(taken, [0, 1, 2, 3], "left in the order {order:?}");
        }
    });
}

#[test]
fn a_put_inside_a_callback_queues() {
    checked(|_| {
        let queue = Queue::unbounded();
        let log = Log::new();
        get(&queue, &log, "a");
        let (inside, seen) = (queue.clone(), log.clone());
        Deferred::<(), Never>::ok(()).done(move |()| {
            inside.put(1).report();
            seen.add("put");
        });
        log.expect(&["put", "a: Ok(1)"]);
    });
}

#[test]
fn a_getter_that_puts_and_gets_again_is_the_last_in_line() {
    checked(|_| {
        let queue = Queue::unbounded();
        let log = Log::new();
        let (inside, seen) = (queue.clone(), log.clone());
        queue
            .get()
            .map(move |n| {
                seen.add(format!("a: {n}"));
                get(&inside, &seen, "a again");
                inside.put(n + 10).report();
            })
            .report();
        get(&queue, &log, "b");
        queue.put(1).report();
        log.expect(&["a: 1", "b: Ok(11)"]);
        queue.put(2).report();
        log.expect(&["a again: Ok(2)"]);
    });
}

#[test]
fn items_may_use_their_queue_when_they_are_dropped() {
    checked(|_| {
        struct Item(Option<Queue<Item>>, Log);
        impl Drop for Item {
            fn drop(&mut self) {
                let Some(queue) = self.0.take() else { return };
                self.1.add(format!("{} left", queue.len()));
                drop(queue.try_get());
                drop(queue.try_put(Item(None, self.1.clone())));
                queue.get().map(drop).settled().done(drop);
            }
        }
        let log = Log::new();
        let queue = Queue::bounded(1);
        let item = || Item(Some(queue.clone()), log.clone());
        // Dropped by the request that takes it out of line.
        queue.put(item()).report();
        queue.put(item()).cancel();
        log.expect(&["1 left", "0 left"]);
        // On the way back to a queue that has closed meanwhile.
        let getter = queue.get();
        queue.put(item()).report();
        queue.close();
        drop(getter.map(drop));
        assert_eq!(log.take().len(), 1);
        drop(queue.try_get());
    });
}

#[test]
fn a_failure_hook_may_use_the_queue_that_is_being_closed() {
    checked(|reports| {
        let queue = Queue::bounded(0);
        let log = Log::new();
        let (inside, seen) = (queue.clone(), log.clone());
        let before = thence_core::set_failure_hook(move |report| {
            seen.add(format!("{}, {} wait", report.message(), inside.waiting_putters()));
            assert!(inside.try_put(3).is_err() && inside.dump().to_string().contains("closed"));
        });
        drop(queue.put(1));
        drop(queue.put(2));
        queue.close();
        thence_core::restore_failure_hook(before);
        reports.missed(2);
        log.expect(&[
            "the queue is closed: the item was not taken, 1 wait",
            "the queue is closed: the item was not taken, 0 wait",
        ]);
    });
}

#[test]
fn dump_says_what_is_in_it_and_who_waits() {
    checked(|_| {
        let queue = Queue::bounded(1);
        let file = file!();
        let getter = queue.get();
        let line = line!() - 1;
        assert_eq!(
            queue.dump().to_string(),
            format!("queue: 0 of 1 items\n    waiting to get {file}:{line}:28")
        );
        drop(getter);
        (0..3).for_each(|n| drop(queue.put(n)));
        let line = line!() - 1;
        assert_eq!(
            queue.dump().to_string(),
            format!("queue: 1 of 1 items\n    waiting to put {file}:{line}:40 x2")
        );
        while queue.try_get().is_some() {}
        queue.close();
        assert_eq!(queue.dump().to_string(), "queue: 0 of 1 items, closed");
        assert_eq!(Queue::<u8>::unbounded().dump().to_string(), "queue: 0 items");
        assert_eq!(
            format!("{queue:?}"),
            "Queue { len: 0, size: Some(1), closed: true, waiting_getters: 0, waiting_putters: 0 }"
        );
    });
}
