//! The header-based rule engine: conditions and what to do, in order.

use crate::action::{
    Ending, OperationsId, OperationsTable, compile_cluster, compile_list, compile_redirect, compile_rewrite,
    with_rewrite,
};
use crate::config::{RuleConfig, Then};
use crate::reply::compile_reply;
use filter_api::{FormatPhase, FormatString, HeaderEdit, HeaderOperations};
use http_match::{MatchTable, MatchTableBuilder};
use plugin_config::{At, ListMap, Quoted};

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Option<Box<str>>,
    pub(crate) ending: Ending,
    pub(crate) operations: Option<OperationsId>,
    pub(crate) cluster: Option<HeaderEdit>,
    pub(crate) tags: Box<[(String, FormatString)]>,
    pub(crate) stops: bool,
}

/// All rules.
#[derive(Debug)]
pub(crate) struct RuleTable {
    pub(crate) table: MatchTable,
    pub(crate) rules: Vec<Rule>,
}

impl RuleTable {
    /// Compiles; faults are recorded in `at`, which stands at the configuration.
    pub(crate) fn compile(
        written: &[RuleConfig],
        cluster_header: &str,
        operations: &mut OperationsTable,
        at: &mut At,
    ) -> Option<Self> {
        let mut table = MatchTableBuilder::new();
        let rules = at.field("rules", |at| {
            compile_list(written, at, |rule, at| {
                at.field("match", |at| table.push(&rule.matches, at));
                compile(rule, cluster_header, operations, at)
            })
        });
        Some(Self { table: table.build_sequence(), rules: rules? })
    }
}

fn compile(written: &RuleConfig, cluster_header: &str, operations: &mut OperationsTable, at: &mut At) -> Option<Rule> {
    if written.then.is_none() && does_nothing(written) {
        at.refuse("rule", "does nothing: expected an action, or then: STOP");
    }
    check_combination(written, at);
    let headers = HeaderOperations::compile_parts(written.request.as_ref(), written.response.as_ref(), at);
    let compiled = with_rewrite(headers, written.rewrite.as_ref(), at);
    let ending = compile_ending(written, at);
    let cluster = match &written.cluster {
        Some(cluster) => at.field("cluster", |at| compile_cluster(cluster, cluster_header, at)).map(Some),
        None => Some(None),
    };
    let tags = at.field("tag", |at| compile_tags(&written.tag, at));
    let ending = ending?;
    Some(Rule {
        name: written.name.as_deref().map(Into::into),
        stops: written.then == Some(Then::Stop) || !matches!(ending, Ending::Forward(_)),
        ending,
        operations: operations.push(compiled?),
        cluster: cluster?,
        tags: tags?,
    })
}

fn does_nothing(written: &RuleConfig) -> bool {
    let RuleConfig { request, response, rewrite, redirect, reply, cluster, tag, .. } = written;
    request.is_none()
        && response.is_none()
        && rewrite.is_none()
        && redirect.is_none()
        && reply.is_none()
        && cluster.is_none()
        && tag.is_empty()
}

fn check_combination(written: &RuleConfig, at: &mut At) {
    let answers = match (&written.redirect, &written.reply) {
        (Some(_), Some(_)) => {
            at.refuse("redirect and reply", "only one of them can be given");
            return;
        }
        (Some(_), None) => "redirect",
        (None, Some(_)) => "reply",
        (None, None) => return,
    };
    let forbidden = [
        ("request", written.request.is_some()),
        ("rewrite", written.rewrite.is_some()),
        ("cluster", written.cluster.is_some()),
    ];
    for (field, _) in forbidden.iter().filter(|(_, given)| *given) {
        at.field(field, |at| at.refuse("given", format!("has no place beside {answers}: nothing is forwarded")));
    }
}

fn compile_ending(written: &RuleConfig, at: &mut At) -> Option<Ending> {
    let rewrite = compile_rewrite(written.rewrite.as_ref(), at);
    if let Some(redirect) = &written.redirect {
        return compile_redirect(redirect, &written.matches, at).map(Ending::Redirect);
    }
    if let Some(reply) = &written.reply {
        return at.field("reply", |at| compile_reply(reply, at)).map(Ending::Reply);
    }
    rewrite.map(Ending::Forward)
}

fn compile_tags(written: &ListMap<String>, at: &mut At) -> Option<Box<[(String, FormatString)]>> {
    let mut tags = Vec::with_capacity(written.len());
    for (name, value) in written.iter() {
        tags.extend(at.key(name, |at| {
            if name.is_empty() || name.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
                return at.fault(Quoted(name), "expected the name of a property, without blanks");
            }
            Some((name.to_owned(), FormatString::compile(value, FormatPhase::Request, at)?))
        }));
    }
    (tags.len() == written.len()).then(|| tags.into())
}
