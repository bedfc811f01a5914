//! Virtual hosts and their routes.

use crate::action::{
    Ending, OperationsId, OperationsTable, compile_cluster, compile_list, compile_redirect, compile_rewrite,
    with_rewrite,
};
use crate::compile::Decision;
use crate::config::{RouteConfig, UnknownAuthorityConfig, UnknownAuthorityPolicy, VirtualHostConfig};
use crate::control_edits::{compile_retries, compile_timeout};
use crate::reply::compile_direct_response;
use filter_api::{HeaderEdit, HeaderOperations, LocalReply};
use http_match::{AuthorityTable, AuthorityTableBuilder, Found, MatchTable, MatchTableBuilder, Request};
use plugin_config::{At, Keys, Quoted};

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    pub(crate) id: Option<Box<str>>,
    pub(crate) ending: Ending,
    pub(crate) operations: Option<OperationsId>,
    /// Timeout, retries and cluster, as request headers.
    pub(crate) edits: Box<[HeaderEdit]>,
}

/// Routes that share authorities.
#[derive(Debug)]
pub struct VirtualHost {
    name: Option<Box<str>>,
    table: MatchTable,
    routes: Vec<Route>,
}

/// What becomes of requests to unknown authorities.
#[derive(Debug)]
pub(crate) enum UnknownAuthority {
    Forward(Option<HeaderEdit>),
    Reply(LocalReply),
}

/// All virtual hosts.
#[derive(Debug)]
pub(crate) struct RouteTable {
    authorities: AuthorityTables,
    hosts: Vec<VirtualHost>,
    pub(crate) unknown: UnknownAuthority,
    pub(crate) no_route: LocalReply,
}

impl RouteTable {
    /// Compiles; faults are recorded in `at`, which stands at the configuration.
    pub(crate) fn compile(
        written: &[VirtualHostConfig],
        unknown: Option<&UnknownAuthorityConfig>,
        cluster_header: &str,
        operations: &mut OperationsTable,
        at: &mut At,
    ) -> Option<Self> {
        let unknown = at.field("unknownAuthority", |at| compile_unknown(unknown, cluster_header, at));
        let mut compiler = Compiler {
            authorities: AuthorityTableBuilder::new(),
            ports: Vec::new(),
            names: Keys::new(),
            ids: Keys::new(),
            cluster_header,
            operations,
        };
        let mut index = 0;
        let hosts = at.field("virtualHosts", |at| {
            compile_list(written, at, |host, at| {
                index += 1;
                compiler.virtual_host(index - 1, host, at)
            })
        });
        let ports = compiler.ports.into_iter().map(|(port, table)| (port, table.build())).collect();
        Some(Self {
            authorities: AuthorityTables { any: compiler.authorities.build(), ports },
            hosts: hosts?,
            unknown: unknown?,
            no_route: LocalReply::new(404, "route_not_found"),
        })
    }

    /// Whether there is no virtual host.
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The virtual host of every request, when that is known without looking at one.
    pub(crate) fn fixed(&self) -> Option<&VirtualHost> {
        self.hosts.get(*self.authorities.fixed()?)
    }

    /// The virtual host of an authority on a port. No other is tried when none of its routes matches.
    pub(crate) fn find(&self, authority: &[u8], port: Option<u16>) -> Option<&VirtualHost> {
        self.hosts.get(*self.authorities.find(authority, port)?)
    }

    /// Whether finding a virtual host needs the port.
    pub(crate) fn needs_port(&self) -> bool {
        !self.authorities.ports.is_empty()
    }
}

/// Which virtual host authorities belong to, on each port.
#[derive(Debug)]
struct AuthorityTables {
    /// Of virtual hosts for all ports.
    any: AuthorityTable<usize>,
    /// In the order of ports.
    ports: Vec<(u16, AuthorityTable<usize>)>,
}

impl AuthorityTables {
    fn fixed(&self) -> Option<&usize> {
        if self.ports.is_empty() { self.any.fixed() } else { None }
    }

    fn find(&self, authority: &[u8], port: Option<u16>) -> Option<&usize> {
        let place = self.ports.binary_search_by_key(&port.unwrap_or(NO_PORT), |(port, _)| *port);
        let table = place.ok().and_then(|place| self.ports.get(place));
        table.and_then(|(_, table)| table.find(authority)).or_else(|| self.any.find(authority))
    }
}

/// In `ports`: of requests that name none.
const NO_PORT: u16 = 0;

impl Route {
    /// Its id, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

impl VirtualHost {
    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The route of every request, when that is known without looking at one.
    pub(crate) fn fixed(&self) -> Option<Decision<'_>> {
        self.table.fixed().map(|found| self.decision(found))
    }

    /// The route of a request.
    pub(crate) fn decide(&self, request: &Request<'_>) -> Decision<'_> {
        self.decision(self.table.find(request))
    }

    fn decision(&self, found: Option<Found>) -> Decision<'_> {
        let route = found.and_then(|found| Some((self.routes.get(found.entry)?, found)));
        match route {
            Some((route, found)) => Decision::Route(self, route, found),
            None => Decision::NoRoute(self),
        }
    }

    /// Whether finding a route needs [`Request::port`].
    pub(crate) fn needs_port(&self) -> bool {
        self.table.needs_port()
    }
}

/// What the virtual hosts of one configuration share while they are compiled.
struct Compiler<'c> {
    authorities: AuthorityTableBuilder<usize>,
    ports: Vec<(u16, AuthorityTableBuilder<usize>)>,
    names: Keys,
    ids: Keys,
    cluster_header: &'c str,
    operations: &'c mut OperationsTable,
}

