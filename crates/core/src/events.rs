//! Events: values of any type, and the handlers that run when one is emitted.
//!
//! Users' code: a handler, and a `Clone` of the event for who awaits one, runs as a callback;
//! handlers and events are dropped under guards, the `tracing` subscriber is told quietly. The set
//! is borrowed over none of these.

mod stream;

use std::any::{Any, TypeId, type_name};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::mem::take;
use std::panic::Location;
use std::rc::{Rc, Weak};

pub use self::stream::{Events, events};
use crate::guarded::{Guarded, let_go_each};
use crate::node::{Passing, Site};
use crate::outcome::{Never, Outcome};
use crate::report::{Report, hand_over, quietly};
use crate::slot::Slot;
use crate::{Deferred, Failure, Stop, Trigger, all_settled};

/// A set of handlers, by event type.
///
/// The free functions of this crate use the thread's own. Handlers of one type run in the order
/// in which they were added; each is a callback of its own (the firing rule). One handler's
/// failure or panic is reported, with the event's type, and keeps no other from running.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use thence_core::Emitter;
///
/// struct Beep { times: u32 }
///
/// let heard = Rc::new(Cell::new(0));
/// let count = heard.clone();
/// let emitter = Emitter::new();
/// emitter.on(move |beep: &Beep| count.set(count.get() + beep.times));
/// emitter.emit(Beep { times: 2 });
/// assert_eq!(heard.get(), 2);
/// ```
#[derive(Clone, Default)]
pub struct Emitter(Rc<Sets>);

#[derive(Default)]
struct Sets {
    /// Where a type's set stands in `all`.
    places: RefCell<HashMap<TypeId, usize>>,
    /// Each a `Set<E>` of its own `E`, in the order in which they were first asked for.
    all: RefCell<Vec<Rc<dyn Any>>>,
}

impl Drop for Sets {
    fn drop(&mut self) {
        // The handlers' own destructors, and whoever waits for an event, in a fixed order.
        let_go_each(take(self.all.get_mut()));
    }
}

/// The handlers of one event type.
struct Set<E> {
    handlers: RefCell<Vec<Rc<Handler<E>>>>,
    /// At how many handlers the next warning is due.
    warn_at: Cell<usize>,
}

struct Handler<E> {
    id: u64,
    site: Site,
    live: Cell<bool>,
    /// Dropped with whoever has the handler last: the set, or an event on its way.
    run: Guarded<Run<E>>,
}

enum Run<E> {
    Each(Box<dyn Fn(&E) -> Deferred<(), Failure>>),
    Once(RefCell<Option<Box<dyn FnOnce(&E) -> Deferred<(), Failure>>>>),
}

