//! The `tracing` span that a step is written in is the span it runs in (DESIGN.md §3.8).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use thence_core::{Deferred, Failure, FlowContext, flow};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::common::{Log, checked};

/// Keeps the stack of entered spans of each thread, and how many references each span has.
#[derive(Default)]
struct Spans {
    last: AtomicU64,
    names: Mutex<BTreeMap<u64, (&'static Metadata<'static>, usize)>>,
}

thread_local! {
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    static PANICS: Cell<bool> = const { Cell::new(false) };
    static EVENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Spans {
    fn name(&self, id: u64) -> &'static str {
        self.names.lock().unwrap()[&id].0.name()
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.names.lock().unwrap().insert(id, (attributes.metadata(), 1));
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{value:?}");
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let span = ENTERED.with_borrow(|ids| ids.last().map(|id| self.name(*id)));
        let text = message.0.lines().next().unwrap_or_default().to_owned();
        EVENTS.with_borrow_mut(|events| events.push(format!("{}: {text}", span.unwrap_or("none"))));
    }

    fn enter(&self, id: &Id) {
        assert!(!PANICS.get(), "a subscriber that panics");
        ENTERED.with_borrow_mut(|ids| ids.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|ids| {
            let at = ids.iter().rposition(|entered| *entered == id.into_u64());
            ids.remove(at.expect("a span is left after it was entered"));
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.names.lock().unwrap().get_mut(&id.into_u64()).unwrap().1 += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut names = self.names.lock().unwrap();
        let count = &mut names.get_mut(&id.into_u64()).unwrap().1;
        *count -= 1;
        *count == 0
    }

    fn current_span(&self) -> tracing_core::span::Current {
        match ENTERED.with_borrow(|ids| ids.last().copied()) {
            Some(id) => {
                let metadata = self.names.lock().unwrap()[&id].0;
                tracing_core::span::Current::new(Id::from_u64(id), metadata)
            }
            None => tracing_core::span::Current::none(),
        }
    }
}

/// Runs `body` with the subscriber above, on a thread of its own.
fn with_spans(body: impl FnOnce(Log) + Send + 'static) {
    checked(|_| {
        tracing::subscriber::with_default(Spans::default(), || body(Log::new()));
        assert!(ENTERED.take().is_empty(), "every span was left");
    });
}

/// The name of the span this is asked in.
fn asked() -> &'static str {
    tracing::Span::current().metadata().map_or("none", Metadata::name)
}

#[test]
fn a_step_runs_in_the_span_it_was_written_in() {
    with_spans(|log| {
        let (trigger, d) = Deferred::<u8>::new();
        let (one, two, three) = (log.clone(), log.clone(), log.clone());
        let d = tracing::info_span!("wrote").in_scope(|| d.inspect(move |_| one.add(asked())));
        let d = d.inspect(move |_| two.add(asked()));
        let d = tracing::info_span!("after").in_scope(|| d.inspect(move |_| three.add(asked())));
        tracing::info_span!("fires").in_scope(|| {
            trigger.fire(1);
            assert_eq!(asked(), "fires");
        });
        d.report();
        log.expect(&["wrote", "none", "after"]);
        assert_eq!(asked(), "none");
    });
}

#[test]
fn a_flow_is_polled_in_its_span_and_what_it_writes_is_in_it() {
    with_spans(|log| {
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        let whole = tracing::info_span!("request").in_scope(|| {
            flow(async move {
                seen.add(asked());
                let inner = seen.clone();
                d.inspect(move |_| inner.add(asked())).await?;
                seen.add(asked());
                Ok(())
            })
        });
        trigger.fire(1);
        whole.report();
        log.expect(&["request", "request", "request"]);
    });
}

#[test]
fn a_span_goes_with_the_request_id_and_is_entered_once_for_steps_in_a_row() {
    with_spans(|log| {
        let span = tracing::info_span!("request");
        let context = FlowContext::current().with_request_id("r-1").with_span(span.clone());
        let (trigger, d) = Deferred::<u8>::new();
        let (one, two) = (log.clone(), log.clone());
        let both = || format!("{} {:?}", asked(), FlowContext::current().request_id());
        context.enter(|| {
            d.inspect(move |_| one.add(both()))
                .inspect(move |_| {
                    two.add(both());
                    assert_eq!(ENTERED.with_borrow(Vec::len), 1);
                })
                .report();
        });
        trigger.fire(1);
        log.expect(&["request Some(\"r-1\")", "request Some(\"r-1\")"]);
        assert_eq!(context.span(), Some(&span));
    });
}

#[test]
fn the_span_is_closed_when_the_last_step_written_in_it_has_ended() {
    let spans = std::sync::Arc::new(Spans::default());
    checked(move |_| {
        tracing::subscriber::with_default(spans.clone(), || {
            let (trigger, d) = Deferred::<u8>::new();
            let span = tracing::info_span!("request");
            let id = span.id().unwrap().into_u64();
            let d = span.in_scope(|| d.map(|n| n).map(|n| n));
            drop(span);
            let count = || spans.names.lock().unwrap()[&id].1;
            assert!(count() > 0);
            trigger.fire(1);
            d.report();
            assert_eq!(count(), 0);
        });
    });
}

#[test]
fn the_default_hook_reports_in_the_span_of_what_failed() {
    std::thread::spawn(|| {
        tracing::subscriber::with_default(Spans::default(), || {
            let (trigger, d) = Deferred::<u8>::new();
            tracing::info_span!("request").in_scope(|| d.map(|n| n).report());
            trigger.fail(Failure::msg("refused"));
            assert_eq!(EVENTS.take(), ["request: unhandled: refused"]);
        });
    })
    .join()
    .unwrap();
}

#[test]
fn a_subscriber_that_panics_stops_no_step() {
    with_spans(|log| {
        let (trigger, d) = Deferred::<u8>::new();
        let seen = log.clone();
        let context = FlowContext::current().with_span(tracing::info_span!("request"));
        context.enter(|| d.inspect(move |n| seen.add(n)).report());
        PANICS.set(true);
        trigger.fire(1);
        PANICS.set(false);
        log.expect(&["1"]);
    });
}
