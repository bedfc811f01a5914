//! How far a connection has come at one filter.

use crate::wasm::{Access, BodyBuffer, Direction, Guest};

/// A filter, and how it stands to the connection.
#[derive(Default)]
pub(super) struct Filter {
    /// Its context, once it has been told of the connection.
    pub(super) guest: Option<Guest>,
    /// It has failed, or cannot be had, and the connection goes on without it.
    pub(super) bypassed: bool,
    pub(super) flows: [Flow; 2],
    /// It has been told that the upstream has closed.
    pub(super) upstream_closed: bool,
}

/// One direction at one filter. What it is shown and holds is the slot's body.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) hold: Hold,
    /// The end of what it holds.
    pub(super) end: bool,
    pub(super) access: Access,
}

/// What a filter holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Hold {
    #[default]
    Nothing,
    /// The connection, and what comes on it.
    Connection,
    /// What has come.
    Data,
}

/// What has passed a direction's last filter.
#[derive(Default)]
pub(super) struct Out {
    pub(super) bytes: BodyBuffer,
    pub(super) end: bool,
}

/// A filter's answer to a callback, once what it asked for besides has been heeded.
pub(super) enum Answer {
    Action(u32),
    /// The connection goes on without the filter.
    Bypassed,
    /// The connection ends.
    Settled,
}

/// What a filter may edit while it is shown bytes.
pub(super) fn shown(direction: Direction) -> Access {
    match direction {
        Direction::Request => Access::REQUEST_BODY,
        Direction::Response => Access::RESPONSE_BODY,
    }
}

/// StopIteration; whatever else a guest returns is Continue, as in Envoy.
pub(super) fn is_stop(action: u32) -> bool {
    action == 1
}
