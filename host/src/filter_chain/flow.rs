//! How far one direction of a stream has come at one filter.

use crate::wasm::{Access, BodyBuffer};

/// How a message ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// With its last byte.
    Stream,
    /// With trailers.
    Trailers,
}

/// What a filter lets through.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Hold {
    /// Everything.
    #[default]
    Nothing,
    /// Nothing at all: bodies wait before the filter. `bounded`: and the wait is an error beyond the limit, where it
    /// otherwise stops the peer from sending.
    Everything { bounded: bool },
    /// The headers, but the filter is shown the body.
    Headers,
    /// The body that it was shown, which grows.
    Body,
    /// The same, but it is shown each part only once.
    BodyUnseen,
    /// The trailers, and what was held before them.
    Trailers,
}

/// One direction of a stream at one filter.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) hold: Hold,
    /// Headers are held; whether they are all there is.
    pub(crate) headers: Option<bool>,
    /// Came while everything is held, and was not shown yet.
    pub(crate) waiting: BodyBuffer,
    pub(crate) waiting_end: Option<End>,
    /// Was shown and is held, but is not to be shown again.
    pub(crate) unseen: BodyBuffer,
    /// The end of what is held.
    pub(crate) held_end: Option<End>,
    /// What the filter may edit of this direction.
    pub(crate) access: Access,
}

impl Flow {
    /// Whether something is held.
    pub(crate) fn is_held(&self) -> bool {
        self.hold != Hold::Nothing
    }

    /// Bytes that wait or are held out of the filter's sight.
    pub(crate) fn bytes(&self) -> usize {
        self.waiting.len() + self.unseen.len()
    }
}
