//! The reference: DESIGN.md §3.2 to §3.5 as an interpreter, naive and slow.
//!
//! One `Vec` of cells, one queue, and nothing clever: a cell is never freed or replaced, a returned
//! Deferred is waited for by the step that returned it however long the chain, and whatever has to
//! wait its turn stands in a list. Each rule is one function; the words of the contract stand above
//! it.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::event::{Event, Saw};
use crate::hands::{Hands, Held, Place};
use crate::program::{Await, Back, Body, End, Give, Hook, Many, Op, Step};

/// Everything that happens when the program runs.
pub fn run(program: &[Op]) -> Vec<Event> {
    let mut reference = Reference::new();
    reference.ops(program, Place::OUTSIDE);
    reference.finish();
    reference.log
}

/// The number of a cell.
type Id = usize;

/// How something ended. A value is one or many numbers, each with its way back.
#[derive(Clone, Debug)]
enum Out {
    Ok(Vec<Item>),
    /// The value of a `settled`.
    Settled(Box<Self>),
    /// The lock, for whoever has it.
    Guard,
    Err(Vec<u32>),
    Cancelled,
    Lost,
    Panicked(u32),
}

#[derive(Clone, Copy, Debug)]
struct Item {
    number: u32,
    back: Back,
}

/// Something that finishes later.
struct Cell {
    what: What,
    state: State,
    waiter: Waiter,
    /// A request stands.
    asked: bool,
    /// What it waits for.
    up: Option<Id>,
}

enum What {
    Source {
        back: Back,
        hooks: Vec<Canceller>,
        hooked: bool,
    },
    Step(Work),
    /// A step whose callback returned a Deferred, which it waits for now.
    Forward,
    Flow(Flow),
    Ready,
}

enum State {
    Pending,
    /// Its callback is in the queue.
    Queued,
    Running,
    Ended(Out),
    /// Somebody took what it ended with.
    Taken,
}

/// Who has a cell's end.
#[derive(Clone, Copy)]
enum Waiter {
    /// Nobody: it was left, or never wanted.
    Nobody,
    /// Whoever holds the Deferred.
    Held,
    /// A step or a flow.
    Cell(Id),
    /// One of many.
    Member {
        gathering: usize,
        index: usize,
    },
    Owned {
        scope: usize,
    },
}

enum Work {
    /// What the program attached.
    Callback {
        step: Step,
        call: Call,
    },
    /// A step with no callback for what comes: the error of what cannot fail.
    Passes,
    Settled,
    Shield,
    Report,
    /// The callback that takes what a `settled`, a scope's end or the many gave.
    Takes {
        who: u32,
        lane: Lane,
    },
}

#[derive(Clone)]
struct Call {
    who: u32,
    place: Place,
    body: Rc<Body>,
    owned: Option<Id>,
}

struct Flow {
    call: Call,
    /// The operation it goes on with.
    at: usize,
    awaits: Option<(Id, Await)>,
    /// What it awaits ended during the poll.
    woken: bool,
}

#[derive(Clone, Copy)]
enum Canceller {
    User {
        hook: Hook,
        source: u32,
    },
    Members(usize),
    /// Of a waiter for the lock.
    Line(Id),
}

/// `all`, `first`, `first_ok` or `join` under way.
struct Gathering {
    many: Many,
    members: Vec<Id>,
    values: Vec<Option<Vec<Item>>>,
    /// What it will end with: the winner, or the first failure.
    end: Option<Out>,
    failed: Vec<(usize, u32)>,
    stopped: Option<Out>,
    left: usize,
    result: Id,
}

#[derive(Default)]
struct Scope {
    members: Vec<Id>,
    waiting: Vec<Id>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Lane {
    Ok,
    Err,
    Stop,
}

struct Reference {
    cells: Vec<Cell>,
    gatherings: Vec<Gathering>,
    scopes: Vec<Scope>,
    hands: Hands<Id, Id, Id, usize, ()>,
    /// The one queue: steps and flows whose callback is to run.
    queue: VecDeque<Id>,
    /// What has ended and was not handed on yet.
    ended: VecDeque<Id>,
    handing: bool,
    /// Requests that were not sent yet.
    requests: VecDeque<Id>,
    asking: bool,
    /// Ends nobody takes that were not told yet.
    unclaimed: VecDeque<Out>,
    telling: bool,
    locked: bool,
    /// Who waits for the lock.
    line: VecDeque<Id>,
    /// How many callbacks, hooks and holds there are around what happens now.
    busy: u32,
    log: Vec<Event>,
}

/// The firing rule (§3.2).
impl Reference {
    /// "`fire`, or a step attached to something already fired: outside any callback, what it sets
    /// off has run before it returns; inside one it queues."
    fn settle(&mut self) {
        if self.busy == 0 {
            self.drain(usize::MAX);
        } else {
            self.hand_on();
        }
    }

