//! How much of this thread's memory has not gone back to the allocator.
//!
//! Nodes are left out: their memory stays in the thread's free lists, and how many of them are in
//! use is what `hosting::live` says. They are told by their alignment, which nothing else asks for.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// How many pieces of memory this thread has now, without the nodes.
pub fn live() -> usize {
    LIVE.get()
}

struct Counting;

// SAFETY: it hands everything on to `System` and counts beside it, in a thread-local that neither
// allocates nor has a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() < ALIGN_OF_NODES {
            LIVE.set(LIVE.get().wrapping_add(1));
        }
        // SAFETY: the caller's promise is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.align() < ALIGN_OF_NODES {
            LIVE.set(LIVE.get().wrapping_sub(1));
        }
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

const ALIGN_OF_NODES: usize = 16;
