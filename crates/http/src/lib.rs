//! thence.
