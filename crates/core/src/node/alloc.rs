//! Memory for nodes: free lists by class, or the allocator.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use super::Site;
use super::context::Cx;
use super::extra::Extra;
use super::header::{Counted, Hdr, Node, Ptr, State, Vt, behind_header, flag};

/// The bytes a node needs: the larger of work and outcome behind the header.
pub(super) struct Shape {
    size: usize,
    align: usize,
}

impl Shape {
    pub(super) const fn of(parts: &[Layout]) -> Self {
        let mut size = size_of::<Hdr>();
        let mut align = align_of::<Hdr>();
        let mut n = 0;
        while n < parts.len() {
            let end = behind_header(parts[n].align()) + parts[n].size();
            if end > size {
                size = end;
            }
            if parts[n].align() > align {
                align = parts[n].align();
            }
            n += 1;
        }
        Self { size, align }
    }

    /// Bytes from `offset` on for something placed by hand.
    pub(super) const fn and(self, offset: usize, part: Layout) -> Self {
        let end = offset + part.size();
        Self {
            size: if end > self.size { end } else { self.size },
            align: if part.align() > self.align { part.align() } else { self.align },
        }
    }

    /// The class of 16 bytes it fits; 0 asks the allocator.
    const fn class(&self) -> u8 {
        let size = self.size;
        if cfg!(thence_no_free_list) || self.align > UNIT || size > UNIT * CLASSES {
            return 0;
        }
        // At most CLASSES.
        #[allow(clippy::cast_possible_truncation)]
        let class = size.div_ceil(UNIT) as u8;
        class
    }
}

/// A free piece of memory.
pub(super) struct Free {
    next: Option<NonNull<Free>>,
}

/// The thread's free lists.
pub(super) struct Lists {
    heads: [Cell<Option<NonNull<Free>>>; CLASSES + 1],
    /// Set when the thread's end has emptied them: what is freed later goes to the allocator.
    over: Cell<bool>,
}

impl Lists {
    pub(super) const fn new() -> Self {
        Self { heads: [const { Cell::new(None) }; CLASSES + 1], over: Cell::new(false) }
    }
}

impl Cx {
    /// Makes a node that is `PENDING`, with one count and nothing behind its header.
    ///
    /// Where there is a context to capture a subscriber is asked for its span: a user's code.
    #[inline]
    pub(super) fn make(&self, shape: &Shape, vt: &'static Vt, site: Site, flags: u8) -> Counted {
        // SAFETY: one count.
        unsafe { self.make_with(1, shape, vt, site, flags).0.counted() }
    }

    /// As [`Cx::make`], with a count for its producer and one for its handle. Also says whether it
    /// captured a context.
    #[inline(always)]
    pub(super) fn make_held(
        &self,
        shape: &Shape,
        vt: &'static Vt,
        site: Site,
        flags: u8,
    ) -> (Counted, Counted, bool) {
        let (n, captured) = self.make_with(2, shape, vt, site, flags | flag::HANDLE);
        // SAFETY: two counts.
        unsafe { (n.counted(), n.counted(), captured) }
    }

    #[inline(always)]
    fn make_with(
        &self,
        rc: u32,
        shape: &Shape,
        vt: &'static Vt,
        site: Site,
        flags: u8,
    ) -> (Ptr, bool) {
        let class = shape.class();
        let head = &self.free.heads[usize::from(class)];
        let base = match head.get() {
            Some(free) => {
                // SAFETY: what stands in a list is a `Free` that nobody else refers to; class 0
                // never has any.
                head.set(unsafe { free.as_ref() }.next);
                free.cast::<u8>()
            }
            None => self.fresh(shape, class),
        };
        let node: NonNull<Hdr> = base.cast();
        // SAFETY: the allocation is large enough and aligned (fresh places it), and ours alone.
        unsafe {
            node.write(Hdr {
                vt: Cell::new(vt),
                next: Cell::new(None),
                up: Cell::new(None),
                site: Cell::new(site),
                extra: Cell::new(std::ptr::null_mut()),
                context: Cell::new(std::ptr::null()),
                rc: Cell::new(rc),
                state: Cell::new(State::Pending),
                flags: Cell::new(flags),
                class: Cell::new(class),
                lane: Cell::new(0),
            });
        }
        let n = Ptr::new(node);
        // SAFETY: its counts are not given away yet.
        let captured = self.capture(unsafe { n.node() });
        (n, captured)
    }

