//! What goes upstream, and what comes back: header fields and paths.

mod border;
pub mod headers;
mod managed;
pub mod rewrite;