    /// "There is one FIFO queue per thread; its unit is one step."
    fn drain(&mut self, budget: usize) -> usize {
        self.busy += 1;
        let mut ran = 0;
        self.hand_on();
        while ran < budget
            && let Some(id) = self.queue.pop_front()
        {
            ran += 1;
            self.cells[id].state = State::Running;
            match self.cells[id].what {
                What::Flow(_) => self.poll(id),
                _ => self.callback(id),
            }
            self.hand_on();
        }
        self.busy -= 1;
        ran
    }

    /// Runs what is no callback and yet the user's: "they run at once, with the queue held."
    fn held(&mut self, f: impl FnOnce(&mut Self)) {
        self.busy += 1;
        f(self);
        self.busy -= 1;
    }

    /// It has ended: "exactly once". Whoever holds it has it; otherwise it is handed on, behind
    /// what is handed on already.
    fn end(&mut self, id: Id, out: Out) {
        self.cells[id].state = State::Ended(out);
        let is_first = !self.handing && self.ended.is_empty();
        match self.cells[id].waiter {
            Waiter::Held => {}
            Waiter::Nobody if is_first => self.unclaimed(id),
            _ => self.ended.push_back(id),
        }
    }

    /// "Handing a value on (a lane passed through, a returned Deferred) is no callback." Each end
    /// is handed on, with all that it sets off, before the next one: "order never depends on
    /// depth".
    fn hand_on(&mut self) {
        if std::mem::replace(&mut self.handing, true) {
            return;
        }
        while let Some(id) = self.ended.pop_front() {
            let rest = std::mem::take(&mut self.ended);
            self.hand(id);
            self.ended.extend(rest);
        }
        self.handing = false;
    }

    fn hand(&mut self, id: Id) {
        let lane = self.cells[id].lane();
        match self.cells[id].waiter {
            Waiter::Nobody => self.unclaimed(id),
            Waiter::Held => {}
            Waiter::Member { gathering, index } => {
                let out = self.take(id);
                self.arrived(gathering, index, out);
            }
            Waiter::Owned { scope } => self.ended_in_scope(scope, id),
            Waiter::Cell(waiter) => match &mut self.cells[waiter].what {
                What::Flow(flow) => {
                    flow.woken = true;
                    self.cells[id].waiter = Waiter::Held;
                    if self.is_pending(waiter) {
                        self.enqueue(waiter);
                    }
                }
                What::Step(work) if work.wants(lane) => self.enqueue(waiter),
                What::Step(_) => {
                    let out = self.take(id);
                    self.pass(waiter, out);
                }
                _ => {
                    let out = self.take(id);
                    self.end(waiter, out);
                }
            },
        }
    }

    fn enqueue(&mut self, id: Id) {
        self.cells[id].state = State::Queued;
        self.queue.push_back(id);
    }

    /// Attaching: behind what is pending it waits; on what has ended it has its input.
    fn attach(&mut self, to: Id, work: Work) -> Id {
        let id = self.cell(What::Step(work), Some(to));
        self.cells[to].waiter = Waiter::Cell(id);
        if self.is_ended(to) {
            self.ended.push_back(to);
            self.settle();
        }
        id
    }
}

/// Three lanes (§3.3).
impl Work {
    /// The lanes a step has a callback for. "`map`, `and_then`, `recover`, `or_else` never see a
    /// Stop."
    fn wants(&self, lane: Lane) -> bool {
        match self {
            Self::Callback { step, .. } => match step {
                Step::Map | Step::AndThen | Step::Inspect => lane == Lane::Ok,
                Step::OrElse | Step::Recover | Step::InspectErr | Step::MapErr => lane == Lane::Err,
                Step::Branch => lane != Lane::Stop,
                Step::Then | Step::Finally => true,
                Step::Settled | Step::Shield | Step::Named => false,
            },
            Self::Takes { lane: wanted, .. } => lane == *wanted,
            Self::Passes | Self::Settled | Self::Shield | Self::Report => false,
        }
    }

    /// "Something asks for the whole outcome: `then`, `settled`."
    fn asks(&self) -> bool {
        matches!(self, Self::Settled | Self::Callback { step: Step::Then, .. })
    }
}

impl Reference {
    /// A lane passed through.
    fn pass(&mut self, id: Id, out: Out) {
        self.delivered(id, &out);
        let What::Step(work) = &mut self.cells[id].what else { unreachable!("only steps pass") };
        let owned = if let Work::Callback { call, .. } = work { call.owned.take() } else { None };
        let out = match work {
            Work::Settled => Out::Settled(Box::new(out)),
            Work::Report => match out {
                Out::Ok(items) => {
                    self.drop_values(&items);
                    Out::Ok(Vec::new())
                }
                out => out,
            },
            _ => out,
        };
        // A closure that will not run lets go of what it owns once its step has ended.
        self.end(id, out);
        if let Some(owned) = owned {
            self.leave(owned);
        }
    }