    /// Frees a node by its last count.
    ///
    /// # Safety
    ///
    /// It is the last, and the payload is empty: `TAKEN`.
    #[inline]
    pub(super) unsafe fn free(&self, last: Counted) {
        let n = last.node();
        debug_assert!(n.rc.get() == 1 && n.state.get() == State::Taken);
        let class = n.class.get();
        if class == 0 || class >= RARE || self.free.over.get() {
            // SAFETY: the caller's promise.
            unsafe { self.free_rare(last) };
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.give_back(last, class) };
        }
    }

    /// Frees a node that has something rare, or whose memory goes back to the allocator.
    ///
    /// # Safety
    ///
    /// As [`Cx::free`].
    #[cold]
    #[inline(never)]
    unsafe fn free_rare(&self, last: Counted) {
        if last.node().class.get() & RARE != 0 {
            // SAFETY: the caller's promise.
            unsafe { drop_rare(last.node()) };
        }
        let class = last.node().class.get() & !RARE;
        debug_assert!(class & (LISTED | BURIED) == 0);
        if class == 0 || self.free.over.get() {
            self.outside.set(self.outside.get() - 1);
            // SAFETY: the last count of the node is gone with this.
            unsafe { release(last.into_ptr().header().cast(), class) };
        } else {
            // SAFETY: the caller's promise.
            unsafe { self.give_back(last, class) };
        }
    }

    /// # Safety
    ///
    /// As [`Cx::free`], with nothing rare left.
    #[inline(always)]
    unsafe fn give_back(&self, last: Counted, class: u8) {
        let head = &self.free.heads[usize::from(class) & CLASSES];
        let free: NonNull<Free> = last.into_ptr().header().cast();
        // SAFETY: the memory is ours, at least UNIT bytes, aligned to UNIT.
        unsafe { free.write(Free { next: head.get() }) };
        head.set(Some(free));
    }
}

impl Cx {
    /// Memory that no list has.
    #[cold]
    #[inline(never)]
    fn fresh(&self, shape: &Shape, class: u8) -> NonNull<u8> {
        self.outside.set(self.outside.get() + 1);
        fresh(shape, class)
    }

    /// How many nodes there are: what was allocated, without what stands in the lists. Counted
    /// when asked, so that a step does not pay for it.
    pub(super) fn count_nodes(&self) -> usize {
        let mut free = 0;
        for head in &self.free.heads {
            let mut at = head.get();
            while let Some(piece) = at {
                free += 1;
                // SAFETY: as in `make`.
                at = unsafe { piece.as_ref() }.next;
            }
        }
        self.outside.get() - free
    }

    /// Empties the lists: gives the memory of nodes that are gone to the allocator, and has that
    /// give what it can to the operating system. Says how many bytes the lists had.
    pub(crate) fn release_memory(&self) -> usize {
        let bytes = self.empty_lists();
        // A list's end is dropped like any other; nothing of a user's is in an empty one.
        let _ = EXTRAS.try_with(|extras| extras.take());
        trim();
        bytes
    }

    fn empty_lists(&self) -> usize {
        let mut bytes = 0;
        for (class, head) in self.free.heads.iter().enumerate() {
            while let Some(free) = head.get() {
                // SAFETY: as in `make`.
                head.set(unsafe { free.as_ref() }.next);
                self.outside.set(self.outside.get() - 1);
                bytes += class * UNIT;
                #[allow(clippy::cast_possible_truncation)]
                // SAFETY: it was in the list of its class (I10), and is out of it.
                unsafe {
                    release(free.cast(), class as u8)
                };
            }
        }
        bytes
    }
}

/// glibc gives back what lies behind the last piece in use and no more, unless it is asked: nodes
/// that live keep everything that was freed below them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: glibc's own declaration (malloc.h); it takes its locks itself, has no precondition,
    // and does nothing when another allocator serves this program.
    unsafe extern "C" {
        safe fn malloc_trim(pad: usize) -> i32;
    }
    malloc_trim(0);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// The class-0 note that stands before everything else of its allocation.
