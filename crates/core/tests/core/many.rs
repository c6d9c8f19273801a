//! Waiting for many (DESIGN.md §3.1).

use thence_core::{
    Deferred, Failure, Kind, Outcome, Stop, Trigger, all, all_settled, first, first_ok, hosting,
    join,
};

use crate::common::{Log, checked, outcome_of};

fn some(n: usize) -> (Vec<Trigger<u8>>, Vec<Deferred<u8>>) {
    (0..n).map(|_| Deferred::<u8>::new()).unzip()
}

#[test]
fn nothing_hangs_on_nothing() {
    checked(|_| {
        assert_eq!(outcome_of(all::<u8, Failure>([])).take().unwrap(), "ok []");
        assert_eq!(outcome_of(all_settled::<u8, Failure>([])).take().unwrap(), "ok []");
        assert_eq!(outcome_of(first::<u8, Failure>([])).take().unwrap(), "lost");
        assert_eq!(outcome_of(first_ok::<u8, Failure>([])).take().unwrap(), "lost");
    });
}

#[test]
fn all_gives_the_values_in_the_order_of_the_inputs() {
    checked(|_| {
        let (mut triggers, inputs) = some(3);
        let seen = outcome_of(all(inputs));
        triggers.pop().unwrap().fire(3);
        triggers.remove(0).fire(1);
        assert!(seen.is_empty());
        triggers.pop().unwrap().fire(2);
        assert_eq!(seen.take().unwrap(), "ok [1, 2, 3]");
    });
}

#[test]
fn the_first_failure_asks_the_rest_to_end_and_waits_for_them() {
    checked(|reports| {
        let log = Log::new();
        let (mut triggers, inputs) = some(3);
        triggers[0].on_cancel(log.noting("asked"));
        let seen = outcome_of(all(inputs));
        triggers.remove(1).fail(Failure::msg("first"));
        log.expect(&["asked"]);
        assert!(triggers[1].is_cancelled());
        assert!(seen.is_empty(), "it waits for what it asked");
        triggers.remove(0).fail(Failure::msg("second"));
        assert_eq!(seen.take().unwrap(), "err first");
        reports.expect(&["second"]);
    });
}

#[test]
fn a_stop_of_one_ends_all() {
    checked(|_| {
        let (mut triggers, inputs) = some(2);
        let seen = outcome_of(all(inputs));
        drop(triggers.remove(0));
        assert_eq!(seen.take().unwrap(), "lost");
    });
}

/// Every mix of inputs that are pending, ready values and ready errors.
#[test]
fn ready_inputs_count_as_those_that_end_later() {
    checked(|reports| {
        for mix in 0..27_usize {
            for many in ["all", "first", "first_ok", "settled"] {
                let (mut pending, mut inputs) = (Vec::new(), Vec::new());
                let kinds: Vec<usize> = (0..3).map(|n| mix / 3_usize.pow(n) % 3).collect();
                for kind in &kinds {
                    inputs.push(match kind {
                        0 => {
                            let (trigger, d) = Deferred::<u8>::new();
                            trigger.on_cancel(|| ());
                            pending.push(trigger);
                            d
                        }
                        1 => Deferred::ok(1),
                        _ => Deferred::err(Failure::msg("ready")),
                    });
                }
                let decided = kinds.iter().find(|kind| **kind != 0);
                let end = match many {
                    "all" => outcome_of(all(inputs)),
                    "first" => outcome_of(first(inputs)),
                    "first_ok" => outcome_of(first_ok(inputs)),
                    _ => outcome_of(all_settled(inputs)),
                };
                let asked = pending.iter().any(Trigger::is_cancelled);
                pending.into_iter().for_each(|trigger| trigger.fire(1));
                let end = end.take().unwrap();
                let (expected, stops) = match many {
                    "all" if kinds.contains(&2) => ("err ready", true),
                    "all" => ("ok [1, 1, 1]", false),
                    "first" if decided == Some(&2) => ("err ready", true),
                    "first" => ("ok 1", decided.is_some()),
                    "first_ok" if kinds == [2, 2, 2] => {
                        ("err none of 3 succeeded: ready; ready; ready", false)
                    }
                    "first_ok" => ("ok 1", kinds.contains(&1)),
                    _ => ("ok", false),
                };
                assert!(end.starts_with(expected), "{many} of {kinds:?}: {end}");
                assert_eq!(asked, stops && kinds.contains(&0), "{many} of {kinds:?}");
                reports.take();
            }
        }
    });
}

#[test]
fn a_ready_error_before_pending_ones_ends_all() {
    checked(|_| {
        let (mut triggers, inputs) = some(1);
        let ready = [Deferred::err(Failure::msg("ready"))];
        let seen = outcome_of(all(ready.into_iter().chain(inputs)));
        drop(triggers.pop());
        assert_eq!(seen.take().unwrap(), "err ready");
    });
}

