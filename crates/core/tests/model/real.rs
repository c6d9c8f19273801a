//! The same programs on thence-core, everything that happens noted. Its values, errors, trails and
//! closures do the deeds that the program put at hand: see `act`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use thence_core::{
    AllFailed, Canceller, Fault, Guard, Kind, Lock, Never, Outcome, Report, Scope, Stop, all,
    first, first_ok, hosting, join,
};

use crate::event::{Event, Saw};
use crate::hands::{Hands, Held, Place};
use crate::program::{Await, Back, Body, End, Give, Hook, Many, Moment, Op, Step};

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
        Kind::DestructorPanicked => Saw::Destructor(number_at_end(report.message())),
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

type Deferred = thence_core::Deferred<Value, Code>;
type Trigger = thence_core::Trigger<Value, Code>;
type AtHand = Hands<Deferred, Trigger, Rc<Canceller>, Rc<Scope>, Guard<()>>;

thread_local! {
    static HANDS: RefCell<AtHand> = RefCell::new(Hands::new());
    static LOCK: RefCell<Lock> = RefCell::default();
    static LOG: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
    /// A label is given to a step that an error was told of already, perhaps.
    static NAMING: Cell<bool> = const { Cell::new(false) };
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
            act(Moment::Dropped);
        }
    }
}

/// Does the oldest deed that was put at hand for this moment.
fn act(moment: Moment) {
    if act_calmly(moment) && !std::thread::panicking() {
        std::panic::resume_unwind(Box::new(number().to_string()));
    }
}

/// As [`act`], and says whether it should panic instead of doing so.
fn act_calmly(moment: Moment) -> bool {
    let Some(deed) = hands(|hands| hands.take_deed(moment)) else { return false };
    ops(&deed.ops, Place::OUTSIDE);
    deed.panics
}

/// An error: a number. It and its trail act whenever core runs code of theirs.
#[derive(Debug)]
struct Code(u32);

impl Fault for Code {
    type Trail = Trail;
    type Awaited<T> = Result<T, Self>;

    fn passed(&mut self, _: &mut Trail, _: thence_core::Step) {
        if !NAMING.get() {
            act(Moment::Told);
        }
    }

    fn message(&self) -> String {
        act(Moment::Message);
        self.0.to_string()
    }

    fn steps(&self, _: &Trail) -> Vec<thence_core::Step> {
        Vec::new()
    }

    fn awaited<T>(result: Result<T, Self>) -> Result<T, Self> {
        result
    }
}

struct Trail;

impl Default for Trail {
    fn default() -> Self {
        act_calmly(Moment::TrailMade);
        Self
    }
}

impl Clone for Trail {
    fn clone(&self) -> Self {
        act(Moment::TrailCloned);
        Self
    }
}

fn fresh_error() -> Code {
    Code(number())
}

fn saw(outcome: &Outcome<Value, Code>) -> Saw {
    match outcome {
        Outcome::Ok(value) => Saw::Value(value.number()),
        Outcome::Err(error) => Saw::Error(error.0),
        Outcome::Stop(Stop::Cancelled) => Saw::Cancelled,
        Outcome::Stop(Stop::Lost(_)) => Saw::Lost,
        Outcome::Stop(Stop::Panicked(panic)) => Saw::Panicked(number_at_end(panic.message())),
        Outcome::Stop(_) => Saw::Nothing,
    }
}

/// As [`saw`], and takes the value.
fn seen(outcome: Outcome<Value, Code>) -> Saw {
    let saw = saw(&outcome);
    if let Outcome::Ok(value) = outcome {
        value.take();
    }
    saw
}

fn outcome(end: End) -> Outcome<Value, Code> {
    match end {
        End::Ok => Outcome::Ok(Value::new()),
        End::Err => Outcome::Err(fresh_error()),
        End::Cancelled => Outcome::Stop(Stop::Cancelled),
        End::Lost => Outcome::Stop(Stop::lost()),
    }
}

/// A callback that the program wrote.
struct Call {
    who: u32,
    place: Place,
    body: Rc<Body>,
    owned: RefCell<Option<Deferred>>,
    /// It is the closure of a step, and has not run.
    waits: Cell<bool>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.waits.get() {
            act(Moment::ClosureGone);
        }
    }
}