impl Emitter {
    /// A set without handlers.
    ///
    /// ```
    /// let emitter = thence_core::Emitter::new();
    /// emitter.emit("nobody listens");
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `handler` run for every event of its type from now on.
    ///
    /// It may return `()`, a `Result<(), Failure>`, or a `Deferred`.
    ///
    /// ```
    /// use thence_core::{Deferred, Emitter, Failure};
    ///
    /// struct Order(u32);
    ///
    /// let emitter = Emitter::new();
    /// emitter.on(|order: &Order| println!("order {}", order.0));
    /// emitter.on(|order: &Order| {
    ///     if order.0 > 0 { Ok(()) } else { Err(Failure::msg("an order of nothing")) }
    /// });
    /// emitter.on(|_: &Order| Deferred::<()>::ok(()));
    /// emitter.emit(Order(3));
    /// ```
    #[track_caller]
    pub fn on<E: 'static, R: Reaction>(&self, handler: impl Fn(&E) -> R + 'static) -> Subscription {
        self.subscribe(
            Location::caller(),
            Run::Each(Box::new(move |event| handler(event).into_reaction())),
        )
    }

    /// Has `handler` run for the next event of its type.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use thence_core::Emitter;
    ///
    /// let times = Rc::new(Cell::new(0));
    /// let count = times.clone();
    /// let emitter = Emitter::new();
    /// emitter.once(move |_: &u8| count.set(count.get() + 1));
    /// emitter.emit(1_u8);
    /// emitter.emit(2_u8);
    /// assert_eq!(times.get(), 1);
    /// ```
    #[track_caller]
    pub fn once<E: 'static, R: Reaction>(
        &self,
        handler: impl FnOnce(&E) -> R + 'static,
    ) -> Subscription {
        let run: Box<dyn FnOnce(&E) -> _> = Box::new(move |event| handler(event).into_reaction());
        self.subscribe(Location::caller(), Run::Once(RefCell::new(Some(run))))
    }

    /// The next event of its type; [`Emitter::events`] gives the ones after it too.
    ///
    /// ```
    /// use thence_core::{Emitter, flow};
    ///
    /// let emitter = Emitter::new();
    /// let next = emitter.next::<u8>();
    /// let d = flow(async move { Ok(next.await? + 1) });
    /// emitter.emit(1_u8);
    /// d.inspect(|n| assert_eq!(*n, 2)).report();
    /// ```
    #[track_caller]
    pub fn next<E: Clone + 'static>(&self) -> Deferred<E> {
        let (trigger, d) = Deferred::new();
        let place = self.place::<E>();
        // The handler has the trigger: with the handler it goes, and what it waits for ends.
        let (asked, left) = (place.clone(), place.clone());
        trigger.on_cancel(move || asked.remove());
        trigger.on_left(move || left.remove());
        let awaited = Awaited(Some(trigger));
        let run: Box<dyn FnOnce(&E) -> _> = Box::new(move |event: &E| {
            awaited.fire(event.clone());
            Deferred::ok(())
        });
        self.add(&place, Location::caller(), Run::Once(RefCell::new(Some(run))));
        d
    }

    /// Emits an event: its handlers run by the firing rule.
    ///
    /// ```
    /// use thence_core::Emitter;
    ///
    /// let emitter = Emitter::new();
    /// emitter.on(|text: &String| println!("{text}"));
    /// emitter.emit("hello".to_owned()); // prints before it returns
    /// ```
    pub fn emit<E: 'static>(&self, event: E) {
        for reaction in self.react(event) {
            drop(reaction);
        }
    }

    /// Emits an event and tells when all its handlers have ended.
    ///
    /// ```
    /// use thence_core::Emitter;
    ///
    /// let emitter = Emitter::new();
    /// emitter.on(|n: &u8| println!("{n}"));
    /// emitter.deliver(1_u8).done(|told| assert_eq!((told.handlers, told.failed), (1, 0)));
    /// ```
    #[track_caller]
    pub fn deliver<E: 'static>(&self, event: E) -> Deferred<Delivered, Never> {
        let reactions = self.react(event);
        all_settled(reactions).map(|outcomes| Delivered {
            handlers: outcomes.len(),
            failed: outcomes.iter().filter(|outcome| !matches!(outcome, Outcome::Ok(true))).count(),
        })
    }

    fn react<E: 'static>(&self, event: E) -> Vec<Deferred<bool, Never>> {
        // A panic when it is dropped is no failure of its last handler.
        let event = Guarded::new(event);
        let Some(set) = self.set::<E>() else { return Vec::new() };
        let handlers: Vec<_> = set.handlers.borrow().clone();
        let event = Rc::new(event);
        // All stand in the queue before the first of them runs.
        crate::node::cx().enter(|| {
            handlers
                .into_iter()
                .map(|handler| {
                    let (set, event) = (Rc::downgrade(&set), event.clone());
                    let site = handler.site;
                    Deferred::<(), Failure>::ok(())
                        .step(crate::steps::AndThen(move |()| handler.handle(&set, &event)), site)
                        .step(crate::steps::Arrive::new(told::<E>(site)), site)
                })
                .collect()
        })
    }

    fn subscribe<E: 'static>(&self, site: Site, run: Run<E>) -> Subscription {
        let place = self.place();
        self.add(&place, site, run);
        Subscription { remove: Rc::new(place) }
    }

    /// The place of a handler that is added next.
    fn place<E: 'static>(&self) -> Place<E> {
        let set = self.set::<E>().unwrap_or_else(|| {
            let set = Rc::new(Set::<E>::new());
            let mut all = self.0.all.borrow_mut();
            self.0.places.borrow_mut().insert(TypeId::of::<E>(), all.len());
            all.push(set.clone());
            set
        });
        Place { set: Rc::downgrade(&set), id: NEXT_ID.replace(NEXT_ID.get() + 1) }
    }

    fn add<E: 'static>(&self, place: &Place<E>, site: Site, run: Run<E>) {
        let Some(set) = place.set.upgrade() else { return };
        let (live, run) = (Cell::new(true), Guarded::new(run));
        set.handlers.borrow_mut().push(Rc::new(Handler { id: place.id, site, live, run }));
        set.warn_when_many();
    }

    fn set<E: 'static>(&self) -> Option<Rc<Set<E>>> {
        let place = *self.0.places.borrow().get(&TypeId::of::<E>())?;
        self.0.all.borrow()[place].clone().downcast().ok()
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter").field("types", &self.0.all.borrow().len()).finish()
    }
}