#[test]
fn all_settled_gives_every_outcome_in_order() {
    checked(|_| {
        let (mut triggers, inputs) = some(3);
        let log = Log::new();
        let seen = log.clone();
        all_settled(inputs).done(move |outcomes| {
            outcomes.iter().for_each(|outcome| seen.add(crate::common::ending(outcome)));
        });
        drop(triggers.pop());
        triggers.pop().unwrap().fail(Failure::msg("no"));
        triggers.pop().unwrap().fire(1);
        log.expect(&["ok 1", "err no", "lost"]);
    });
}

#[test]
fn all_settled_that_is_left_tells_its_outcomes_in_order() {
    checked(|reports| {
        let (mut triggers, inputs) = some(2);
        let log = Log::new();
        let (back, told) = (log.clone(), reports.clone());
        triggers[1]
            .on_unclaimed(move |n| back.add(format!("back {n} after {} reports", told.len())));
        drop(all_settled(inputs));
        triggers.pop().unwrap().fire(1);
        triggers.pop().unwrap().fail(Failure::msg("no"));
        log.expect(&["back 1 after 1 reports"]);
        reports.expect(&["no"]);
    });
}

#[test]
fn first_takes_the_first_end_of_any_kind_and_reports_losers_that_fail() {
    checked(|reports| {
        let (mut triggers, inputs) = some(2);
        triggers[0].on_cancel(|| ());
        let seen = outcome_of(first(inputs));
        triggers.pop().unwrap().fail(Failure::msg("won"));
        assert!(triggers[0].is_cancelled());
        triggers.pop().unwrap().fail(Failure::msg("lost"));
        assert_eq!(seen.take().unwrap(), "err won");
        reports.expect(&["lost"]);
    });
}

#[test]
fn first_ok_passes_failures_over_and_tells_them_all_in_order() {
    checked(|_| {
        let (mut triggers, inputs) = some(2);
        let seen = outcome_of(first_ok(inputs));
        triggers.remove(0).fail(Failure::msg("no"));
        triggers.pop().unwrap().fire(2);
        assert_eq!(seen.take().unwrap(), "ok 2");

        let (mut triggers, inputs) = some(2);
        let seen = outcome_of(first_ok(inputs));
        triggers.pop().unwrap().fail(Failure::msg("b"));
        triggers.pop().unwrap().fail(Failure::msg("a"));
        assert_eq!(seen.take().unwrap(), "err none of 2 succeeded: a; b");
    });
}

#[test]
fn a_request_reaches_every_member_and_is_the_end() {
    checked(|_| {
        type Many = fn(Vec<Deferred<u8>>) -> crate::common::Cell<String>;
        let manys: [Many; 4] = [
            |inputs| {
                let d = all(inputs);
                d.cancel();
                outcome_of(d)
            },
            |inputs| {
                let d = first(inputs);
                d.cancel();
                outcome_of(d)
            },
            |inputs| {
                let d = first_ok(inputs);
                d.cancel();
                outcome_of(d)
            },
            |mut inputs| {
                let d = join((inputs.pop().unwrap(), inputs.pop().unwrap(), inputs.pop().unwrap()));
                d.cancel();
                outcome_of(d)
            },
        ];
        for (n, many) in manys.into_iter().enumerate() {
            for slow in [false, true] {
                let (triggers, inputs) = some(3);
                if slow {
                    triggers[1].on_cancel(|| ());
                }
                let seen = many(inputs);
                assert!(triggers.iter().all(Trigger::is_cancelled), "{n}");
                assert_eq!(seen.is_empty(), slow, "{n}");
                drop(triggers);
                assert_eq!(seen.take().unwrap(), "cancelled", "{n}");
            }
        }
    });
}

#[test]
fn members_may_end_while_another_is_asked() {
    checked(|reports| {
        for count in [2, 5] {
            let (triggers, inputs) = some(count);
            let others: crate::common::Cell<Vec<Trigger<u8>>> = crate::common::Cell::new();
            let mut triggers = triggers.into_iter();
            let deciding = triggers.next().unwrap();
            let hooked = triggers.next().unwrap();
            let inside = others.clone();
            hooked.on_cancel(move || {
                for other in inside.take().unwrap() {
                    other.fail(Failure::msg("in the hook"));
                }
            });
            let mut rest: Vec<_> = triggers.collect();
            rest.push(hooked);
            others.put(rest);
            let seen = outcome_of(all(inputs));
            deciding.fail(Failure::msg("decides"));
            assert_eq!(seen.take().unwrap(), "err decides");
            assert_eq!(reports.take().len(), count - 1);
        }
    });
}