impl Call {
    /// Does what the body does; gives what the closure owned.
    fn run(&self, saw: Saw) -> Option<Deferred> {
        self.waits.set(false);
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

    fn run_and_give(&self, saw: Saw) -> Deferred {
        let owned = self.run(saw);
        let found = match self.body.give {
            Give::Ok => None,
            Give::Err => return Deferred::err(fresh_error()),
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
    let owned = RefCell::default();
    Call { who: number(), place, body: body.clone(), owned, waits: Cell::new(false) }
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
        Op::Arm { moment, body } => hands(|hands| hands.arm(*moment, body)),
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

fn source(back: Back) -> Deferred {
    let (trigger, d) = Deferred::with_error();
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

fn put(d: Deferred, place: Place) {
    hands(|hands| {
        let age = hands.age(place);
        hands.put(d, age);
    });
}

fn settle(trigger: Trigger, end: Option<End>) {
    match end {
        None => drop(trigger),
        Some(End::Ok) => trigger.fire(Value::new()),
        Some(End::Err) => trigger.fail(fresh_error()),
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

fn attach(held: Held<Deferred>, step: Step, body: &Rc<Body>, place: Place) {
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

fn attached(d: Deferred, step: Step, call: Call) -> Deferred {
    call.waits.set(!matches!(step, Step::Settled | Step::Shield | Step::Named));
    match step {
        Step::Map => d.map(move |value| {
            call.run(Saw::Value(value.take()));
            Value::new()
        }),
        Step::AndThen => d.and_then(move |value| call.run_and_give(Saw::Value(value.take()))),
        Step::OrElse => d.or_else(move |error| call.run_and_give(Saw::Error(error.0))),
        Step::Then => d.then(move |outcome| call.run_and_give(seen(outcome))),
        Step::Recover => d
            .recover(move |error| {
                call.run(Saw::Error(error.0));
                Value::new()
            })
            .map_err(|never: Never| match never {}),
        Step::Branch => {
            let for_value = Rc::new(call);
            let for_error = for_value.clone();
            d.branch(
                move |value| for_value.run_and_give(Saw::Value(value.take())),
                move |error| for_error.run_and_give(Saw::Error(error.0)),
            )
        }
        Step::Inspect => d.inspect(move |value| {
            call.run(Saw::Value(value.number()));
        }),
        Step::InspectErr => d.inspect_err(move |error| {
            call.run(Saw::Error(error.0));
        }),
        Step::Finally => d.finally(move || {
            call.run(Saw::Nothing);
        }),
        Step::MapErr => d.map_err(move |error| {
            call.run(Saw::Error(error.0));
            fresh_error()
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
        Step::Named => {
            NAMING.set(true);
            let d = d.named("named");
            NAMING.set(false);
            d
        }
    }
}

fn start_flow(body: &Rc<Body>, place: Place) {
    let age = hands(|hands| hands.age(place));
    let call = call(body, Place::inside(age, None));
    let d = Deferred::from_future(run_flow(call));
    hands(|hands| hands.put(d, age));
}

async fn run_flow(call: Call) -> Result<Value, Code> {
    let gone = Gone { who: call.who, returns: Cell::new(false) };
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
            (Outcome::Err(error), Await::Try) => {
                gone.returns.set(true);
                return Err(error);
            }
            _ => {}
        }
    }
    call.panic_if_it_does();
    gone.returns.set(true);
    if let Give::Err = call.body.give { Err(fresh_error()) } else { Ok(Value::new()) }
}

/// What a flow has on its stack.
struct Gone {
    who: u32,
    returns: Cell<bool>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        note(Event::Gone { who: self.who });
        if self.returns.get() {
            act_calmly(Moment::FlowGone);
        } else {
            act(Moment::FlowGone);
        }
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
            first_ok.map_err(move |failed: AllFailed<Code>| {
                note(Event::Ran { who, saw: Saw::Nothing });
                for error in failed.errors() {
                    note(Event::Part { who, number: error.0 });
                }
                fresh_error()
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