    /// The callback of a step.
    fn callback(&mut self, id: Id) {
        let up = self.cells[id].up.expect("a step waits for something");
        let out = self.take(up);
        self.delivered(id, &out);
        let What::Step(work) = &mut self.cells[id].what else { unreachable!("flows are polled") };
        let (step, call) = match work {
            Work::Takes { who, .. } => {
                let who = *who;
                return self.takes(id, who, &out);
            }
            Work::Callback { step, call } => (*step, call.clone()),
            _ => unreachable!("it has no callback"),
        };
        let saw = match step {
            Step::Finally => Saw::Nothing,
            _ => out.saw(),
        };
        self.log.push(Event::Ran { who: call.who, saw });
        self.ops(&call.body.ops, call.place);
        if call.body.panics {
            let number = self.hands.number();
            if let Some(owned) = call.owned {
                self.leave(owned);
            }
            // A value that it had in its hand is gone; what is unhandled must not be swallowed.
            match (step, out) {
                (Step::Inspect | Step::Finally, Out::Ok(items)) => self.drop_values(&items),
                (Step::InspectErr | Step::Finally, out) => self.let_go(out),
                _ => {}
            }
            return self.end(id, Out::Panicked(number));
        }
        match step {
            Step::Map | Step::Recover => {
                let value = self.value();
                self.end(id, value);
            }
            Step::MapErr => {
                let number = self.hands.number();
                self.end(id, Out::Err(vec![number]));
            }
            Step::Inspect | Step::InspectErr | Step::Finally => self.end(id, out),
            _ => match self.given(&call) {
                Ok(out) => self.end(id, out),
                Err(inner) => self.returned(id, inner),
            },
        }
    }

    /// The callback that takes what is no plain value, and gives one.
    fn takes(&mut self, id: Id, who: u32, out: &Out) {
        let saw = match out {
            Out::Settled(settled) => settled.saw(),
            _ => Saw::Nothing,
        };
        self.log.push(Event::Ran { who, saw });
        let number = match out {
            Out::Guard => {
                self.hands.guards.push(());
                None
            }
            Out::Ok(items) => {
                self.log.extend(items.iter().map(|item| Event::Part { who, number: item.number }));
                None
            }
            Out::Err(numbers) => {
                self.log.extend(numbers.iter().map(|number| Event::Part { who, number: *number }));
                Some(self.hands.number())
            }
            _ => None,
        };
        let out = match number {
            Some(number) => Out::Err(vec![number]),
            None => self.value(),
        };
        self.end(id, out);
    }

    /// What a callback gives: an outcome, or a Deferred to wait for.
    fn given(&mut self, call: &Call) -> Result<Out, Id> {
        let found = match call.body.give {
            Give::Ok => None,
            Give::Err => return Ok(Out::Err(vec![self.hands.number()])),
            Give::Ready(end) => return Ok(self.out(end, Back::No)),
            Give::Pending => Some(self.source(Back::No)),
            Give::Owned(_) => call.owned,
            Give::Found(pick) => self.hands.take(pick, call.place).map(|held| held.d),
            Give::Itself => self.hands.take_itself(call.place),
        };
        match found {
            Some(id) => Err(id),
            None => Ok(self.value()),
        }
    }

    /// A callback returned a Deferred: its step ends with what that ends with. "An inner Deferred
    /// returned before \[the request was delivered\] is asked too." "A Deferred returned into itself
    /// ends `Stop(Lost)`."
    fn returned(&mut self, id: Id, inner: Id) {
        if self.cells[id].asked {
            self.request(inner);
        }
        if self.is_ended(inner) {
            let out = self.take(inner);
            return self.end(id, out);
        }
        let mut at = Some(inner);
        while let Some(above) = at {
            if above == id {
                self.cells[inner].waiter = Waiter::Nobody;
                return self.end(id, Out::Lost);
            }
            at = self.cells[above].up.filter(|_| self.is_pending(above));
        }
        self.cells[id].what = What::Forward;
        self.cells[id].state = State::Pending;
        self.cells[id].up = Some(inner);
        self.cells[inner].waiter = Waiter::Cell(id);
    }
}

/// Flows (§3.3, §3.7).
impl Reference {
    fn poll(&mut self, id: Id) {
        let flow = self.flow(id);
        flow.woken = false;
        let call = flow.call.clone();
        match flow.awaits.take() {
            None => self.log.push(Event::Ran { who: call.who, saw: Saw::Nothing }),
            Some((awaited, how)) => {
                if let Some(end) = self.received(call.who, awaited, how) {
                    return self.end_flow(id, end);
                }
            }
        }
        while let Some(op) = call.body.ops.get(self.flow(id).at) {
            self.flow(id).at += 1;
            let Op::Await { on, how } = op else {
                self.op(op, call.place);
                continue;
            };
            let Some(held) = self.hands.take(*on, call.place) else { continue };
            let awaited = match how {
                Await::Settled => self.attach(held.d, Work::Settled),
                _ => held.d,
            };
            if !self.is_ended(awaited) {
                return self.wait(id, awaited, *how);
            }
            if let Some(end) = self.received(call.who, awaited, *how) {
                return self.end_flow(id, end);
            }
        }
        let end = if call.body.panics {
            Out::Panicked(self.hands.number())
        } else if let Give::Err = call.body.give {
            Out::Err(vec![self.hands.number()])
        } else {
            self.value()
        };
        self.end_flow(id, end);
    }

