//! Every program of the slide deck, on thence: `cargo run -p deck --bin factorial`, and so on through
//! `src/bin`. `docs/deck.md` puts each beside its slide.
//!
//! The Rust in the repository's documents is compiled and run here, as documentation tests.

#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../ARCHITECTURE.md")]
    struct Architecture;

    #[doc = include_str!("../../../CONTRIBUTING.md")]
    struct Contributing;

    #[doc = include_str!("../../../docs/failures.md")]
    struct Failures;

    #[doc = include_str!("../../../docs/deck.md")]
    struct Deck;

    #[doc = include_str!("../../../docs/deferreds.md")]
    struct Deferreds;

    #[doc = include_str!("../../../docs/from-async.md")]
    struct FromAsync;

    #[doc = include_str!("../../../docs/from-twisted.md")]
    struct FromTwisted;

    #[doc = include_str!("../../../docs/reactor.md")]
    struct Reactor;
}