struct Note {
    layout: Layout,
    start: *mut u8,
}

fn fresh(shape: &Shape, class: u8) -> NonNull<u8> {
    if class != 0 {
        // A thread that is ending has no reaper any more, and its lists take nothing in.
        let _ = REAPER.try_with(|_| ());
        let layout = layout_of(class);
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(layout) };
        return NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
    }
    // [Note][header][payload], the header aligned as the payload asks.
    let align = if shape.align > UNIT { shape.align } else { UNIT };
    let front = size_of::<Note>().next_multiple_of(align);
    let layout = Layout::from_size_align(front + shape.size, align)
        .expect("the size of a closure and an outcome is below isize::MAX");
    // SAFETY: the size is not zero.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: front is within the allocation, and at least a Note.
    unsafe {
        let base = start.add(front);
        base.cast::<Note>().sub(1).write_unaligned(Note { layout, start });
        NonNull::new_unchecked(base)
    }
}

/// # Safety
///
/// `fresh` gave this memory for this class, and nobody refers to it any more.
#[cold]
unsafe fn release(base: NonNull<u8>, class: u8) {
    // SAFETY: the memory came from `fresh` with this class, which left its layout in the class or
    // in the note before it (I10), and nobody refers to it any more.
    unsafe {
        if class != 0 {
            dealloc(base.as_ptr(), layout_of(class));
            return;
        }
        let note = base.cast::<Note>().sub(1).as_ptr().read_unaligned();
        dealloc(note.start, note.layout);
    }
}

/// # Safety
///
/// The node is being freed: nobody has a reference into what is rare of it.
#[cold]
unsafe fn drop_rare(n: Node<'_>) {
    let settling = crate::guarded::Settling::begin();
    let extra = n.extra.replace(std::ptr::null_mut());
    let context = n.context.replace(std::ptr::null());
    if !extra.is_null() && !n.has(flag::VIA) {
        // SAFETY: without VIA it is a box this node owned; the node is being freed, so that nobody
        // has a reference into it.
        let extra: Box<Extra> = unsafe { Box::from_raw(extra) };
        // Before anything of a user's is dropped: a canceller must not find this node again.
        for place in extra.places.take() {
            place.set(None);
        }
        extra.clear();
        if !cfg!(thence_no_free_list) {
            keep_extra(extra);
        }
    }
    // SAFETY: I11, the node's count.
    unsafe { super::carry::release(context) };
    settling.end();
}

/// An empty one: sources that cancel, or take back what they yield, have one for each Deferred.
pub(super) fn extra() -> Box<Extra> {
    EXTRAS.try_with(|extras| extras.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

fn keep_extra(extra: Box<Extra>) {
    // A thread that ends keeps none.
    let _ = EXTRAS.try_with(|extras| {
        let mut extras = extras.borrow_mut();
        if extras.len() < EXTRAS_KEPT {
            extras.push(extra);
        }
    });
}

fn layout_of(class: u8) -> Layout {
    Layout::from_size_align(UNIT * usize::from(class), UNIT).expect("a class is small")
}

/// Gives the lists' memory back when the thread ends. Apart from the lists, because a
/// thread-local with a destructor costs a check at every access.
struct Reaper;

impl Drop for Reaper {
    fn drop(&mut self) {
        let cx = super::cx();
        cx.free.over.set(true);
        cx.empty_lists();
    }
}

thread_local! {
    static REAPER: Reaper = const { Reaper };
    // `Vec<Box<_>>` on purpose: the boxes themselves are reused.
    #[allow(clippy::vec_box)]
    static EXTRAS: RefCell<Vec<Box<Extra>>> = const { RefCell::new(Vec::new()) };
}

const EXTRAS_KEPT: usize = 1024;

/// In a node's class: it has a context, or `extra` is set.
pub(super) const RARE: u8 = 0x80;

/// In a node's class: it waits to be handed on.
pub(super) const LISTED: u8 = 0x40;

/// In a node's class: its outcome is the graves'.
pub(super) const BURIED: u8 = 0x20;

const UNIT: usize = 16;

/// One less than a power of two, so that it masks a class. A small flow fits the largest.
const CLASSES: usize = 31;
