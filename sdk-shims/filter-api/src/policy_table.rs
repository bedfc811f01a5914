//! Which policy a request gets: by the route that `header-rules` chose, or by a match list of the filter's own.

use crate::{HostError, Stream};
use http_match::{HttpMatchRequest, MatchTable, MatchTableBuilder, Request};
use plugin_config::{At, Field, FromNode, Keys, ListMap, Node, Object, ReadNode, read_object};

/// The property that carries the id of the route `header-rules` chose for a stream.
pub const ROUTE_PROPERTY: &str = "outrigger.route";

/// One entry of a filter's own match list: conditions beside the policy's own fields.
///
/// ```yaml
/// rules:
/// - match: [{uri: {prefix: /api}}]
///   delay: {fixedDelay: 5s, percentage: {value: 10}}
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(not(target_family = "wasm"), derive(serde::Serialize))]
pub struct Rule<T> {
    /// Alternatives (Istio's `http[].match`); empty matches every request.
    #[cfg_attr(not(target_family = "wasm"), serde(rename = "match", skip_serializing_if = "Vec::is_empty"))]
    pub matches: Vec<HttpMatchRequest>,
    /// What a matching request gets.
    #[cfg_attr(not(target_family = "wasm"), serde(flatten))]
    pub policy: T,
}

impl<T: Object> Object for Rule<T> {
    fn fields(&mut self) -> Vec<Field<'_>> {
        let mut fields = self.policy.fields();
        fields.push(Field::new("match", &mut self.matches));
        fields
    }
}

impl<T: Object> ReadNode for Rule<T> {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        read_object(self, node, at);
    }
}

impl<T: Object + Default> FromNode for Rule<T> {}

/// Names one policy of a table, for what a filter remembers about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyId(u32);

/// Compiled policies, found by route id or by match list in time that does not grow with their number.
///
/// A request whose route `routes` knows gets that policy; any other gets the first of `rules` that matches, if one does.
#[derive(Debug)]
pub struct PolicyTable<P> {
    policies: Vec<P>,
    index: Index,
}

/// Policies by number: first those of rules, then those of routes.
#[derive(Debug)]
struct Index {
    rules: MatchTable,
    routes: Keys,
}

impl<P> PolicyTable<P> {
    /// Compiles the `routes` and `rules` of a configuration; faults are recorded in `at` under these two fields.
    pub fn compile<T>(
        routes: &ListMap<T>,
        rules: &[Rule<T>],
        at: &mut At,
        mut compile: impl FnMut(&T, &mut At) -> Option<P>,
    ) -> Option<Self> {
        let mut policies = Vec::with_capacity(rules.len() + routes.len());
        let mut table = MatchTableBuilder::new();
        at.field("rules", |at| {
            for (i, rule) in rules.iter().enumerate() {
                at.index(i, |at| {
                    at.field("match", |at| table.push(&rule.matches, at));
                    policies.extend(compile(&rule.policy, at));
                });
            }
        });
        let mut keys = Keys::new();
        at.field("routes", |at| {
            for (id, policy) in routes.iter() {
                // A document has each id once; of a list made otherwise the first counts.
                if keys.insert(0, id.as_bytes()).1 {
                    policies.extend(at.key(id, |at| compile(policy, at)));
                }
            }
        });
        let whole = policies.len() == rules.len() + keys.len();
        whole.then(|| Self { policies, index: Index { rules: table.build(), routes: keys } })
    }

    /// Whether no request can get a policy.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// All policies, for what must be known about them at configure time.
    pub fn policies(&self) -> impl Iterator<Item = &P> {
        self.policies.iter()
    }

    /// A policy found earlier.
    pub fn get(&self, id: PolicyId) -> Option<&P> {
        self.policies.get(id.0 as usize)
    }

    /// The policy of a stream. Asks the host only for what the table needs to decide.
    ///
    /// # Errors
    /// When the host does not give the stream's headers or properties.
    pub fn find(&self, stream: &mut Stream<'_>) -> Result<Option<(PolicyId, &P)>, HostError> {
        let id = self.index.find(stream)?;
        Ok(id.and_then(|id| Some((id, self.get(id)?))))
    }
}

impl Index {
    fn find(&self, stream: &mut Stream<'_>) -> Result<Option<PolicyId>, HostError> {
        match self.by_route(stream)? {
            Some(id) => Ok(Some(id)),
            None => self.by_rule(stream),
        }
    }

    fn by_route(&self, stream: &mut Stream<'_>) -> Result<Option<PolicyId>, HostError> {
        if self.routes.is_empty() {
            return Ok(None);
        }
        let route = stream.property(&[ROUTE_PROPERTY])?;
        let number = route.and_then(|route| self.routes.find(0, &route));
        Ok(number.and_then(|number| Some(PolicyId(u32::try_from(self.rules.len()).ok()?.checked_add(number)?))))
    }

    fn by_rule(&self, stream: &mut Stream<'_>) -> Result<Option<PolicyId>, HostError> {
        let found = match self.rules.fixed() {
            Some(found) => found,
            None => {
                let port = if self.rules.needs_port() { destination_port(stream)? } else { None };
                let mut request = Request::new(stream.request_headers()?);
                request.port = port;
                self.rules.find(&request)
            }
        };
        Ok(found.and_then(|found| u32::try_from(found.entry).ok()).map(PolicyId))
    }
}

/// The port of the listener the request came in on, from the property `destination.port`.
///
/// # Errors
/// When the host cannot answer.
pub fn destination_port(stream: &mut Stream<'_>) -> Result<Option<u16>, HostError> {
    let value = stream.property(&["destination", "port"])?;
    let number = value.and_then(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok()).map(u64::from_le_bytes);
    Ok(number.and_then(|number| u16::try_from(number).ok()))
}
