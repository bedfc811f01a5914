//! Rules of VirtualServices that no request comes to, as one before them takes what they are for.

use crate::finding::Message;
use crate::mesh::Mesh;
use crate::mesh::names::gateway_name;
use crate::mesh::virtual_services::{HttpEntry, RoutedHosts};
use crate::report::{Field, Report};
use http_match::StringMatch;
use istio_api::virtual_service::HttpMatchRequest;
use istio_api::{Resource, VirtualService};
use std::borrow::Cow;
use std::collections::HashMap;

/// Says which rules and which match clauses nothing comes to. A rule of a delegate is said to be one when nothing comes to
/// it by any VirtualService that leaves routes to it.
pub(super) fn analyse(mesh: &Mesh<'_>, report: &mut Report) {
    let mut rules: Vec<Rule<'_>> = Vec::new();
    let mut places: HashMap<(*const Resource<VirtualService>, String), usize> = HashMap::new();
    for routed in mesh.virtual_services.all() {
        let mut taken = Taken::default();
        for entry in &routed.http {
            let rule = taken.rule(entry, routed);
            let key = (std::ptr::from_ref(entry.owner), entry.path.clone());
            match places.get(&key).and_then(|place| rules.get_mut(*place)) {
                Some(known) => known.blocked = known.blocked.take().filter(|_| rule.blocked.is_some()),
                None => {
                    places.insert(key, rules.len());
                    rules.push(rule);
                }
            }
        }
    }
    rules.iter().for_each(|rule| rule.say(report));
}

/// What is known of a rule.
struct Rule<'r> {
    owner: &'r Resource<VirtualService>,
    path: String,
    /// Who takes all that it is for.
    blocked: Option<String>,
    /// Its clauses that nothing comes to, and why.
    clauses: Vec<(usize, String)>,
}

impl Rule<'_> {
    fn say(&self, report: &mut Report) {
        if let Some(reason) = &self.blocked {
            let field = Field { name: self.owner, path: &self.path };
            return report.find(&Message::VIRTUAL_SERVICE_UNREACHABLE_RULE, field, "", reason);
        }
        for (index, reason) in &self.clauses {
            let path = format!("{}.match[{index}]", self.path);
            let field = Field { name: self.owner, path: &path };
            report.find(&Message::VIRTUAL_SERVICE_INEFFECTIVE_MATCH, field, "", reason);
        }
    }
}

/// A condition on the path that takes all that begins with something, or one path alone.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Paths {
    Prefix(String),
    Exact(String),
    Regex(String),
}

/// What the rules so far take: other conditions as they are written, with a path; and where that stands.
#[derive(Default)]
struct Taken(HashMap<(String, Paths), String>);

impl Taken {
    /// Looks at a rule, and adds it.
    fn rule<'r>(&mut self, entry: &HttpEntry<'r>, routed: &RoutedHosts<'_>) -> Rule<'r> {
        let mut rule = Rule { owner: entry.owner, path: entry.path.clone(), blocked: None, clauses: Vec::new() };
        let everything = [HttpMatchRequest::default()];
        let clauses = if entry.route.matches.is_empty() { &everything[..] } else { &entry.route.matches };
        let before: Vec<Option<&String>> = clauses.iter().map(|clause| self.taker(clause)).collect();
        if before.iter().all(Option::is_some) {
            rule.blocked = before.first().copied().flatten().map(|by| format!("is never reached: {by}"));
        }
        let is_written = matches!(entry.route, Cow::Borrowed(_));
        let index_of = |reasons: Vec<Option<String>>| -> Vec<(usize, String)> {
            let said = reasons.into_iter().enumerate().filter_map(|(index, reason)| Some((index, reason?)));
            said.filter(|_| is_written && !entry.route.matches.is_empty()).collect()
        };
        let mut reasons: Vec<_> =
            before.into_iter().map(|by| by.map(|by| format!("nothing comes to it: {by}"))).collect();
        for (index, (clause, reason)) in clauses.iter().zip(&mut reasons).enumerate() {
            if reason.is_none() {
                *reason = elsewhere(clause, routed, entry)
                    .or_else(|| self.taker(clause).map(|by| format!("nothing comes to it: {by}")));
            }
            let place = if is_written && !entry.route.matches.is_empty() {
                format!("{}.match[{index}]", entry.path)
            } else {
                entry.path.clone()
            };
            self.add(clause, &place);
        }
        rule.clauses = index_of(reasons);
        rule
    }

