//! Waiting for many (DESIGN.md §3.1): "each ends when all of its inputs have ended: losers are
//! cancelled and their end waited for".

use super::{Canceller, Gathering, Id, Item, Out, Reference, Told, Waiter, What, Work};
use crate::program::{Back, Many};

impl Reference {
    pub(super) fn gather(&mut self, many: Many, inputs: Vec<Id>) -> Id {
        if inputs.is_empty() {
            return self.ready(match many {
                Many::All | Many::Join => Out::Ok(Vec::new()),
                Many::First | Many::FirstOk => Out::Lost,
            });
        }
        let inputs: Vec<Id> = match many {
            Many::Join => inputs.into_iter().map(|id| self.attach(id, Work::Aside)).collect(),
            _ => inputs,
        };
        let result = self.plain_source(Back::No);
        if let Many::FirstOk = many {
            // It fails with an error of core's own.
            self.cells[result].told = Told::Nothing;
        }
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
                    this.hand_on_in_turn(input);
                    this.hand_on();
                }
            }
        });
        self.settle();
        result
    }

    pub(super) fn arrived(&mut self, gathering: usize, index: usize, out: Out) {
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
                let stopped = &mut self.gatherings[gathering].stopped;
                if decided || stopped.is_some() {
                    self.tell(&out);
                } else {
                    *stopped = Some(out);
                }
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

    pub(super) fn all_arrived(&mut self, gathering: usize) {
        let Gathering { end, values, failed, stopped, result, many, .. } =
            &mut self.gatherings[gathering];
        let (result, many) = (*result, *many);
        let values: Vec<Item> = values.drain(..).flatten().flatten().collect();
        failed.sort_unstable();
        let failed: Vec<u32> = failed.drain(..).map(|(_, number)| number).collect();
        // A Stop that is not the end is nobody else's to tell.
        let untold = if end.is_some() || !failed.is_empty() { stopped.take() } else { None };
        let out = match (end.take(), many) {
            (Some(out), _) => {
                self.held(|this| this.give_back(&values));
                out
            }
            (None, Many::FirstOk) if failed.is_empty() => stopped.take().unwrap_or(Out::Lost),
            (None, Many::FirstOk) => Out::AllFailed(failed),
            (None, _) => Out::Ok(values),
        };
        if let Some(untold) = untold {
            self.tell(&untold);
        }
        self.end_source(result, out);
        self.settle();
    }

    pub(super) fn cancel_members(&mut self, gathering: usize) {
        for member in self.gatherings[gathering].members.clone() {
            self.cancel(member);
        }
    }
}
