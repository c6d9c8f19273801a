//! What a thread shows of itself to its watchdog.

use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{Cx, Site};

/// Says which callback a thread is running. Any thread may look.
///
/// ```
/// use thence_core::{Deferred, hosting};
///
/// let beacon = hosting::beacon();
/// assert!(beacon.running().is_none());
/// let line = line!() + 1;
/// Deferred::<u8>::ok(1).inspect(move |_| {
///     assert_eq!(beacon.running().unwrap().line(), line); // usually asked on another thread
/// })
/// .report();
/// ```
#[derive(Debug, Default)]
pub struct Beacon {
    /// Null, or a `&'static Location`: `show` stores nothing else.
    site: AtomicPtr<Location<'static>>,
}

impl Beacon {
    /// The site of the callback that runs right now: of a step the line that attached it, of a
    /// flow the await it went on from.
    ///
    /// ```
    /// # use thence_core::hosting;
    /// let beacon = hosting::beacon();
    /// std::thread::spawn(move || assert!(beacon.running().is_none())).join().unwrap();
    /// ```
    pub fn running(&self) -> Option<&'static Location<'static>> {
        let site = self.site.load(Ordering::Relaxed).cast_const();
        // SAFETY: null, or a `&'static Location`.
        unsafe { site.as_ref() }
    }

    fn show(&self, site: Option<Site>) {
        let site = site.map_or(ptr::null(), ptr::from_ref);
        self.site.store(site.cast_mut(), Ordering::Relaxed);
    }
}

impl Cx {
    /// Shows what runs from now on to `beacon`, or to nobody.
    pub(crate) fn show_to(&self, beacon: Option<Arc<Beacon>>) {
        let new = beacon.map_or(ptr::null(), Arc::into_raw);
        let old = self.beacon.replace(new);
        if !old.is_null() {
            // SAFETY: it was made by `into_raw` above, and the slot's count is given back once.
            drop(unsafe { Arc::from_raw(old) });
        }
    }

    #[inline(always)]
    pub(super) fn is_watched(&self) -> bool {
        !self.beacon.get().is_null()
    }

    /// Tells the watchdog what runs.
    #[cold]
    pub(super) fn show(&self, site: Option<Site>) {
        // SAFETY: the slot has a count of what it points at.
        if let Some(beacon) = unsafe { self.beacon.get().as_ref() } {
            beacon.show(site);
        }
    }
}