    /// "The request stands \[..\]: an inner Deferred returned or awaited before that is asked too."
    fn wait(&mut self, id: Id, awaited: Id, how: Await) {
        self.cells[awaited].waiter = Waiter::Cell(id);
        self.flow(id).awaits = Some((awaited, how));
        if self.cells[id].asked {
            self.request(awaited);
        }
        self.cells[id].state = State::Pending;
        if self.flow(id).woken {
            self.enqueue(id);
        }
    }

    /// What an await gives; the flow's end, if it ends by it. "When a Stop arrives in a flow, its
    /// future is dropped at that await, and the flow ends with it."
    fn received(&mut self, who: u32, awaited: Id, how: Await) -> Option<Out> {
        let out = self.take(awaited);
        let seen = match &out {
            Out::Settled(settled) => settled.saw(),
            Out::Ok(_) | Out::Err(_) => out.saw(),
            _ => return Some(out),
        };
        self.log.push(Event::Ran { who, saw: seen });
        match (out, how) {
            (out @ Out::Err(_), Await::Try) => Some(out),
            _ => None,
        }
    }

    fn end_flow(&mut self, id: Id, out: Out) {
        let who = self.flow(id).call.who;
        self.log.push(Event::Gone { who });
        self.end(id, out);
    }

    fn flow(&mut self, id: Id) -> &mut Flow {
        let What::Flow(flow) = &mut self.cells[id].what else { unreachable!("it is a flow") };
        flow
    }
}

/// Leave and cancel (§3.4).
impl Reference {
    /// "Leave: dropping a Deferred only stops waiting."
    fn leave(&mut self, id: Id) {
        self.cells[id].waiter = Waiter::Nobody;
        if self.line.contains(&id) {
            self.held(|this| this.leave_line(id));
        }
        if self.is_ended(id) {
            self.held(|this| this.unclaimed(id));
        }
        self.settle();
    }

    fn cancel(&mut self, id: Id) {
        self.request(id);
        self.settle();
    }

    /// "Cancel: an explicit request that travels up to whatever is pending now." What it sets off
    /// in requests is sent after it.
    fn request(&mut self, id: Id) {
        self.requests.push_back(id);
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        while let Some(id) = self.requests.pop_front() {
            self.held(|this| this.walk(id));
        }
        self.asking = false;
    }

    fn walk(&mut self, id: Id) {
        let mut at = Some(id);
        while let Some(id) = at {
            let cell = &mut self.cells[id];
            let was_asked = cell.asked;
            match cell.state {
                State::Ended(_) | State::Taken => return,
                State::Queued | State::Running => {
                    cell.asked = true;
                    return;
                }
                State::Pending if was_asked => return,
                State::Pending => cell.asked = true,
            }
            at = match &mut cell.what {
                What::Step(Work::Shield) => None,
                What::Step(_) | What::Forward => cell.up,
                // "The request goes to every await pending in a flow."
                What::Flow(flow) => {
                    let (awaited, _) = flow.awaits.expect("a pending flow awaits something");
                    self.request(awaited);
                    None
                }
                What::Source { .. } => {
                    self.ask_source(id);
                    None
                }
                What::Ready => unreachable!("it has ended"),
            };
        }
    }

    /// "A source with no canceller stops at once and ignores the later firing." One with a
    /// canceller ends when its producer says so.
    fn ask_source(&mut self, id: Id) {
        let What::Source { hooks, hooked, .. } = &mut self.cells[id].what else { return };
        let (hooks, hooked) = (std::mem::take(hooks), *hooked);
        for hook in hooks {
            self.held(|this| this.hook(hook));
        }
        if !hooked && self.is_pending(id) {
            self.end(id, Out::Cancelled);
        }
    }

    fn hook(&mut self, hook: Canceller) {
        let (hook, source) = match hook {
            Canceller::Line(id) => return self.leave_line(id),
            Canceller::Members(gathering) => return self.cancel_members(gathering),
            Canceller::User { hook, source } => (hook, source),
        };
        self.log.push(Event::Asked { source });
        match hook {
            Hook::Note => {}
            Hook::Own(end) => {
                if let Some(trigger) = self.hands.take_trigger_of(source) {
                    self.settle_trigger(trigger, end);
                }
            }
            Hook::Other(pick, end) => {
                if let Some(trigger) = self.hands.take_trigger(pick) {
                    self.settle_trigger(trigger, end);
                }
            }
            Hook::Cancel(pick) => {
                if let Some(id) = self.hands.look(pick, Place::OUTSIDE).map(|held| held.d) {
                    self.cancel(id);
                }
            }
            Hook::Drop(pick) => {
                if let Some(held) = self.hands.take(pick, Place::OUTSIDE) {
                    self.leave(held.d);
                }
            }
        }
    }