impl Compiler<'_> {
    fn virtual_host(&mut self, index: usize, written: &VirtualHostConfig, at: &mut At) -> Option<VirtualHost> {
        if let Some(name) = &written.name
            && !self.names.insert(0, name.as_bytes()).1
        {
            at.field("name", |at| at.refuse(Quoted(name), "another virtual host has this name"));
        }
        at.field("domains", |at| {
            if written.domains.is_empty() {
                at.refuse("[]", "expected at least one domain");
            }
            for (i, domain) in written.domains.iter().enumerate() {
                at.index(i, |at| self.domain(domain, &written.ports, index, at));
            }
        });
        let mut table = MatchTableBuilder::new();
        let routes =
            at.field("routes", |at| compile_list(&written.routes, at, |route, at| self.route(route, &mut table, at)));
        let name = written.name.as_deref().map(Into::into);
        Some(VirtualHost { name, table: table.build(), routes: routes? })
    }

    fn domain(&mut self, domain: &str, ports: &[u16], index: usize, at: &mut At) {
        if ports.is_empty() {
            self.authorities.insert(domain, index, at);
        }
        for port in ports {
            let place = self.ports.binary_search_by_key(port, |(port, _)| *port);
            let place = place.unwrap_or_else(|place| {
                self.ports.insert(place, (*port, AuthorityTableBuilder::new()));
                place
            });
            self.ports.get_mut(place).into_iter().for_each(|(_, table)| table.insert(domain, index, at));
        }
    }

    fn route(&mut self, written: &RouteConfig, table: &mut MatchTableBuilder, at: &mut At) -> Option<Route> {
        if let Some(id) = &written.id
            && !self.ids.insert(0, id.as_bytes()).1
        {
            at.field("id", |at| at.refuse(Quoted(id), "another route has this id"));
        }
        at.field("match", |at| table.push(&written.matches, at));
        check_combination(written, at);
        let headers = at.field("headers", |at| match &written.headers {
            Some(headers) => HeaderOperations::compile(headers, at),
            None => Some(HeaderOperations::default()),
        });
        let operations = with_rewrite(headers, written.rewrite.as_ref(), at);
        let ending = compile_ending(written, at);
        let edits = compile_edits(written, self.cluster_header, at);
        Some(Route {
            id: written.id.as_deref().filter(|id| !id.is_empty()).map(Into::into),
            ending: ending?,
            operations: self.operations.push(operations?),
            edits: edits?.into(),
        })
    }
}

/// What Istio's validation forbids beside an answer of the proxy's own.
fn check_combination(written: &RouteConfig, at: &mut At) {
    let answers = match (&written.redirect, &written.direct_response) {
        (Some(_), Some(_)) => {
            at.refuse("redirect and directResponse", "only one of them can be given");
            return;
        }
        (Some(_), None) => "redirect",
        (None, Some(_)) => "directResponse",
        (None, None) => return,
    };
    let forbidden = [("rewrite", written.rewrite.is_some()), ("cluster", written.cluster.is_some())];
    for (field, _) in forbidden.iter().filter(|(_, given)| *given) {
        at.field(field, |at| at.refuse("given", format!("has no place beside {answers}: nothing is forwarded")));
    }
}

fn compile_ending(written: &RouteConfig, at: &mut At) -> Option<Ending> {
    let rewrite = compile_rewrite(written.rewrite.as_ref(), at);
    if let Some(redirect) = &written.redirect {
        return compile_redirect(redirect, &written.matches, at).map(Ending::Redirect);
    }
    if let Some(reply) = &written.direct_response {
        return at.field("directResponse", |at| compile_direct_response(reply, at)).map(Ending::Reply);
    }
    rewrite.map(Ending::Forward)
}

fn compile_edits(written: &RouteConfig, cluster_header: &str, at: &mut At) -> Option<Vec<HeaderEdit>> {
    let mut good = true;
    let mut edits = Vec::new();
    if let Some(cluster) = &written.cluster {
        let edit = at.field("cluster", |at| compile_cluster(cluster, cluster_header, at));
        good &= edit.is_some();
        edits.extend(edit);
    }
    if let Some(timeout) = written.timeout {
        let edit = at.field("timeout", |at| compile_timeout(timeout, at));
        good &= edit.is_some();
        edits.extend(edit);
    }
    if let Some(retries) = &written.retries {
        let headers = at.field("retries", |at| compile_retries(retries, at));
        good &= headers.is_some();
        edits.append(&mut headers.unwrap_or_default());
    }
    good.then_some(edits)
}

fn compile_unknown(
    written: Option<&UnknownAuthorityConfig>,
    cluster_header: &str,
    at: &mut At,
) -> Option<UnknownAuthority> {
    let policy = written.map_or(UnknownAuthorityPolicy::NotFound, |written| written.policy);
    let cluster = written.and_then(|written| written.cluster.as_deref());
    let cluster = at.field("cluster", |at| match cluster {
        Some(cluster) if policy != UnknownAuthorityPolicy::Forward => {
            at.fault(Quoted(cluster), "only with policy FORWARD")
        }
        Some(cluster) => compile_cluster(cluster, cluster_header, at).map(Some),
        None => Some(None),
    });
    Some(match policy {
        UnknownAuthorityPolicy::Forward => UnknownAuthority::Forward(cluster?),
        UnknownAuthorityPolicy::NotFound => {
            cluster?;
            UnknownAuthority::Reply(LocalReply::new(404, "route_not_found"))
        }
        UnknownAuthorityPolicy::Reject => {
            cluster?;
            UnknownAuthority::Reply(LocalReply::new(502, "direct_response"))
        }
    })
}