#[test]
fn join_gives_values_of_several_types() {
    checked(|_| {
        let (a, d) = Deferred::<u8>::new();
        let (b, e) = Deferred::<&str>::new();
        let seen = outcome_of(join((d, e)));
        b.fire("b");
        a.fire(1);
        assert_eq!(seen.take().unwrap(), r#"ok (1, "b")"#);
        let three = join((Deferred::<u8>::ok(1), Deferred::ok("two"), Deferred::ok(3.0)));
        assert_eq!(outcome_of(three).take().unwrap(), r#"ok (1, "two", 3.0)"#);
        let (a, d) = Deferred::<u8>::new();
        let (b, e) = Deferred::<u8>::new();
        let seen = outcome_of(join((d, e)));
        a.settle(Outcome::Stop(Stop::lost()));
        assert!(b.is_cancelled());
        drop(b);
        assert_eq!(seen.take().unwrap(), "lost");
    });
}

#[test]
fn what_is_left_still_ends_its_members() {
    checked(|reports| {
        let (mut triggers, inputs) = some(2);
        drop(all(inputs));
        triggers.pop().unwrap().fire(1);
        triggers.pop().unwrap().fail(Failure::msg("nobody looks"));
        reports.expect(&["nobody looks"]);
        assert_eq!(hosting::live(), hosting::Live::default());
    });
}

#[test]
fn join_takes_up_to_eight() {
    checked(|_| {
        let (triggers, mut d) = some(8);
        let mut next = || d.remove(0);
        let eight = join((next(), next(), next(), next(), next(), next(), next(), next()));
        let seen = outcome_of(eight.map(|(a, b, c, d, e, f, g, h)| [a, b, c, d, e, f, g, h]));
        for (n, trigger) in (0..).zip(triggers) {
            assert!(seen.is_empty());
            trigger.fire(n);
        }
        assert_eq!(seen.take().unwrap(), "ok [0, 1, 2, 3, 4, 5, 6, 7]");
    });
}

#[test]
fn an_error_that_panics_when_it_is_shown_hides_no_other() {
    #[derive(Debug)]
    struct Mute(&'static str);
    impl std::fmt::Display for Mute {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            assert!(!self.0.is_empty(), "mute");
            f.write_str(self.0)
        }
    }
    impl std::error::Error for Mute {}
    checked(|reports| {
        for many in ["all", "first", "join"] {
            let (mut triggers, mut inputs): (Vec<_>, Vec<_>) =
                (0..3).map(|_| Deferred::<u8, Mute>::with_error()).unzip();
            let end = match many {
                "all" => outcome_of(all(inputs)),
                "first" => outcome_of(first(inputs)),
                _ => {
                    let mut next = || inputs.remove(0);
                    outcome_of(join((next(), next(), next())))
                }
            };
            triggers.iter().for_each(|trigger| trigger.on_cancel(|| ()));
            triggers.remove(0).fail(Mute("first"));
            triggers.remove(0).fail(Mute(""));
            reports.expect_kinds(&[Kind::DestructorPanicked]);
            triggers.remove(0).fail(Mute("third"));
            reports.expect(&["third"]);
            assert_eq!(end.take().unwrap(), "err first", "{many}");
        }
    });
}

#[test]
fn failures_in_outcomes_that_nobody_looks_at_are_reported() {
    checked(|reports| {
        let (mut triggers, inputs) = some(3);
        drop(all_settled(inputs));
        triggers.remove(0).fail(Failure::msg("no"));
        triggers.remove(0).fire(1);
        assert!(reports.is_empty());
        drop(triggers);
        let mut messages: Vec<_> = reports.take().iter().map(|r| r.message().to_owned()).collect();
        messages.sort();
        assert_eq!(messages, [Stop::lost().to_string(), "no".to_owned()]);
    });
}

#[test]
fn first_ok_reports_a_panic_that_is_not_its_end() {
    checked(|reports| {
        for panics_first in [false, true] {
            for wins in [false, true] {
                let (mut triggers, inputs) = some(2);
                triggers[1].on_cancel(|| ());
                triggers[0].on_cancel(|| ());
                let mut inputs = inputs.into_iter();
                let one = inputs.next().unwrap().map(|_| -> u8 { panic!("not the end") });
                let seen = outcome_of(first_ok([one, inputs.next().unwrap()]));
                let other = triggers.pop().unwrap();
                let end = move || if wins { other.fire(1) } else { other.fail(Failure::msg("no")) };
                let panics = triggers.pop().unwrap();
                if panics_first {
                    panics.fire(0);
                    end();
                } else {
                    end();
                    panics.fire(0);
                }
                let expected = if wins { "ok 1" } else { "err none of 1 succeeded: no" };
                assert_eq!(seen.take().unwrap(), expected);
                reports.expect_kinds(&[Kind::Panicked]);
            }
        }
    });
}