    /// "It stands until a `Stop(Cancelled)` has been delivered to whoever asks for outcomes; after
    /// it, clean-up may wait": there, and for all that waits below and was asked too.
    fn delivered(&mut self, id: Id, out: &Out) {
        let What::Step(work) = &self.cells[id].what else { return };
        if !work.asks() || !matches!(out, Out::Cancelled) {
            return;
        }
        let mut at = Some(id);
        while let Some(id) = at
            && self.cells[id].asked
        {
            self.cells[id].asked = false;
            at = match self.cells[id].waiter {
                Waiter::Cell(waiter) => Some(waiter),
                _ => None,
            };
        }
    }

    /// Fires, fails, stops or drops a trigger. "Dropped unfired: `Stop(Lost)`; dropped after a
    /// cancel request: `Stop(Cancelled)`." What comes after a source has stopped is ignored; a value
    /// goes back.
    fn settle_trigger(&mut self, id: Id, end: Option<End>) {
        let What::Source { back, hooks, .. } = &mut self.cells[id].what else { return };
        let back = *back;
        hooks.clear();
        let out = match end {
            Some(end) => self.out(end, back),
            None if self.cells[id].asked => Out::Cancelled,
            None => Out::Lost,
        };
        if self.is_pending(id) {
            self.end(id, out);
        } else if let Out::Ok(items) = out {
            self.held(|this| this.give_back(&items));
        }
        self.settle();
    }

    /// "What they yield goes back where it came from when the source is a stream of things;
    /// otherwise it is dropped by type."
    fn give_back(&mut self, items: &[Item]) {
        for item in items {
            let Item { number, back } = *item;
            match back {
                Back::No => self.log.push(Event::Dropped { number }),
                Back::Note => {
                    self.log.push(Event::Back { number });
                    self.log.push(Event::Dropped { number });
                }
                Back::Next(pick) => self.held(|this| this.give_to_next(number, pick)),
            }
        }
    }

    fn give_to_next(&mut self, number: u32, pick: u8) {
        self.log.push(Event::Back { number });
        let Some(next) = self.hands.take_trigger(pick) else {
            self.log.push(Event::Dropped { number });
            return;
        };
        let What::Source { back, hooks, .. } = &mut self.cells[next].what else { return };
        let items = vec![Item { number, back: *back }];
        hooks.clear();
        if self.is_pending(next) {
            self.end(next, Out::Ok(items));
        } else {
            self.held(|this| this.give_back(&items));
        }
        self.settle();
    }
}

/// Nothing is silent (§3.5).
impl Reference {
    /// "An error that reaches a dropped or reported Deferred goes to the failure hook at that
    /// instant." What this sets off is told after it, and before the outermost returns.
    fn unclaimed(&mut self, id: Id) {
        let out = self.take(id);
        self.let_go(out);
    }

    fn let_go(&mut self, out: Out) {
        self.unclaimed.push_back(out);
        if std::mem::replace(&mut self.telling, true) {
            return;
        }
        self.held(|this| {
            while let Some(out) = this.unclaimed.pop_front() {
                this.tell(&out);
            }
        });
        self.telling = false;
    }

    /// "`Stop(Panicked)` and `Stop(Lost)` that reach an end are reported the same way;
    /// `Stop(Cancelled)` was asked for and is not."
    fn tell(&mut self, out: &Out) {
        match out {
            Out::Ok(items) => self.give_back(items),
            Out::Settled(settled) => {
                if let Out::Ok(items) = &**settled {
                    self.drop_values(items);
                }
            }
            Out::Guard => self.release(),
            Out::Cancelled => {}
            Out::Err(_) | Out::Lost | Out::Panicked(_) => {
                self.log.push(Event::Reported { what: out.saw() });
            }
        }
    }

    fn drop_values(&mut self, items: &[Item]) {
        self.log.extend(items.iter().map(|item| Event::Dropped { number: item.number }));
    }
}

/// Waiting for many (§3.1): "each ends when all of its inputs have ended: losers are cancelled and
/// their end waited for".
impl Reference {
    fn gather(&mut self, many: Many, inputs: Vec<Id>) -> Id {
        if inputs.is_empty() {
            return self.ready(match many {
                Many::All | Many::Join => Out::Ok(Vec::new()),
                Many::First | Many::FirstOk => Out::Lost,
            });
        }
        let result = self.plain_source(Back::No);
        let gathering = self.gatherings.len();
        if let What::Source { hooks, hooked, .. } = &mut self.cells[result].what {
            hooks.push(Canceller::Members(gathering));
            *hooked = true;
        }
        self.gatherings.push(Gathering {
            many,
            members: inputs.clone(),
            values: vec![None; inputs.len()],
            end: None,
            failed: Vec::new(),
            stopped: None,
            left: inputs.len(),
            result,
        });
        self.held(|this| {
            for (index, input) in inputs.into_iter().enumerate() {
                this.cells[input].waiter = Waiter::Member { gathering, index };
                if this.is_ended(input) {
                    this.ended.push_back(input);
                    this.hand_on();
                }
            }
        });
        self.settle();
        result
    }

