//! The same programs on thence-core, everything that happens noted.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use thence_core::{
    AllFailed, Canceller, Deferred, Failure, Guard, Kind, Lock, Never, Outcome, Report, Scope,
    Stop, Trigger, all, first, first_ok, flow, hosting, join,
};

use crate::event::{Event, Saw};
use crate::hands::{Hands, Held, Place};
use crate::program::{Await, Back, Body, End, Give, Hook, Many, Op, Step};

/// Everything that happened when the program ran, with the failure hook this thread has; see
/// [`reported`].
pub fn run(program: &[Op]) -> Vec<Event> {
    HANDS.set(Hands::new());
    LOCK.set(Lock::default());
    LOG.with_borrow_mut(Vec::clear);
    ops(program, Place::OUTSIDE);
    finish();
    HANDS.set(Hands::new());
    LOG.take()
}

/// The failure hook of a thread that runs programs.
pub fn reported(report: &Report) {
    let what = match report.kind() {
        Kind::Failed => Saw::Error(number_at_end(report.message())),
        Kind::Panicked => Saw::Panicked(number_at_end(report.message())),
        Kind::Lost => Saw::Lost,
        _ => Saw::Nothing,
    };
    note(Event::Reported { what });
}

fn number_at_end(text: &str) -> u32 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    text[digits..].parse().unwrap_or(u32::MAX)
}

fn note(event: Event) {
    LOG.with_borrow_mut(|log| log.push(event));
}

/// Runs `f` with what is at hand; `f` runs nothing of thence's.
fn hands<R>(f: impl FnOnce(&mut AtHand) -> R) -> R {
    HANDS.with_borrow_mut(f)
}

fn number() -> u32 {
    hands(Hands::number)
}

type AtHand = Hands<Deferred<Value>, Trigger<Value>, Rc<Canceller>, Rc<Scope>, Guard<()>>;

