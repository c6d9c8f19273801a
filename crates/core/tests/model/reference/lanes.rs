//! Three lanes (DESIGN.md §3.3): what steps do with what comes down to them.

use super::{Call, Id, Lane, Out, Reference, State, Waiter, What, Work};
use crate::event::{Event, Saw};
use crate::program::{Back, End, Give, Moment, Step};

impl Work {
    /// The lanes a step has a callback for. "`map`, `and_then`, `recover`, `or_else` never see a
    /// Stop."
    pub(super) fn wants(&self, lane: Lane) -> bool {
        match self {
            Self::Callback { step, .. } => match step {
                Step::Map | Step::AndThen | Step::Inspect => lane == Lane::Ok,
                Step::OrElse | Step::Recover | Step::InspectErr | Step::MapErr => lane == Lane::Err,
                Step::Branch => lane != Lane::Stop,
                Step::Then | Step::Finally => true,
                Step::Settled | Step::Shield | Step::Named => false,
            },
            Self::Takes { lane: wanted, .. } => lane == *wanted,
            Self::Passes
            | Self::Settled
            | Self::Shield
            | Self::Report
            | Self::Aside
            | Self::Owned { .. } => false,
        }
    }

    /// "Something asks for the whole outcome: `then`, `settled`."
    pub(super) fn asks(&self) -> bool {
        matches!(self, Self::Settled | Self::Callback { step: Step::Then, .. })
    }
}

impl Reference {
    /// A lane passed through. "They run at once, with the queue held": what its values, its error
    /// and its closure do meanwhile, in this order, comes before its end.
    pub(super) fn pass(&mut self, id: Id, out: Out) {
        self.cells[id].state = State::Running;
        self.delivered(id, &out);
        let What::Step(work) = &mut self.cells[id].what else { unreachable!("only steps pass") };
        let out = match work {
            Work::Settled => {
                if let Out::Err(_) | Out::AllFailed(_) = out {
                    // One that panics is reported, and the error goes on without its trail.
                    self.guarded(Moment::TrailCloned);
                }
                Out::Settled(Box::new(out))
            }
            Work::Report => self.without_value(out),
            Work::Owned { scope, member } => {
                let (scope, member) = (*scope, *member);
                let out = self.without_value(out);
                self.ended_in_scope(scope, member);
                out
            }
            Work::Callback { call, .. } => {
                let owned = call.owned.take();
                self.held(|this| {
                    let panic = this.act(Moment::ClosureGone);
                    if let Some(owned) = owned {
                        this.while_unwinding(panic.is_some(), |this| this.leave(owned));
                    }
                    this.report_panic(panic);
                });
                out
            }
            _ => out,
        };
        self.finish_step(id, out);
    }

    fn without_value(&mut self, out: Out) -> Out {
        match out {
            Out::Ok(items) => {
                self.drop_values(&items);
                Out::Ok(Vec::new())
            }
            out => out,
        }
    }

    /// The callback of a step.
    pub(super) fn callback(&mut self, id: Id) {
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
            self.while_unwinding(true, |this| {
                if let Some(owned) = call.owned {
                    this.leave(owned);
                }
                // A value that it had in its hand is gone; what is unhandled must not be swallowed.
                match (step, out) {
                    (Step::Inspect, Out::Ok(items)) => this.drop_values(&items),
                    (Step::Finally, Out::Ok(mut items)) => {
                        items.iter_mut().for_each(|item| item.back = Back::No);
                        this.let_go(Out::Ok(items));
                    }
                    (Step::InspectErr | Step::Finally, out) => this.let_go(out),
                    _ => {}
                }
            });
            return self.end(id, Out::Panicked(number));
        }
        match step {
            Step::Map | Step::Recover => {
                let value = self.value();
                self.end(id, value);
            }
            Step::MapErr => {
                let number = self.hands.number();
                self.make_trail();
                self.finish_step(id, Out::Err(vec![number]));
            }
            Step::Inspect | Step::InspectErr | Step::Finally => self.finish_step(id, out),
            _ => match self.given(&call) {
                Ok(out) => self.finish_step(id, out),
                Err(inner) => self.returned(id, inner),
            },
        }
    }

    /// The callback that takes what is no plain value, and gives one.
    pub(super) fn takes(&mut self, id: Id, who: u32, out: &Out) {
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
            Out::Err(numbers) | Out::AllFailed(numbers) => {
                self.log.extend(numbers.iter().map(|number| Event::Part { who, number: *number }));
                Some(self.hands.number())
            }
            _ => None,
        };
        let out = match number {
            Some(number) => {
                self.make_trail();
                // The trail of what failed before begins that of the error made of it.
                self.guarded(Moment::Told);
                Out::Err(vec![number])
            }
            None => self.value(),
        };
        self.finish_step(id, out);
    }

    /// What a callback gives: an outcome, or a Deferred to wait for.
    pub(super) fn given(&mut self, call: &Call) -> Result<Out, Id> {
        let found = match call.body.give {
            Give::Ok => None,
            Give::Err => return Ok(self.made(End::Err)),
            Give::Ready(end) => return Ok(self.made(end)),
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
    pub(super) fn returned(&mut self, id: Id, inner: Id) {
        if self.cells[id].asked {
            self.request(inner);
        }
        if self.is_ended(inner) {
            let out = self.take(inner);
            return self.finish_step(id, out);
        }
        let mut at = Some(inner);
        while let Some(above) = at {
            if above == id {
                self.cells[inner].waiter = Waiter::Nobody;
                return self.end(id, Out::Lost);
            }
            at = self.cells[above].up.filter(|_| self.is_pending(above));
        }
        self.replaced(id, inner);
        self.cells[id].what = What::Forward;
        self.cells[id].state = State::Pending;
        self.cells[id].up = Some(inner);
        self.cells[inner].waiter = Waiter::Cell(id);
    }
}