    fn arrived(&mut self, gathering: usize, index: usize, out: Out) {
        let many = self.gatherings[gathering].many;
        let decided = self.gatherings[gathering].end.is_some();
        match (many, out) {
            (Many::All | Many::Join, Out::Ok(items)) => {
                self.gatherings[gathering].values[index] = Some(items);
            }
            (Many::FirstOk, Out::Err(numbers)) => {
                self.gatherings[gathering].failed.extend(numbers.iter().map(|n| (index, *n)));
            }
            (Many::FirstOk, out) if !matches!(out, Out::Ok(_)) => {
                self.gatherings[gathering].stopped.get_or_insert(out);
            }
            // A loser.
            (_, Out::Ok(items)) if decided => self.held(|this| this.give_back(&items)),
            (_, out) if decided => self.tell(&out),
            (_, out) => {
                self.gatherings[gathering].end = Some(out);
                self.cancel_members(gathering);
            }
        }
        self.gatherings[gathering].left -= 1;
        if self.gatherings[gathering].left == 0 {
            self.all_arrived(gathering);
        }
    }

    fn all_arrived(&mut self, gathering: usize) {
        let Gathering { end, values, failed, stopped, result, many, .. } =
            &mut self.gatherings[gathering];
        let (result, many) = (*result, *many);
        let values: Vec<Item> = values.drain(..).flatten().flatten().collect();
        failed.sort_unstable();
        let failed: Vec<u32> = failed.drain(..).map(|(_, number)| number).collect();
        let out = match (end.take(), many) {
            (Some(out), _) => {
                self.held(|this| this.give_back(&values));
                out
            }
            (None, Many::FirstOk) if failed.is_empty() => stopped.take().unwrap_or(Out::Lost),
            (None, Many::FirstOk) => Out::Err(failed),
            (None, _) => Out::Ok(values),
        };
        self.end(result, out);
        self.settle();
    }

    fn cancel_members(&mut self, gathering: usize) {
        for member in self.gatherings[gathering].members.clone() {
            self.cancel(member);
        }
    }
}

/// Scopes (§3.4).
impl Reference {
    fn add_to_scope(&mut self, scope: usize, id: Id) {
        if self.is_ended(id) {
            return self.report(id);
        }
        self.cells[id].waiter = Waiter::Owned { scope };
        self.scopes[scope].members.push(id);
    }

    fn ended_in_scope(&mut self, scope: usize, id: Id) {
        let members = &mut self.scopes[scope].members;
        members.retain(|member| *member != id);
        if members.is_empty() {
            for waiting in std::mem::take(&mut self.scopes[scope].waiting) {
                self.settle_scope_end(waiting);
            }
        }
        match self.take(id) {
            Out::Ok(items) => self.drop_values(&items),
            out => self.let_go(out),
        }
    }

    fn settle_scope_end(&mut self, waiting: Id) {
        if self.is_pending(waiting) {
            self.end(waiting, Out::Ok(Vec::new()));
        }
        self.settle();
    }

    /// "Dropping a `Scope` sends the cancel to all it owns; what ends later is still accounted to
    /// it."
    fn cancel_scope(&mut self, scope: usize) {
        self.held(|this| {
            for member in this.scopes[scope].members.clone() {
                this.cancel(member);
            }
        });
        self.settle();
    }

    fn scope_ended(&mut self, scope: usize) -> Id {
        let waiting = self.plain_source(Back::No);
        if self.scopes[scope].members.is_empty() {
            self.settle_scope_end(waiting);
        } else {
            self.scopes[scope].waiting.push(waiting);
        }
        waiting
    }
}

/// The lock: one at a time, in the order they came; who left or was cancelled is passed over.
impl Reference {
    fn acquire(&mut self) -> Id {
        if !std::mem::replace(&mut self.locked, true) {
            return self.ready(Out::Guard);
        }
        let id = self.plain_source(Back::No);
        if let What::Source { hooks, hooked, .. } = &mut self.cells[id].what {
            hooks.push(Canceller::Line(id));
            *hooked = true;
        }
        self.line.push_back(id);
        id
    }

    fn release(&mut self) {
        let Some(next) = self.line.pop_front() else {
            self.locked = false;
            return;
        };
        self.end(next, Out::Guard);
        self.settle();
    }

    fn leave_line(&mut self, id: Id) {
        let before = self.line.len();
        self.line.retain(|waiting| *waiting != id);
        if self.line.len() < before {
            self.end(id, Out::Cancelled);
            self.settle();
        }
    }
}

/// The operations.
impl Reference {
    fn new() -> Self {
        Self {
            cells: Vec::new(),
            gatherings: Vec::new(),
            scopes: Vec::new(),
            hands: Hands::new(),
            queue: VecDeque::new(),
            ended: VecDeque::new(),
            handing: false,
            requests: VecDeque::new(),
            asking: false,
            unclaimed: VecDeque::new(),
            telling: false,
            locked: false,
            line: VecDeque::new(),
            busy: 0,
            log: Vec::new(),
        }
    }