impl<E: 'static> Set<E> {
    fn new() -> Self {
        Self { handlers: RefCell::default(), warn_at: Cell::new(MANY) }
    }

    fn remove(&self, id: u64) {
        let mut handlers = self.handlers.borrow_mut();
        let Some(at) = handlers.iter().position(|handler| handler.id == id) else { return };
        let removed = handlers.remove(at);
        removed.live.set(false);
        drop(handlers);
        drop(removed);
    }

    /// A handler that is added at every request and never removed is a leak; say where.
    fn warn_when_many(&self) {
        let handlers = self.handlers.borrow();
        let count = handlers.len();
        if count < self.warn_at.get() {
            return;
        }
        self.warn_at.set(count * 2);
        let mut sites: Vec<(Site, usize)> = Vec::new();
        for handler in handlers.iter() {
            match sites.iter_mut().find(|(site, _)| *site == handler.site) {
                Some((_, times)) => *times += 1,
                None => sites.push((handler.site, 1)),
            }
        }
        drop(handlers);
        sites.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        let shown: Vec<String> =
            sites.iter().take(4).map(|(site, times)| format!("{site} x{times}")).collect();
        // The subscriber may add a handler, and may panic.
        quietly(|| {
            tracing::warn!(
                "{count} handlers of {} have piled up, added at {}",
                type_name::<E>(),
                shown.join(", "),
            );
        });
    }
}

impl<E: 'static> Handler<E> {
    fn handle(&self, set: &Weak<Set<E>>, event: &E) -> Deferred<(), Failure> {
        if !self.live.get() {
            return Deferred::ok(());
        }
        match &*self.run {
            Run::Each(run) => run(event),
            Run::Once(run) => {
                let once = run.borrow_mut().take();
                let Some(run) = once else { return Deferred::ok(()) };
                if let Some(set) = set.upgrade() {
                    set.remove(self.id);
                }
                run(event)
            }
        }
    }
}

/// Reports a reaction's failure with its event; says whether it went well.
fn told<E>(site: Site) -> impl FnOnce(Slot<(), Failure>, Passing<'_>) -> Slot<bool, Never> {
    move |mut slot, _| {
        slot.passed(crate::Step { site, label: None });
        let report = match &slot {
            Slot::Ok(()) => None,
            Slot::Err(failure, trail) => Some(Report::failed(failure, trail)),
            Slot::Stop(stop) => Report::stopped(stop, site),
        };
        if let Some(report) = report {
            hand_over(&report.caused_by(type_name::<E>()));
        }
        let went_well = slot.is_ok();
        slot.let_go();
        Slot::Ok(went_well)
    }
}

/// A handler that was added. Dropping it keeps the handler.
///
/// ```
/// use thence_core::Emitter;
///
/// let emitter = Emitter::new();
/// let subscription = emitter.on(|n: &u8| println!("{n}"));
/// emitter.emit(1_u8); // prints
/// subscription.cancel();
/// emitter.emit(2_u8); // does not
/// ```
#[derive(Clone)]
pub struct Subscription {
    remove: Rc<dyn Remove>,
}

impl Subscription {
    /// Removes the handler; an event that is queued already does not reach it any more.
    ///
    /// ```
    /// # use thence_core::Emitter;
    /// let emitter = Emitter::new();
    /// emitter.on(|n: &u8| println!("{n}")).cancel();
    /// emitter.emit(1_u8);
    /// ```
    pub fn cancel(&self) {
        self.remove.remove();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

trait Remove {
    fn remove(&self);
}

/// Where a handler stands, or stood.
struct Place<E> {
    set: Weak<Set<E>>,
    id: u64,
}

impl<E> Clone for Place<E> {
    fn clone(&self) -> Self {
        Self { set: self.set.clone(), id: self.id }
    }
}

impl<E: 'static> Remove for Place<E> {
    fn remove(&self) {
        if let Some(set) = self.set.upgrade() {
            set.remove(self.id);
        }
    }
}

/// The trigger of one who waits for the next event.
struct Awaited<E: 'static>(Option<Trigger<E>>);

impl<E: 'static> Awaited<E> {
    fn fire(mut self, event: E) {
        if let Some(trigger) = self.0.take() {
            trigger.fire(event);
        }
    }
}

impl<E: 'static> Drop for Awaited<E> {
    fn drop(&mut self) {
        // Leaving is no failure: with nobody there nothing is lost.
        if let Some(trigger) = self.0.take_if(|trigger| !trigger.is_wanted()) {
            trigger.settle(Outcome::Stop(Stop::Cancelled));
        }
    }
}