thread_local! {
    static HANDS: RefCell<AtHand> = RefCell::new(Hands::new());
    static LOCK: RefCell<Lock> = RefCell::default();
    static LOG: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// A value: a number that says when nobody's hand took it.
#[derive(Debug)]
struct Value(Option<u32>);

impl Value {
    fn new() -> Self {
        Self(Some(number()))
    }

    fn number(&self) -> u32 {
        self.0.expect("it is taken once, by value")
    }

    fn take(mut self) -> u32 {
        self.0.take().expect("it is taken once, by value")
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(number) = self.0 {
            note(Event::Dropped { number });
        }
    }
}

/// An error: a number.
#[derive(Debug)]
struct Code(u32);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Code {}

fn failure() -> Failure {
    Failure::from(Code(number()))
}

fn code(failure: &Failure) -> u32 {
    failure.downcast_ref::<Code>().expect("every error of a program is a code").0
}

fn saw(outcome: &Outcome<Value, Failure>) -> Saw {
    match outcome {
        Outcome::Ok(value) => Saw::Value(value.number()),
        Outcome::Err(failure) => Saw::Error(code(failure)),
        Outcome::Stop(Stop::Cancelled) => Saw::Cancelled,
        Outcome::Stop(Stop::Lost(_)) => Saw::Lost,
        Outcome::Stop(Stop::Panicked(panic)) => Saw::Panicked(number_at_end(panic.message())),
        Outcome::Stop(_) => Saw::Nothing,
    }
}

/// As [`saw`], and takes the value.
fn seen(outcome: Outcome<Value, Failure>) -> Saw {
    let saw = saw(&outcome);
    if let Outcome::Ok(value) = outcome {
        value.take();
    }
    saw
}

fn outcome(end: End) -> Outcome<Value, Failure> {
    match end {
        End::Ok => Outcome::Ok(Value::new()),
        End::Err => Outcome::Err(failure()),
        End::Cancelled => Outcome::Stop(Stop::Cancelled),
        End::Lost => Outcome::Stop(Stop::lost()),
    }
}

/// A callback that the program wrote.
struct Call {
    who: u32,
    place: Place,
    body: Rc<Body>,
    owned: RefCell<Option<Deferred<Value>>>,
}

impl Call {
    /// Does what the body does; gives what the closure owned.
    fn run(&self, saw: Saw) -> Option<Deferred<Value>> {
        let owned = self.owned.take();
        note(Event::Ran { who: self.who, saw });
        ops(&self.body.ops, self.place);
        self.panic_if_it_does();
        owned
    }

    fn panic_if_it_does(&self) {
        if self.body.panics {
            // Past the panic hook, which would print.
            std::panic::resume_unwind(Box::new(number().to_string()));
        }
    }

    fn run_and_give(&self, saw: Saw) -> Deferred<Value> {
        let owned = self.run(saw);
        let found = match self.body.give {
            Give::Ok => None,
            Give::Err => return Deferred::err(failure()),
            Give::Ready(end) => return Deferred::ended(outcome(end)),
            Give::Pending => Some(source(Back::No)),
            Give::Owned(_) => owned,
            Give::Found(pick) => hands(|hands| hands.take(pick, self.place)).map(|held| held.d),
            Give::Itself => hands(|hands| hands.take_itself(self.place)),
        };
        found.unwrap_or_else(|| Deferred::ok(Value::new()))
    }
}

fn call(body: &Rc<Body>, place: Place) -> Call {
    Call { who: number(), place, body: body.clone(), owned: RefCell::default() }
}

fn ops(ops: &[Op], place: Place) {
    for one in ops {
        op(one, place);
    }
}

fn op(op: &Op, place: Place) {
    match op {
        Op::Source { back } => {
            let d = source(*back);
            put(d, place);
        }
        Op::Ready(end) => put(Deferred::ended(outcome(*end)), place),
        Op::Attach { on, step, body } => {
            if let Some(held) = hands(|hands| hands.take(*on, place)) {
                attach(held, *step, body, place);
            }
        }
        Op::Settle { trigger, end } => {
            if let Some(trigger) = hands(|hands| hands.take_trigger(*trigger)) {
                settle(trigger, *end);
            }
        }
        Op::OnCancel { trigger, hook } => on_cancel(*trigger, *hook),
        Op::Cancel { on } => cancel(*on, place),
        Op::KeepCanceller { on } => hands(|hands| {
            if let Some(held) = hands.look(*on, place) {
                let canceller = Rc::new(held.d.canceller());
                hands.cancellers.push(canceller);
            }
        }),
        Op::UseCanceller { which } => {
            if let Some(canceller) = hands(|hands| hands.canceller(*which).cloned()) {
                canceller.cancel();
            }
        }
        Op::Drop { on } => drop(hands(|hands| hands.take(*on, place))),
        Op::Report { on } => {
            if let Some(held) = hands(|hands| hands.take(*on, place)) {
                held.d.report();
            }
        }
        Op::Flow { body } => start_flow(body, place),
        Op::Await { .. } => unreachable!("read only into flows"),
        Op::Many { many, inputs, dropped } => wait_for_many(*many, inputs, *dropped, place),
        Op::Scope => hands(|hands| hands.put_scope(Rc::new(Scope::new()))),
        Op::ScopeAdd { scope, on } => {
            let found = hands(|hands| {
                hands.take_for_scope(*scope, *on, place).map(|(scope, d)| (scope.clone(), d))
            });
            if let Some((scope, d)) = found {
                scope.add(d);
            }
        }
        Op::ScopeCancel { scope } => {
            if let Some(scope) = hands(|hands| hands.scope(*scope).cloned()) {
                scope.cancel();
            }
        }
        Op::ScopeEnded { scope } => {
            let found = hands(|hands| {
                hands.scope_to_end(*scope, place).map(|(scope, age)| (scope.clone(), age))
            });
            if let Some((scope, age)) = found {
                let ended = scope.ended();
                let who = number();
                let d = ended.map(move |()| {
                    note(Event::Ran { who, saw: Saw::Nothing });
                    Value::new()
                });
                let d = d.map_err(|never| match never {});
                hands(|hands| hands.put(d, age));
            }
        }
        Op::ScopeDrop { scope } => drop(hands(|hands| hands.take_scope(*scope))),
        Op::Acquire { dropped } => acquire(*dropped, place),
        Op::Release { guard } => drop(hands(|hands| hands.take_guard(*guard))),
        Op::Turn { ops: inside, budget } => {
            let hold = hosting::hold();
            ops(inside, place);
            drop(hold);
            while !hosting::queue_is_empty() {
                let ran = hosting::run_queue(*budget);
                note(Event::Turned { ran });
            }
        }
    }
}

fn source(back: Back) -> Deferred<Value> {
    let (trigger, d) = Deferred::new();
    match back {
        Back::No => {}
        Back::Note => trigger.on_unclaimed(|value: Value| {
            note(Event::Back { number: value.number() });
        }),
        Back::Next(pick) => trigger.on_unclaimed(move |value: Value| {
            note(Event::Back { number: value.number() });
            if let Some(next) = hands(|hands| hands.take_trigger(pick)) {
                next.fire(value);
            }
        }),
    }
    hands(|hands| {
        let number = hands.number();
        hands.triggers.push((number, trigger));
    });
    d
}

fn put(d: Deferred<Value>, place: Place) {
    hands(|hands| {
        let age = hands.age(place);
        hands.put(d, age);
    });
}

fn settle(trigger: Trigger<Value>, end: Option<End>) {
    match end {
        None => drop(trigger),
        Some(End::Ok) => trigger.fire(Value::new()),
        Some(End::Err) => trigger.fail(failure()),
        Some(end) => trigger.settle(outcome(end)),
    }
}

fn on_cancel(pick: u8, hook: Hook) {
    let found = hands(|hands| {
        let number = hands.trigger(pick)?.0;
        Some((number, hands.take_trigger(pick)?))
    });
    let Some((source, trigger)) = found else { return };
    trigger.on_cancel(move || run_hook(hook, source));
    hands(|hands| hands.triggers.push((source, trigger)));
}

fn run_hook(hook: Hook, source: u32) {
    note(Event::Asked { source });
    match hook {
        Hook::Note => {}
        Hook::Own(end) => {
            if let Some(trigger) = hands(|hands| hands.take_trigger_of(source)) {
                settle(trigger, end);
            }
        }
        Hook::Other(pick, end) => {
            if let Some(trigger) = hands(|hands| hands.take_trigger(pick)) {
                settle(trigger, end);
            }
        }
        Hook::Cancel(pick) => cancel(pick, Place::OUTSIDE),
        Hook::Drop(pick) => drop(hands(|hands| hands.take(pick, Place::OUTSIDE))),
    }
}

/// Asks one that stays at hand.
fn cancel(pick: u8, place: Place) {
    // A hook may look at what is at hand, so what is asked is not borrowed from there meanwhile.
    if let Some(canceller) = hands(|hands| hands.look(pick, place).map(|held| held.d.canceller())) {
        canceller.cancel();
    }
}

fn attach(held: Held<Deferred<Value>>, step: Step, body: &Rc<Body>, place: Place) {
    let age = hands(|hands| hands.age(place));
    let Held { d, line, .. } = held;
    let call = call(body, Place::inside(age, Some(line)));
    if step.goes_on()
        && let Give::Owned(pick) = body.give
    {
        *call.owned.borrow_mut() = hands(|hands| hands.take(pick, place)).map(|held| held.d);
    }
    let d = attached(d, step, call);
    hands(|hands| hands.deferreds.push(Held { d, age, line }));
}

fn attached(d: Deferred<Value>, step: Step, call: Call) -> Deferred<Value> {
    match step {
        Step::Map => d.map(move |value| {
            call.run(Saw::Value(value.take()));
            Value::new()
        }),
        Step::AndThen => d.and_then(move |value| call.run_and_give(Saw::Value(value.take()))),
        Step::OrElse => d.or_else(move |error| call.run_and_give(Saw::Error(code(&error)))),
        Step::Then => d.then(move |outcome| call.run_and_give(seen(outcome))),
        Step::Recover => d
            .recover(move |error| {
                call.run(Saw::Error(code(&error)));
                Value::new()
            })
            .map_err(|never: Never| match never {}),
        Step::Branch => {
            let for_value = Rc::new(call);
            let for_error = for_value.clone();
            d.branch(
                move |value| for_value.run_and_give(Saw::Value(value.take())),
                move |error| for_error.run_and_give(Saw::Error(code(&error))),
            )
        }
        Step::Inspect => d.inspect(move |value| {
            call.run(Saw::Value(value.number()));
        }),
        Step::InspectErr => d.inspect_err(move |error| {
            call.run(Saw::Error(code(error)));
        }),
        Step::Finally => d.finally(move || {
            call.run(Saw::Nothing);
        }),
        Step::MapErr => d.map_err(move |error| {
            call.run(Saw::Error(code(&error)));
            failure()
        }),
        Step::Settled => {
            let who = call.who;
            d.settled()
                .map(move |outcome| {
                    note(Event::Ran { who, saw: seen(outcome) });
                    Value::new()
                })
                .map_err(|never| match never {})
        }
        Step::Shield => d.shield(),
        Step::Named => d.named("named"),
    }
}

fn start_flow(body: &Rc<Body>, place: Place) {
    let age = hands(|hands| hands.age(place));
    let call = call(body, Place::inside(age, None));
    let d = flow(run_flow(call));
    hands(|hands| hands.put(d, age));
}

async fn run_flow(call: Call) -> Result<Value, Failure> {
    let _gone = Gone(call.who);
    note(Event::Ran { who: call.who, saw: Saw::Nothing });
    for one in &call.body.ops {
        let Op::Await { on, how } = one else {
            op(one, call.place);
            continue;
        };
        let Some(held) = hands(|hands| hands.take(*on, call.place)) else { continue };
        let outcome = match how {
            Await::Settled => held.d.settled().await,
            _ => held.d.await.into(),
        };
        note(Event::Ran { who: call.who, saw: saw(&outcome) });
        match (outcome, how) {
            (Outcome::Ok(value), _) => {
                value.take();
            }
            (Outcome::Err(error), Await::Try) => return Err(error),
            _ => {}
        }
    }
    call.panic_if_it_does();
    if let Give::Err = call.body.give { Err(failure()) } else { Ok(Value::new()) }
}

/// What a flow has on its stack.
struct Gone(u32);

impl Drop for Gone {
    fn drop(&mut self) {
        note(Event::Gone { who: self.0 });
    }
}

fn wait_for_many(many: Many, picks: &[u8], dropped: bool, place: Place) {
    let mut inputs = Vec::new();
    for pick in picks {
        inputs.extend(hands(|hands| hands.take(*pick, place)).map(|held| held.d));
    }
    let age = hands(|hands| hands.age(place));
    let d = match many {
        Many::Join if inputs.len() == 2 => {
            let (b, a) = (inputs.pop().expect("two"), inputs.pop().expect("two"));
            let both = join((a, b));
            if dropped {
                return drop(both);
            }
            let who = number();
            both.map(move |(a, b)| taken(who, [a, b]))
        }
        Many::All | Many::Join => {
            let all = all(inputs);
            if dropped {
                return drop(all);
            }
            let who = number();
            all.map(move |values| taken(who, values))
        }
        Many::First => {
            let first = first(inputs);
            if dropped {
                return drop(first);
            }
            first
        }
        Many::FirstOk => {
            let first_ok = first_ok(inputs);
            if dropped {
                return drop(first_ok);
            }
            let who = number();
            first_ok.map_err(move |failed: AllFailed<Failure>| {
                note(Event::Ran { who, saw: Saw::Nothing });
                for error in failed.errors() {
                    note(Event::Part { who, number: code(error) });
                }
                failure()
            })
        }
    };
    hands(|hands| hands.put(d, age));
}

fn taken(who: u32, values: impl IntoIterator<Item = Value>) -> Value {
    note(Event::Ran { who, saw: Saw::Nothing });
    for value in values {
        note(Event::Part { who, number: value.take() });
    }
    Value::new()
}

fn acquire(dropped: bool, place: Place) {
    let age = hands(|hands| hands.age(place));
    let d = LOCK.with_borrow(Lock::clone).acquire();
    if dropped {
        return drop(d);
    }
    let who = number();
    let d = d.map(move |guard| {
        note(Event::Ran { who, saw: Saw::Nothing });
        hands(|hands| hands.guards.push(guard));
        Value::new()
    });
    let d = d.map_err(|never| match never {});
    hands(|hands| hands.put(d, age));
}

/// Everything that is left ends.
fn finish() {
    loop {
        if let Some(number) = hands(|hands| hands.triggers.first().map(|(number, _)| *number)) {
            let trigger = hands(|hands| hands.take_trigger(0)).expect("it was there");
            settle(trigger, (!number.is_multiple_of(3)).then_some(End::Ok));
        } else if let Some(held) = hands(|hands| hands.take(0, Place::OUTSIDE)) {
            drop(held);
        } else if let Some(scope) = hands(|hands| hands.take_scope(0)) {
            drop(scope);
        } else if let Some(guard) = hands(|hands| hands.take_guard(0)) {
            drop(guard);
        } else {
            return;
        }
    }
}