    fn ops(&mut self, ops: &[Op], place: Place) {
        for op in ops {
            self.op(op, place);
        }
    }

    fn op(&mut self, op: &Op, place: Place) {
        match op {
            Op::Source { back } => {
                let id = self.source(*back);
                self.put(id, place);
            }
            Op::Ready(end) => {
                let out = self.out(*end, Back::No);
                let id = self.ready(out);
                self.put(id, place);
            }
            Op::Attach { on, step, body } => {
                if let Some(held) = self.hands.take(*on, place) {
                    self.attach_user(held, *step, body, place);
                }
            }
            Op::Settle { trigger, end } => {
                if let Some(id) = self.hands.take_trigger(*trigger) {
                    self.settle_trigger(id, *end);
                }
            }
            Op::OnCancel { trigger, hook } => self.on_cancel(*trigger, *hook),
            Op::Cancel { on } => {
                if let Some(id) = self.hands.look(*on, place).map(|held| held.d) {
                    self.cancel(id);
                }
            }
            Op::KeepCanceller { on } => {
                if let Some(id) = self.hands.look(*on, place).map(|held| held.d) {
                    self.hands.cancellers.push(id);
                }
            }
            Op::UseCanceller { which } => {
                if let Some(id) = self.hands.canceller(*which).copied() {
                    self.cancel(id);
                }
            }
            Op::Drop { on } => {
                if let Some(held) = self.hands.take(*on, place) {
                    self.leave(held.d);
                }
            }
            Op::Report { on } => {
                if let Some(held) = self.hands.take(*on, place) {
                    self.report(held.d);
                }
            }
            Op::Flow { body } => {
                let age = self.hands.age(place);
                let call = self.call(body, Place::inside(age, None));
                let flow = Flow { call, at: 0, awaits: None, woken: false };
                let id = self.cell(What::Flow(flow), None);
                self.enqueue(id);
                self.settle();
                self.hands.put(id, age);
            }
            Op::Await { .. } => unreachable!("read only into flows"),
            Op::Many { many, inputs, dropped } => self.many(*many, inputs, *dropped, place),
            Op::Scope => {
                self.scopes.push(Scope::default());
                self.hands.put_scope(self.scopes.len() - 1);
            }
            Op::ScopeAdd { scope, on } => {
                if let Some((scope, id)) = self.hands.take_for_scope(*scope, *on, place) {
                    let scope = *scope;
                    self.add_to_scope(scope, id);
                }
            }
            Op::ScopeCancel { scope } => {
                if let Some(scope) = self.hands.scope(*scope).copied() {
                    self.cancel_scope(scope);
                }
            }
            Op::ScopeEnded { scope } => {
                if let Some((scope, age)) = self.hands.scope_to_end(*scope, place) {
                    let scope = *scope;
                    let id = self.scope_ended(scope);
                    let id = self.taken(id, Lane::Ok);
                    let id = self.attach(id, Work::Passes);
                    self.hands.put(id, age);
                }
            }
            Op::ScopeDrop { scope } => {
                if let Some(scope) = self.hands.take_scope(*scope) {
                    self.cancel_scope(scope);
                }
            }
            Op::Acquire { dropped } => {
                let age = self.hands.age(place);
                let id = self.acquire();
                if *dropped {
                    return self.leave(id);
                }
                let id = self.taken(id, Lane::Ok);
                let id = self.attach(id, Work::Passes);
                self.hands.put(id, age);
            }
            Op::Release { guard } => {
                if self.hands.take_guard(*guard).is_some() {
                    self.release();
                }
            }
            Op::Turn { ops, budget } => {
                self.held(|this| this.ops(ops, place));
                while !self.queue.is_empty() {
                    let ran = self.drain(*budget);
                    self.log.push(Event::Turned { ran });
                }
            }
        }
    }

    fn attach_user(&mut self, held: Held<Id>, step: Step, body: &Rc<Body>, place: Place) {
        let age = self.hands.age(place);
        let Held { d, line, .. } = held;
        let mut call = self.call(body, Place::inside(age, Some(line)));
        if step.goes_on()
            && let Give::Owned(pick) = body.give
        {
            call.owned = self.hands.take(pick, place).map(|held| held.d);
        }
        let id = match step {
            Step::Named => d,
            Step::Shield if self.is_ended(d) => d,
            Step::Shield => self.attach(d, Work::Shield),
            Step::Settled => {
                let id = self.attach(d, Work::Settled);
                let id = self.attach(id, Work::Takes { who: call.who, lane: Lane::Ok });
                self.attach(id, Work::Passes)
            }
            Step::Recover => {
                let id = self.attach(d, Work::Callback { step, call });
                self.attach(id, Work::Passes)
            }
            _ => self.attach(d, Work::Callback { step, call }),
        };
        self.hands.deferreds.push(Held { d: id, age, line });
    }

