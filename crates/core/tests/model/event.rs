//! What is compared: everything that can be seen of a run, in order.

/// One thing that happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The callback of a step, or a flow after an await, with what it saw.
    Ran { who: u32, saw: Saw },
    /// One of the values, or of the errors, that it saw at once.
    Part { who: u32, number: u32 },
    /// A flow's own things are gone.
    Gone { who: u32 },
    /// A trigger's canceller was called.
    Asked { source: u32 },
    /// The failure hook was.
    Reported { what: Saw },
    /// A value was dropped by nobody's hand.
    Dropped { number: u32 },
    /// A value went back where it came from.
    Back { number: u32 },
    /// So many callbacks ran in a portion of a turn.
    Turned { ran: usize },
}

/// How something ended, or that there is nothing to see.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Saw {
    Nothing,
    Value(u32),
    Error(u32),
    Cancelled,
    Lost,
    Panicked(u32),
    /// A destructor, a hook, or an error that was told of a step panicked.
    Destructor(u32),
}
