//! What a route or a rule does with a request: the part both have in common.

use crate::config::{RedirectConfig, RewriteConfig};
use crate::redirect::Redirect;
use crate::rewrite::PathRewrite;
use filter_api::{HeaderEdit, HeaderOperations, HostError, LocalReply, Stream, check_authority};
use http_match::{HttpMatchRequest, MatchedUri};
use plugin_config::{At, Quoted};

/// How a request ends, or that it goes on.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It goes on, perhaps with another path.
    Forward(Option<PathRewrite>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The client is answered from here.
    Reply(LocalReply),
}

/// Header operations by number, so that streams can remember which ones their response needs.
#[derive(Debug, Default)]
pub(crate) struct OperationsTable(Vec<HeaderOperations>);

/// Names header operations of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OperationsId(u32);

impl OperationsTable {
    /// Files operations; `None` when there is nothing to do.
    pub(crate) fn push(&mut self, operations: HeaderOperations) -> Option<OperationsId> {
        if !operations.has_request() && !operations.has_response() {
            return None;
        }
        let id = u32::try_from(self.0.len()).ok().map(OperationsId);
        self.0.push(operations);
        id
    }

    pub(crate) fn get(&self, id: OperationsId) -> Option<&HeaderOperations> {
        self.0.get(id.0 as usize)
    }
}

/// Compiles each item of a list; `None` when one of them has a fault.
pub(crate) fn compile_list<W, C>(
    written: &[W],
    at: &mut At,
    mut compile: impl FnMut(&W, &mut At) -> Option<C>,
) -> Option<Vec<C>> {
    let mut compiled = Vec::with_capacity(written.len());
    for (i, item) in written.iter().enumerate() {
        if let Some(item) = at.index(i, |at| compile(item, at)) {
            compiled.push(item);
        }
    }
    (compiled.len() == written.len()).then_some(compiled)
}

/// Adds the authority of a rewrite to header operations already compiled.
pub(crate) fn with_rewrite(
    operations: Option<HeaderOperations>,
    rewrite: Option<&RewriteConfig>,
    at: &mut At,
) -> Option<HeaderOperations> {
    let Some(authority) = rewrite.and_then(|rewrite| rewrite.authority.as_deref()) else {
        return operations;
    };
    at.field("rewrite", |at| {
        at.field("authority", |at| {
            check_authority(authority, at)?;
            if operations.as_ref().is_some_and(HeaderOperations::rewrites_authority) {
                return at.fault(Quoted(authority), "the request headers set the authority already");
            }
            Some(operations?.with_authority(authority))
        })
    })
}

/// Compiles a rewrite's path.
pub(crate) fn compile_rewrite(rewrite: Option<&RewriteConfig>, at: &mut At) -> Option<Option<PathRewrite>> {
    match rewrite {
        Some(rewrite) => at.field("rewrite", |at| PathRewrite::compile(rewrite, at)),
        None => Some(None),
    }
}

/// Compiles a redirect.
pub(crate) fn compile_redirect(
    redirect: &RedirectConfig,
    matches: &[HttpMatchRequest],
    at: &mut At,
) -> Option<Redirect> {
    at.field("redirect", |at| Redirect::compile(redirect, matches, at))
}

/// Compiles the header edit that chooses a cluster.
pub(crate) fn compile_cluster(cluster: &str, header: &str, at: &mut At) -> Option<HeaderEdit> {
    if cluster.is_empty() || cluster.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
        return at.fault(Quoted(cluster), "expected the name of a cluster, without blanks");
    }
    Some(HeaderEdit::Set(header.to_owned(), cluster.as_bytes().to_vec()))
}

/// Gives a request another path, and keeps the one it came with as Envoy does.
pub(crate) fn rewrite_path(
    rewrite: &PathRewrite,
    matched: MatchedUri,
    stream: &mut Stream<'_>,
) -> Result<(), HostError> {
    let Some(original) = stream.request_header(":path")? else {
        return Ok(());
    };
    let target = rewrite.target(&original, matched);
    stream.set_request_header("x-envoy-original-path", &original)?;
    stream.set_request_header(":path", &target)
}