    fn on_cancel(&mut self, trigger: u8, hook: Hook) {
        let Some((number, _)) = self.hands.trigger(trigger).copied() else { return };
        let id = self.hands.take_trigger(trigger).expect("it was there");
        let hook = Canceller::User { hook, source: number };
        let asked = self.cells[id].asked;
        if let What::Source { hooks, hooked, .. } = &mut self.cells[id].what {
            *hooked = true;
            if !asked {
                hooks.push(hook);
            }
        }
        if asked {
            self.held(|this| this.hook(hook));
            self.settle();
        }
        self.hands.triggers.push((number, id));
    }

    fn many(&mut self, many: Many, picks: &[u8], dropped: bool, place: Place) {
        let mut inputs = Vec::new();
        for pick in picks {
            inputs.extend(self.hands.take(*pick, place).map(|held| held.d));
        }
        let many = match many {
            Many::Join if inputs.len() < 2 => Many::All,
            many => many,
        };
        let age = self.hands.age(place);
        let id = self.gather(many, inputs);
        if dropped {
            return self.leave(id);
        }
        let id = match many {
            Many::All | Many::Join => self.taken(id, Lane::Ok),
            Many::FirstOk => self.taken(id, Lane::Err),
            Many::First => id,
        };
        self.hands.put(id, age);
    }

    /// Everything that is left ends.
    fn finish(&mut self) {
        loop {
            if let Some((number, _)) = self.hands.triggers.first().copied() {
                let id = self.hands.take_trigger(0).expect("it was there");
                self.settle_trigger(id, (number % 3 != 0).then_some(End::Ok));
            } else if let Some(held) = self.hands.take(0, Place::OUTSIDE) {
                self.leave(held.d);
            } else if let Some(scope) = self.hands.take_scope(0) {
                self.cancel_scope(scope);
            } else if self.hands.take_guard(0).is_some() {
                self.release();
            } else {
                return;
            }
        }
    }

    fn call(&mut self, body: &Rc<Body>, place: Place) -> Call {
        Call { who: self.hands.number(), place, body: body.clone(), owned: None }
    }

    fn taken(&mut self, id: Id, lane: Lane) -> Id {
        let who = self.hands.number();
        self.attach(id, Work::Takes { who, lane })
    }

    fn report(&mut self, id: Id) {
        let id = self.attach(id, Work::Report);
        self.leave(id);
    }

    fn put(&mut self, id: Id, place: Place) {
        let age = self.hands.age(place);
        self.hands.put(id, age);
    }

    fn source(&mut self, back: Back) -> Id {
        let number = self.hands.number();
        let id = self.plain_source(back);
        self.hands.triggers.push((number, id));
        id
    }

    fn plain_source(&mut self, back: Back) -> Id {
        self.cell(What::Source { back, hooks: Vec::new(), hooked: false }, None)
    }

    fn ready(&mut self, out: Out) -> Id {
        let id = self.cell(What::Ready, None);
        self.cells[id].state = State::Ended(out);
        id
    }

    fn cell(&mut self, what: What, up: Option<Id>) -> Id {
        self.cells.push(Cell {
            what,
            state: State::Pending,
            waiter: Waiter::Held,
            asked: false,
            up,
        });
        self.cells.len() - 1
    }

    fn take(&mut self, id: Id) -> Out {
        match std::mem::replace(&mut self.cells[id].state, State::Taken) {
            State::Ended(out) => out,
            _ => unreachable!("it has ended, and nobody took that"),
        }
    }

    fn value(&mut self) -> Out {
        Out::Ok(vec![Item { number: self.hands.number(), back: Back::No }])
    }

    fn out(&mut self, end: End, back: Back) -> Out {
        match end {
            End::Ok => Out::Ok(vec![Item { number: self.hands.number(), back }]),
            End::Err => Out::Err(vec![self.hands.number()]),
            End::Cancelled => Out::Cancelled,
            End::Lost => Out::Lost,
        }
    }

    fn is_ended(&self, id: Id) -> bool {
        matches!(self.cells[id].state, State::Ended(_))
    }

    fn is_pending(&self, id: Id) -> bool {
        matches!(self.cells[id].state, State::Pending)
    }
}

impl Cell {
    fn lane(&self) -> Lane {
        match self.state {
            State::Ended(Out::Ok(_) | Out::Settled(_) | Out::Guard) => Lane::Ok,
            State::Ended(Out::Err(_)) => Lane::Err,
            _ => Lane::Stop,
        }
    }
}

impl Out {
    fn saw(&self) -> Saw {
        match self {
            Self::Ok(items) => items.last().map_or(Saw::Nothing, |item| Saw::Value(item.number)),
            Self::Settled(_) | Self::Guard => Saw::Nothing,
            Self::Err(numbers) => numbers.last().map_or(Saw::Nothing, |n| Saw::Error(*n)),
            Self::Cancelled => Saw::Cancelled,
            Self::Lost => Saw::Lost,
            Self::Panicked(number) => Saw::Panicked(*number),
        }
    }
}
