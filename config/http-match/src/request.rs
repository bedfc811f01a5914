//! A request as the matchers see it.

use crate::HeaderList;

/// A view of a request's parts; made once per request from its header list.
///
/// A part that the message lacks is empty: a match against it is decided like one against an empty value, and what
/// needs presence asks the header list.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `:method`
    pub method: &'a [u8],
    /// `:scheme`
    pub scheme: &'a [u8],
    /// `:authority`, as sent: with port, in the client's case.
    pub authority: &'a [u8],
    /// `:path` up to, and without, `?` or `#`.
    pub path: &'a [u8],
    /// What follows `?` in `:path`, up to `#`; `None` without a `?`.
    pub query: Option<&'a [u8]>,
    /// All headers, pseudo-headers among them.
    pub headers: &'a HeaderList,
    /// The port of the listener or service the request was addressed to, where the caller knows it.
    pub port: Option<u16>,
}

impl<'a> Request<'a> {
    /// The view of a message's headers.
    pub fn new(headers: &'a HeaderList) -> Self {
        let (mut method, mut scheme, mut authority, mut target): (&[u8], &[u8], &[u8], &[u8]) = (b"", b"", b"", b"");
        headers.each_pseudo(|name, value| match name {
            b":method" => method = value,
            b":scheme" => scheme = value,
            b":authority" => authority = value,
            b":path" => target = value,
            _ => {}
        });
        let (path, query) = split_target(target);
        Self { method, scheme, authority, path, query, headers, port: None }
    }
}

/// Splits a request target into path and query and cuts the fragment (CVE-2021-39156: a fragment must not hide a
/// path from a rule).
pub fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(mark) = target.iter().position(|&b| b == b'?' || b == b'#') else {
        return (target, None);
    };
    let (path, rest) = target.split_at_checked(mark).unwrap_or((target, b""));
    let query = rest.strip_prefix(b"?").map(|rest| rest.split(|&b| b == b'#').next().unwrap_or_default());
    (path, query)
}
