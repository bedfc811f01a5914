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

/// Says which rules and which match clauses nothing comes to. A rule of a delegate is said to be one when nothing comes
/// to it by any VirtualService that leaves routes to it.
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

/// What the rules so far take: other conditions as they are written, with a path; and who does.
#[derive(Default)]
struct Taken<'r>(HashMap<(String, Paths), Taker<'r>>);

/// A clause that takes something.
#[derive(Clone)]
struct Taker<'r> {
    owner: &'r Resource<VirtualService>,
    path: String,
    takes_all: bool,
}

impl Taker<'_> {
    /// Said of a rule of this resource.
    fn words(&self, owner: &Resource<VirtualService>) -> String {
        let of = match std::ptr::eq(self.owner, owner) {
            true => String::new(),
            false => format!("{} ", self.owner.resource_name()),
        };
        let what = if self.takes_all { "every request" } else { "all that it is for" };
        format!("{of}{} takes {what}", self.path)
    }
}

impl<'r> Taken<'r> {
    /// Looks at a rule, and adds it.
    fn rule(&mut self, entry: &HttpEntry<'r>, routed: &RoutedHosts<'_>) -> Rule<'r> {
        let mut rule = Rule { owner: entry.owner, path: entry.path.clone(), blocked: None, clauses: Vec::new() };
        let everything = [HttpMatchRequest::default()];
        let clauses = if entry.route.matches.is_empty() { &everything[..] } else { &entry.route.matches };
        let taker = |taken: &Self, clause| taken.taker(clause).map(|taker| taker.words(entry.owner));
        let before: Vec<Option<String>> = clauses.iter().map(|clause| taker(self, clause)).collect();
        if let Some(first) = before.first().cloned().flatten().filter(|_| before.iter().all(Option::is_some)) {
            rule.blocked = Some(format!("is never reached: {first}"));
        }
        // Clauses of a delegate are joined with those of who leaves routes to it, and stand nowhere.
        let stands = matches!(entry.route, Cow::Borrowed(_)) && !entry.route.matches.is_empty();
        for (index, (clause, before)) in clauses.iter().zip(before).enumerate() {
            let taken = before.or_else(|| taker(self, clause)).map(|by| format!("nothing comes to it: {by}"));
            let reason = taken.or_else(|| elsewhere(clause, routed, entry));
            rule.clauses.extend(reason.filter(|_| stands).map(|reason| (index, reason)));
            let path = if stands { format!("{}.match[{index}]", entry.path) } else { entry.path.clone() };
            let taker = Taker { owner: entry.owner, path, takes_all: is_catch_all(clause) };
            self.0.entry(parts(clause)).or_insert(taker);
        }
        rule
    }

    /// Who takes every request that a clause is for.
    fn taker(&self, clause: &HttpMatchRequest) -> Option<&Taker<'r>> {
        let (others, paths) = parts(clause);
        // Conditions that agree, or none at all.
        [others, parts(&HttpMatchRequest::default()).0].into_iter().find_map(|others| self.taker_of(others, &paths))
    }

    fn taker_of(&self, others: String, paths: &Paths) -> Option<&Taker<'r>> {
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