    /// Who takes every request that a clause is for.
    fn taker(&self, clause: &HttpMatchRequest) -> Option<&String> {
        let (others, paths) = parts(clause);
        // Conditions that agree, or none at all.
        [others, parts(&HttpMatchRequest::default()).0].into_iter().find_map(|others| self.taker_of(others, &paths))
    }

    fn taker_of(&self, others: String, paths: &Paths) -> Option<&String> {
        let mut key = (others, paths.clone());
        if let Some(by) = self.0.get(&key) {
            return Some(by);
        }
        let (Paths::Prefix(text) | Paths::Exact(text)) = paths else {
            key.1 = Paths::Prefix(String::new());
            return self.0.get(&key);
        };
        let ends = (0..=text.len()).rev().filter(|end| text.is_char_boundary(*end));
        for end in ends {
            key.1 = Paths::Prefix(text.get(..end).unwrap_or_default().to_owned());
            if let Some(by) = self.0.get(&key) {
                return Some(by);
            }
        }
        None
    }

    fn add(&mut self, clause: &HttpMatchRequest, place: &str) {
        let by = match is_catch_all(clause) {
            true => format!("{place} takes every request"),
            false => format!("{place} takes all that it is for"),
        };
        self.0.entry(parts(clause)).or_insert(by);
    }
}

fn is_catch_all(clause: &HttpMatchRequest) -> bool {
    parts(clause) == parts(&HttpMatchRequest::default())
}

/// What a clause asks of the path, and as a text what else it asks.
fn parts(clause: &HttpMatchRequest) -> (String, Paths) {
    let paths = match &clause.request.uri {
        None => Paths::Prefix(String::new()),
        // Every path begins with it.
        Some(StringMatch::Prefix(prefix)) if prefix == "/" => Paths::Prefix(String::new()),
        Some(StringMatch::Prefix(prefix)) => Paths::Prefix(prefix.clone()),
        Some(StringMatch::Exact(path)) => Paths::Exact(path.clone()),
        Some(StringMatch::Present) => Paths::Prefix(String::new()),
        Some(StringMatch::Regex(regex)) if regex == ".*" => Paths::Prefix(String::new()),
        Some(StringMatch::Regex(regex)) => Paths::Regex(regex.clone()),
    };
    let mut others = clause.clone();
    others.request.name = None;
    others.request.uri = None;
    others.stat_prefix = None.into();
    // Of account for texts alone.
    others.request.ignore_uri_case &= matches!(&paths, Paths::Prefix(text) | Paths::Exact(text) if !text.is_empty());
    for conditions in
        [&mut others.request.headers, &mut others.request.without_headers, &mut others.request.query_params]
    {
        conditions.0.sort_by(|(one, _), (other, _)| one.cmp(other));
    }
    (serde_json::to_string(&others).unwrap_or_default(), paths)
}

/// Why a clause that is for gateways alone is for none: the VirtualService is attached to none of them.
fn elsewhere(clause: &HttpMatchRequest, routed: &RoutedHosts<'_>, entry: &HttpEntry<'_>) -> Option<String> {
    let namespace = entry.owner.metadata.namespace();
    let attached = |written: &String| routed.gateways.contains(&gateway_name(written, namespace));
    let nowhere = !clause.gateways.is_empty() && !clause.gateways.iter().any(attached);
    nowhere.then(|| "nothing comes to it: the VirtualService is attached to none of its gateways".to_owned())
}
