//! What goes upstream, and what comes back: header fields and paths.

pub mod headers;
pub mod rewrite;
