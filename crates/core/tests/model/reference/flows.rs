//! Flows (DESIGN.md §3.3, §3.7).

use super::{Flow, Id, Out, Reference, State, Waiter, What, Work};
use crate::event::{Event, Saw};
use crate::program::{Await, Give, Moment, Op};

impl Reference {
    pub(super) fn poll(&mut self, id: Id) {
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
        if call.body.panics {
            let number = self.hands.number();
            return self.while_unwinding(true, |this| this.end_flow(id, Out::Panicked(number)));
        }
        let end = if let Give::Err = call.body.give {
            Out::Err(vec![self.hands.number()])
        } else {
            self.value()
        };
        self.end_flow(id, end);
    }

    /// "The request stands \[..\]: an inner Deferred returned or awaited before that is asked too."
    pub(super) fn wait(&mut self, id: Id, awaited: Id, how: Await) {
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
    pub(super) fn received(&mut self, who: u32, awaited: Id, how: Await) -> Option<Out> {
        let out = self.take(awaited);
        let seen = match &out {
            Out::Settled(settled) => settled.saw(),
            Out::Ok(_) | Out::Err(_) => out.saw(),
            _ => return Some(out),
        };
        if let Out::Err(_) = out {
            self.guarded(Moment::Told);
        }
        self.log.push(Event::Ran { who, saw: seen });
        match (out, how) {
            (out @ Out::Err(_), Await::Try) => Some(out),
            _ => None,
        }
    }

    /// A flow that has returned has dropped what it had before; one that is stopped drops it now.
    pub(super) fn end_flow(&mut self, id: Id, out: Out) {
        let who = self.flow(id).call.who;
        self.log.push(Event::Gone { who });
        match out {
            Out::Ok(_) => self.act_calmly(Moment::FlowGone),
            Out::Err(_) => {
                self.act_calmly(Moment::FlowGone);
                self.make_trail();
            }
            _ => self.guarded(Moment::FlowGone),
        }
        self.finish_step(id, out);
    }

    pub(super) fn flow(&mut self, id: Id) -> &mut Flow {
        let What::Flow(flow) = &mut self.cells[id].what else { unreachable!("it is a flow") };
        flow
    }
}
