//! The firing rule (DESIGN.md §3.2).

use super::{Id, Out, Reference, State, Waiter, What, Work};

impl Reference {
    /// "`fire`, or a step attached to something already fired: outside any callback, what it sets
    /// off has run before it returns; inside one it queues."
    pub(super) fn settle(&mut self) {
        if self.busy == 0 {
            self.drain(usize::MAX);
        } else {
            self.hand_on();
        }
    }

    /// "There is one FIFO queue per thread; its unit is one step."
    pub(super) fn drain(&mut self, budget: usize) -> usize {
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
    pub(super) fn held(&mut self, f: impl FnOnce(&mut Self)) {
        self.busy += 1;
        f(self);
        self.busy -= 1;
    }

    /// It has ended: "exactly once". Whoever holds it has it; otherwise it is handed on, behind
    /// what is handed on already.
    /// Where a step's place was taken, what it returned has its place here.
    pub(super) fn end(&mut self, id: Id, out: Out) {
        let mut id = id;
        while let Waiter::Cell(waiter) = self.cells[id].waiter
            && self.is_left_out(waiter)
        {
            self.cells[id].state = State::Taken;
            id = waiter;
        }
        self.cells[id].state = State::Ended(out);
        let is_first = !self.handing && self.ended.is_empty();
        match self.cells[id].waiter {
            Waiter::Held if is_first => {}
            Waiter::Nobody if is_first => self.unclaimed(id),
            _ => self.hand_on_in_turn(id),
        }
    }

    /// "Handing a value on (a lane passed through, a returned Deferred) is no callback." Each end
    /// is handed on, with all that it sets off, before the next one: "order never depends on
    /// depth".
    pub(super) fn hand_on(&mut self) {
        if std::mem::replace(&mut self.handing, true) {
            return;
        }
        while let Some(id) = self.ended.pop_front() {
            self.cells[id].listed = false;
            let rest = std::mem::take(&mut self.ended);
            self.hand(id);
            self.ended.extend(rest);
        }
        self.handing = false;
    }

    pub(super) fn hand(&mut self, id: Id) {
        if let State::Queued = self.cells[id].state {
            self.queue.push_back(id);
            return;
        }
        if !self.is_ended(id) {
            // It was left or taken meanwhile.
            return;
        }
        let lane = self.cells[id].lane();
        match self.cells[id].waiter {
            Waiter::Nobody => self.unclaimed(id),
            Waiter::Held => {}
            Waiter::Member { gathering, index } => {
                let out = self.take(id);
                self.arrived(gathering, index, out);
            }
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
                    self.cells[waiter].state = State::Running;
                    self.finish_step(waiter, out);
                }
            },
        }
    }

    pub(super) fn enqueue(&mut self, id: Id) {
        self.cells[id].state = State::Queued;
        self.queue.push_back(id);
    }

    /// The first poll of a flow, behind what ended before it.
    pub(super) fn enqueue_in_turn(&mut self, id: Id) {
        self.cells[id].state = State::Queued;
        self.hand_on_in_turn(id);
    }

    /// Attaching: behind what is pending it waits; on what has ended it has its input.
    pub(super) fn attach(&mut self, to: Id, work: Work) -> Id {
        let at_once = self.runs_at_once(to, &work);
        let id = self.cell(What::Step(work), Some(to));
        self.cells[id].at_once = at_once;
        self.cells[to].waiter = Waiter::Cell(id);
        if self.is_ended(to) {
            self.hand_on_in_turn(to);
            self.settle();
        }
        id
    }

    /// One that has ended and waits to be handed on already keeps its place.
    pub(super) fn hand_on_in_turn(&mut self, id: Id) {
        if !std::mem::replace(&mut self.cells[id].listed, true) {
            self.ended.push_back(id);
        }
    }

    /// The end of a step, a forwarder or a source: an error is told of it, then it has ended.
    pub(super) fn finish_step(&mut self, id: Id, out: Out) {
        if let Out::Err(_) | Out::AllFailed(_) = out {
            self.tell_of_step(id);
        }
        self.end(id, out);
    }
}
