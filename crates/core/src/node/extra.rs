//! What is rare in a node: its label, the step it took the place of, its hooks.
//!
//! All of it stands in cells and is taken out whole: no reference into it lives while code of a
//! user's runs, and what is dropped from it is dropped after the cell is whole again.

use std::any::Any;
use std::cell::Cell;
use std::rc::{Rc, Weak};

use super::header::{Node, Ptr, State, flag};
use super::{Site, alloc, run_guarded};
use crate::fault::{Fault, Step};
use crate::guarded::let_go;
use crate::hosting::Home;
use crate::slot::Slot;

/// What is rare in a node, kept out of its way.
#[derive(Default)]
pub(super) struct Extra {
    label: Cell<Option<&'static str>>,
    via: Cell<Option<Step>>,
    pub(super) on_cancel: Cell<Vec<Box<dyn FnOnce()>>>,
    /// Where cancellers look for this node.
    pub(super) places: Cell<Vec<Rc<Cell<Option<Ptr>>>>>,
    on_left: Cell<Option<Box<dyn FnOnce()>>>,
    on_unclaimed: Cell<Option<WayBack>>,
}

/// Where a value goes that nobody takes.
pub(super) enum WayBack {
    /// To a source, with the place the value had there.
    Home(Weak<dyn Home>, u64),
    /// A `Box<dyn FnOnce(T)>` of the node's own `T`.
    Hook(Box<dyn Any>),
}

/// A source's cancellers, and what it wants to know of its waiter.
pub(super) struct Hooks {
    on_cancel: Vec<Box<dyn FnOnce()>>,
    on_left: Option<Box<dyn FnOnce()>>,
}

impl Hooks {
    /// Each on its own: two destructors that panic side by side would abort the process.
    #[cold]
    pub(super) fn let_go(self) {
        for hook in self.on_cancel {
            run_guarded(|| drop(hook));
        }
        if let Some(hook) = self.on_left {
            run_guarded(|| drop(hook));
        }
    }
}

impl Extra {
    /// Drops what is in it, each on its own.
    pub(super) fn clear(&self) {
        self.label.set(None);
        self.via.set(None);
        drop(self.places.take());
        if let Some(hooks) = self.take_hooks() {
            hooks.let_go();
        }
        if let Some(way_back) = self.on_unclaimed.take() {
            run_guarded(|| drop(way_back));
        }
    }

    #[inline]
    fn take_hooks(&self) -> Option<Hooks> {
        let (on_cancel, on_left) = (self.on_cancel.take(), self.on_left.take());
        if on_cancel.is_empty() && on_left.is_none() {
            return None;
        }
        Some(Hooks { on_cancel, on_left })
    }

    pub(super) fn add_canceller(&self, hook: Box<dyn FnOnce()>) {
        let mut hooks = self.on_cancel.take();
        hooks.push(hook);
        self.on_cancel.set(hooks);
    }
}

impl<'a> Node<'a> {
    /// The rare part, if there is one.
    #[inline]
    pub(super) fn extra(self) -> Option<&'a Extra> {
        if self.has(flag::VIA) {
            return None;
        }
        // SAFETY: without VIA `extra` is null or a box that this node owns, once it is set until
        // the node is freed. Only shared references to it are made.
        unsafe { self.extra.get().cast_const().as_ref() }
    }

    /// The rare part, made if there is none.
    pub(super) fn extra_made(self) -> &'a Extra {
        if self.has(flag::VIA) || self.extra.get().is_null() {
            let extra = alloc::extra();
            if let Some(via) = self.via_site() {
                extra.via.set(Some(Step { site: via, label: None }));
                self.clear(flag::VIA);
            }
            self.extra.set(Box::into_raw(extra));
            self.set_rare();
        }
        // SAFETY: as in `extra`; it was made above if there was none.
        unsafe { &*self.extra.get() }
    }

    /// The site that stands in the place of `extra`.
    #[inline]
    fn via_site(self) -> Option<Site> {
        // SAFETY: VIA says that `extra` holds a `&'static Location` (see `note_via`).
        self.has(flag::VIA).then(|| unsafe { &*self.extra.get().cast_const().cast() })
    }

    pub(super) fn label(self) -> Option<&'static str> {
        self.extra()?.label.get()
    }

    pub(super) fn set_label(self, label: &'static str) {
        self.extra_made().label.set(Some(label));
    }

    /// Tells an error of the steps it passes here.
    #[cold]
    pub(super) fn record<T, E: Fault>(self, slot: &mut Slot<T, E>) {
        let (via, label) = match self.via_site() {
            Some(site) => (Some(Step { site, label: None }), None),
            None => self.extra().map_or((None, None), |extra| (extra.via.get(), extra.label.get())),
        };
        if let Some(via) = via {
            slot.passed(via);
        }
        slot.passed(Step { site: self.site.get(), label });
    }

    /// Notes that a step stood between this node and its upstream until the Deferred it returned
    /// took its place, so that the trail can still name it. The first one stays.
    #[inline]
    pub(super) fn note_via(self, replaced: Node<'_>) {
        if self.has(flag::VIA) {
            return;
        }
        let label = replaced.label();
        if label.is_none() && self.extra.get().is_null() {
            self.extra.set(std::ptr::from_ref(replaced.site.get()).cast_mut().cast());
            self.set_rare();
            self.set(flag::VIA);
            return;
        }
        let extra = self.extra_made();
        if extra.via.get().is_none() {
            extra.via.set(Some(Step { site: replaced.site.get(), label }));
        }
    }

    /// The hooks of a source whose end begins: it needs no canceller any more, and lets go of what
    /// that owns.
    #[inline]
    pub(super) fn take_hooks(self) -> Option<Hooks> {
        self.extra()?.take_hooks()
    }

    pub(super) fn set_left(self, hook: Box<dyn FnOnce()>) {
        if let Some(old) = self.extra_made().on_left.replace(Some(hook)) {
            let_go(old);
        }
    }

    /// What a source wants to know when its Deferred is dropped before it has ended.
    #[inline]
    pub(super) fn take_left(self) -> Option<Box<dyn FnOnce()>> {
        if self.state.get() == State::Done { None } else { self.extra()?.on_left.take() }
    }

    #[inline]
    pub(super) fn has_way_back(self) -> bool {
        let Some(extra) = self.extra() else { return false };
        let way_back = extra.on_unclaimed.take();
        let has_one = way_back.is_some();
        extra.on_unclaimed.set(way_back);
        has_one
    }

    pub(super) fn set_unclaimed<T: 'static>(self, hook: Box<dyn FnOnce(T)>) {
        self.set_way_back(WayBack::Hook(Box::new(hook)));
    }

    pub(super) fn set_way_back(self, way_back: WayBack) {
        if let Some(old) = self.extra_made().on_unclaimed.replace(Some(way_back)) {
            let_go(old);
        }
    }

    pub(super) fn take_unclaimed<T: 'static>(self) -> Option<Box<dyn FnOnce(T)>> {
        match self.extra()?.on_unclaimed.take()? {
            WayBack::Hook(hook) => hook.downcast::<Box<dyn FnOnce(T)>>().ok().map(|hook| *hook),
            WayBack::Home(home, place) => Some(Box::new(move |value| {
                if let Some(home) = home.upgrade() {
                    home.take_back(place, Box::new(value));
                }
            })),
        }
    }
}
