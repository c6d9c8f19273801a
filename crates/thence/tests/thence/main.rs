//! What a user of `thence` alone sees.

mod mixup;
mod names;
