//! Facts 139 to 141 of docs/from-twisted.md: what can be seen of a Deferred.
//!
//! | fact | why it has no test here |
//! |---|---|
//! | 140 | sites are kept always, so there is nothing to switch on between making and firing |

use thence_core::{Deferred, Failure, flow, hosting};

use crate::common::{checked, outcome_of};

#[test]
fn fact_139_differs_where_it_was_made_and_what_it_passed_is_kept_always() {
    checked(|reports| {
        let from = line!();
        let (trigger, d) = Deferred::<u8>::new();
        assert_eq!(trigger.site().line(), from + 1);
        let d = d.map(|n| n).named("double");
        d.report();
        trigger.fail(Failure::msg("told"));
        let report = reports.take().pop().unwrap();
        let lines: Vec<u32> = report.steps().iter().map(|step| step.site.line() - from).collect();
        assert_eq!(lines, [1, 3, 4]);
        assert_eq!(report.steps()[1].label, Some("double"));
    });
}

#[test]
fn fact_141_differs_debug_says_whether_it_is_ready_and_the_loop_lists_what_is_waited_for() {
    checked(|_| {
        let (trigger, d) = Deferred::<u8>::new();
        let line = line!() - 1;
        assert_eq!(format!("{d:?}"), "Deferred { ready: false, .. }");
        assert!(format!("{trigger:?}").contains(&format!("facts_debug.rs:{line}:")));

        let d = d.map(|n| n);
        let step = line!() - 1;
        let [waited] = hosting::unfinished()[..] else { panic!("one source is waited for") };
        assert_eq!((waited.site.line(), waited.waiter.unwrap().line()), (line, step));

        let outer = flow(async move { d.await });
        let at = line!() - 1;
        let [waiting] = hosting::unfinished()[..] else { panic!("one flow waits") };
        assert!(waiting.is_flow);
        assert_eq!(waiting.site.line(), at, "the await it stands at");
        trigger.fire(1);
        assert_eq!(format!("{outer:?}"), "Deferred { ready: true, .. }");
        assert!(hosting::unfinished().is_empty());
        assert_eq!(outcome_of(outer).take().unwrap(), "ok 1");
    });
}