/// What [`deliver`] tells.
///
/// ```
/// use thence_core::{Emitter, Failure, testing::expect_unhandled};
///
/// let emitter = Emitter::new();
/// emitter.on(|_: &u8| ());
/// emitter.on(|_: &u8| Err(Failure::msg("no room")));
/// expect_unhandled(1, || {
///     emitter.deliver(1_u8).done(|told| assert_eq!((told.handlers, told.failed), (2, 1)));
/// });
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Delivered {
    /// How many handlers the event had.
    pub handlers: usize,
    /// How many of them failed or were stopped; each has been reported.
    pub failed: usize,
}

/// What a handler may return: `()`, `Result<(), Failure>`, or a `Deferred` of nothing.
#[diagnostic::on_unimplemented(
    message = "an event handler returns `()`, `Result<(), Failure>` or a `Deferred<(), _>`, not `{Self}`",
    note = "a `;` behind its last line makes it return `()`"
)]
pub trait Reaction: sealed::Sealed {
    #[doc(hidden)]
    fn into_reaction(self) -> Deferred<(), Failure>;
}

mod sealed {
    use crate::{Deferred, Failure, Never};

    pub trait Sealed {}
    impl Sealed for () {}
    impl Sealed for Result<(), Failure> {}
    impl Sealed for Deferred<(), Failure> {}
    impl Sealed for Deferred<(), Never> {}
}

impl Reaction for () {
    fn into_reaction(self) -> Deferred<(), Failure> {
        Deferred::ok(())
    }
}

impl Reaction for Result<(), Failure> {
    fn into_reaction(self) -> Deferred<(), Failure> {
        // Without a step of its own: a trail begins where the handler was added.
        Deferred::ready(self.into(), Location::caller())
    }
}

impl Reaction for Deferred<(), Failure> {
    fn into_reaction(self) -> Self {
        self
    }
}

impl Reaction for Deferred<(), Never> {
    fn into_reaction(self) -> Deferred<(), Failure> {
        self.map_err(|never| match never {})
    }
}

/// [`Emitter::on`] on this thread's own set.
///
/// ```
/// struct Beep;
///
/// let subscription = thence_core::on(|_: &Beep| println!("beep"));
/// thence_core::emit(Beep); // prints
/// subscription.cancel();
/// thence_core::emit(Beep); // does not
/// ```
#[track_caller]
pub fn on<E: 'static, R: Reaction>(handler: impl Fn(&E) -> R + 'static) -> Subscription {
    own().on(handler)
}

/// [`Emitter::once`] on this thread's own set.
///
/// ```
/// struct Ready;
///
/// thence_core::once(|_: &Ready| println!("ready"));
/// thence_core::emit(Ready); // prints
/// thence_core::emit(Ready); // does not
/// ```
#[track_caller]
pub fn once<E: 'static, R: Reaction>(handler: impl FnOnce(&E) -> R + 'static) -> Subscription {
    own().once(handler)
}

/// [`Emitter::next`] on this thread's own set.
///
/// ```
/// #[derive(Clone)]
/// struct Ready(u8);
///
/// let next = thence_core::next::<Ready>();
/// thence_core::emit(Ready(7));
/// next.inspect(|ready| assert_eq!(ready.0, 7)).report();
/// ```
#[track_caller]
pub fn next<E: Clone + 'static>() -> Deferred<E> {
    own().next()
}

/// [`Emitter::emit`] on this thread's own set.
///
/// ```
/// struct Beep;
///
/// thence_core::on(|_: &Beep| println!("beep"));
/// thence_core::emit(Beep);
/// ```
pub fn emit<E: 'static>(event: E) {
    own().emit(event);
}

/// [`Emitter::deliver`] on this thread's own set.
///
/// ```
/// struct Beep;
///
/// thence_core::on(|_: &Beep| println!("beep"));
/// thence_core::deliver(Beep).done(|told| assert_eq!(told.handlers, 1));
/// ```
#[track_caller]
pub fn deliver<E: 'static>(event: E) -> Deferred<Delivered, Never> {
    own().deliver(event)
}

/// A thread that is ending has no handlers any more, and takes none.
fn own() -> Emitter {
    OWN.try_with(Clone::clone).unwrap_or_default()
}

thread_local! {
    static OWN: Emitter = Emitter::new();
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
}

/// So many handlers of one type are worth a warning.
const MANY: usize = 64;
