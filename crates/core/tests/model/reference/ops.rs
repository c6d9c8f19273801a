//! The operations of a program.

use std::collections::VecDeque;
use std::rc::Rc;

use super::{
    Call, Canceller, Cell, Flow, Id, Item, Lane, Out, Reference, Scope, State, Told, Waiter, What,
    Work,
};
use crate::event::Event;
use crate::hands::{Hands, Held, Place};
use crate::program::{Back, Body, End, Give, Hook, Many, Moment, Op, Step};

impl Reference {
    pub(super) fn new() -> Self {
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
            unwinding: false,
            log: Vec::new(),
        }
    }

    pub(super) fn ops(&mut self, ops: &[Op], place: Place) {
        for op in ops {
            self.op(op, place);
        }
    }

    pub(super) fn op(&mut self, op: &Op, place: Place) {
        match op {
            Op::Source { back } => {
                let id = self.source(*back);
                self.put(id, place);
            }
            Op::Ready(end) => {
                let out = self.made(*end);
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
                self.enqueue_in_turn(id);
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
                    self.while_held(scope, |this| this.add_to_scope(scope, id));
                }
            }
            Op::ScopeCancel { scope } => {
                if let Some(scope) = self.hands.scope(*scope).copied() {
                    self.while_held(scope, |this| this.cancel_scope(scope));
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
                    self.drop_scope(scope);
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
            Op::Arm { moment, body } => self.hands.arm(*moment, body),
            Op::Turn { ops, budget } => {
                self.held(|this| this.ops(ops, place));
                while !self.queue.is_empty() {
                    let ran = self.drain(*budget);
                    self.log.push(Event::Turned { ran });
                }
            }
        }
    }

    pub(super) fn attach_user(
        &mut self,
        held: Held<Id>,
        step: Step,
        body: &Rc<Body>,
        place: Place,
    ) {
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

    pub(super) fn on_cancel(&mut self, trigger: u8, hook: Hook) {
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

    pub(super) fn many(&mut self, many: Many, picks: &[u8], dropped: bool, place: Place) {
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
    pub(super) fn finish(&mut self) {
        loop {
            if let Some((number, _)) = self.hands.triggers.first().copied() {
                let id = self.hands.take_trigger(0).expect("it was there");
                self.settle_trigger(id, (!number.is_multiple_of(3)).then_some(End::Ok));
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

    pub(super) fn call(&mut self, body: &Rc<Body>, place: Place) -> Call {
        Call { who: self.hands.number(), place, body: body.clone(), owned: None }
    }

    pub(super) fn taken(&mut self, id: Id, lane: Lane) -> Id {
        let who = self.hands.number();
        self.attach(id, Work::Takes { who, lane })
    }

    pub(super) fn report(&mut self, id: Id) {
        let id = self.attach(id, Work::Report);
        self.leave(id);
    }

    pub(super) fn put(&mut self, id: Id, place: Place) {
        let age = self.hands.age(place);
        self.hands.put(id, age);
    }

    pub(super) fn source(&mut self, back: Back) -> Id {
        let number = self.hands.number();
        let id = self.plain_source(back);
        self.hands.triggers.push((number, id));
        id
    }

    pub(super) fn plain_source(&mut self, back: Back) -> Id {
        self.cell(What::Source { back, hooks: Vec::new(), hooked: false }, None)
    }

    pub(super) fn ready(&mut self, out: Out) -> Id {
        let id = self.cell(What::Ready, None);
        self.cells[id].state = State::Ended(out);
        id
    }

    pub(super) fn cell(&mut self, what: What, up: Option<Id>) -> Id {
        self.cells.push(Cell {
            what,
            state: State::Pending,
            waiter: Waiter::Held,
            asked: false,
            up,
            told: Told::Itself,
            at_once: false,
            listed: false,
        });
        self.cells.len() - 1
    }

    pub(super) fn take(&mut self, id: Id) -> Out {
        match std::mem::replace(&mut self.cells[id].state, State::Taken) {
            State::Ended(out) => out,
            _ => unreachable!("it has ended, and nobody took that"),
        }
    }

    /// A Deferred that has ended is made: an error is told where.
    pub(super) fn made(&mut self, end: End) -> Out {
        let out = self.out(end, Back::No);
        if let Out::Err(_) = out {
            self.make_trail();
            self.guarded(Moment::Told);
            self.settle();
        }
        out
    }

    pub(super) fn value(&mut self) -> Out {
        Out::Ok(vec![Item { number: self.hands.number(), back: Back::No }])
    }

    pub(super) fn out(&mut self, end: End, back: Back) -> Out {
        match end {
            End::Ok => Out::Ok(vec![Item { number: self.hands.number(), back }]),
            End::Err => Out::Err(vec![self.hands.number()]),
            End::Cancelled => Out::Cancelled,
            End::Lost => Out::Lost,
        }
    }

    pub(super) fn is_ended(&self, id: Id) -> bool {
        matches!(self.cells[id].state, State::Ended(_))
    }

    pub(super) fn is_pending(&self, id: Id) -> bool {
        matches!(self.cells[id].state, State::Pending)
    }
}
