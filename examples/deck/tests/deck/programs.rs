//! Every program of the deck runs to its end by itself and prints what its slide says.

use crate::common::{line_of, run};

#[test]
fn ten_line_reactor_takes_the_last_event_first() {
    let ran = run(env!("CARGO_BIN_EXE_ten_line_reactor"));
    ran.prints(&["beep pushed third", "boop pushed second", "beep pushed first"]);
}

#[test]
fn reactor_on_thence_takes_the_first_event_first() {
    let ran = run(env!("CARGO_BIN_EXE_reactor_on_thence"));
    ran.prints(&["beep emitted first", "boop emitted second", "beep emitted third"]);
}

#[test]
fn one_event_beeps_once_and_two_beep_twice() {
    run(env!("CARGO_BIN_EXE_beeps")).prints(&["one event", "beep", "two events", "beep", "beep"]);
}

#[test]
fn handlers_run_by_type_in_the_order_they_were_added() {
    let ran = run(env!("CARGO_BIN_EXE_event_types"));
    ran.prints(&["opened: count it", "opened: greet", "closed: say goodbye"]);
}

#[test]
fn payloads_are_fields() {
    let ran = run(env!("CARGO_BIN_EXE_payloads"));
    ran.prints(&["beep at volume 3", "beep beep beep at volume 11"]);
}

#[test]
fn one_event_does_work_and_fires_three_others() {
    run(env!("CARGO_BIN_EXE_event_architecture")).prints(&[
        "warehouse: 3 x bell off the shelf",
        "warehouse: done",
        "shipping: sends 3 x bell",
        "billing: asks for 750 cents",
        "purchasing: 1 left of bell, orders more",
    ]);
}

#[test]
fn the_watchdog_names_the_handler_that_blocks() {
    let ran = run(env!("CARGO_BIN_EXE_handle_event_bad"));
    ran.prints(&["the index of account 42"]);

    let source = include_str!("../../src/bin/handle_event_bad.rs");
    let site = format!(
        "examples/deck/src/bin/handle_event_bad.rs:{}:",
        line_of(source, "on(handle_event_bad)")
    );
    let line = ran.stderr.lines().find(|line| line.contains(&site));
    let line = line.unwrap_or_else(|| panic!("no line names {site} in:\n{}", ran.stderr));
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("ms"), "says how long: {line}");
}

#[test]
fn the_good_handler_gives_its_answer_and_the_loop_goes_on() {
    let ran = run(env!("CARGO_BIN_EXE_handle_event_good"));
    ran.prints(&[
        "the loop went on",
        "the index of account 42",
        "no page: invalid digit found in string",
    ]);
}

#[test]
fn do_one_thing_then_another_three_times_over() {
    let lines: Vec<String> = ["callbacks", "chain", "async"]
        .iter()
        .flat_map(|a| {
            [
                format!("{a}: one thing"),
                format!("{a}: another thing with something and something else"),
                format!("{a}: more stuff!"),
            ]
        })
        .collect();
    run(env!("CARGO_BIN_EXE_do_one_thing")).prints(&lines);
}

#[test]
fn two_dependent_remote_calls_three_times_over() {
    let lines: Vec<String> = ["callbacks", "chain", "async"]
        .iter()
        .flat_map(|form| {
            [
                format!("{form}: \"Beep\" remixed at 120 beats a minute"),
                format!("{form}: No analysis data returned: sorry!"),
                format!("{form}: nothing known about track 9"),
            ]
        })
        .collect();
    run(env!("CARGO_BIN_EXE_remote_calls")).prints(&lines);
}

#[test]
fn basic_deferreds() {
    run(env!("CARGO_BIN_EXE_basic_deferreds")).prints(&["All done! Value is 6"]);
}

#[test]
fn factorial_and_a_million_levels() {
    run(env!("CARGO_BIN_EXE_factorial")).prints(&["All done! Value is 120", "a million deep"]);
}

#[test]
fn callbacks_become_deferreds() {
    let ran = run(env!("CARGO_BIN_EXE_exec_with_deferred"));
    ran.prints(&["All done! Value is 5", "All done! Value is 5"]);
}

#[test]
fn a_cookie_becomes_an_account_and_each_failure_is_counted_as_what_it_is() {
    run(env!("CARGO_BIN_EXE_cookie_handler")).prints(&[
        "log: GET /hello 200",
        "sessionId=ann: 200 hello, 42",
        "log: GET /hello 401",
        "sessionId=mallory: 401 no session",
        "log: GET /hello 502",
        "sessionId=bob: 502 the upstream answered 500",
        "log: GET /hello 504",
        "sessionId=eve: 504 not done within 100ms",
        "successes 1, refused 1, failures 2",
    ]);
}
