//! Routes of VirtualServices → routes and policies of the filters.

use super::claims;
use super::destination_rule::{cluster_name, consistent_hash};
use super::filters::FilterConfigs;
use super::origin::{Origin, Origins};
use crate::finding::Message;
use crate::mesh::destination_rules::Said;
use crate::mesh::names::{MESH, full_name, gateway_name};
use crate::mesh::virtual_services::{HttpEntry, RoutedHosts};
use crate::mesh::{Mesh, Service, Workload};
use crate::report::{Field, Report};
use fault_injection::FaultPolicy;
use filter_api::{HeaderOperationsConfig, HeadersConfig};
use header_rules::RouteConfig;
use istio_api::destination_rule::ConsistentHash;
use istio_api::scalar::{Count, DnsLabel, HeaderName, Millis, Port, Status, WholePercent};
use istio_api::virtual_service::{self, Destination, HttpMatchRequest, HttpRoute, HttpRouteDestination, Retries};
use plugin_config::{Duration, ListMap};
use weighted_shifting::{HashKey, ShiftingPolicy};

/// How often a request that failed is sent again where nothing is said: Istio's default.
const DEFAULT_RETRIES: u32 = 2;

/// What routes are made for, and with.
pub(crate) struct RouteCompiler<'c, 'r> {
    pub(crate) mesh: &'c Mesh<'r>,
    pub(crate) client: &'c Workload,
    /// `mesh`, or the gateways that the proxy is.
    pub(crate) gateways: &'c [String],
    pub(crate) configs: &'c mut FilterConfigs,
    pub(crate) origins: &'c mut Origins,
    pub(crate) report: &'c mut Report,
}

impl RouteCompiler<'_, '_> {
    /// The routes of a VirtualService for requests to a port, in order.
    pub(crate) fn routes(&mut self, routed: &RoutedHosts<'_>, port: u16) -> Vec<RouteConfig> {
        let mut routes = Vec::with_capacity(routed.http.len());
        for entry in &routed.http {
            let Some(matches) = self.dynamic_matches(&entry.route, entry, port) else { continue };
            let route = self.route(routed, entry, matches, port);
            let is_last = takes_all(&route);
            routes.push(route);
            if is_last {
                break;
            }
        }
        routes
    }

    /// The route of a service that no VirtualService routes.
    pub(crate) fn default_route(&mut self, service: &Service, port: u16) -> RouteConfig {
        let cluster = cluster_name(port, "", &service.hostname);
        let mut route = RouteConfig { retries: Some(self.retries(None)), ..RouteConfig::default() };
        match consistent_hash(self.mesh, self.client, service, port, None) {
            None => route.cluster = Some(cluster),
            Some(hash) => {
                let id = format!("default/{}:{port}", service.hostname);
                let destination = weighted_shifting::Destination { cluster, ..Default::default() };
                let policy = ShiftingPolicy {
                    destinations: vec![destination],
                    hash: Some(hash_key(&hash)),
                    ..ShiftingPolicy::default()
                };
                self.origins.insert(id.clone(), Origin::of(service, &service.path));
                self.configs.weighted_shifting.routes.0.push((id.clone(), policy));
                route.id = Some(id);
            }
        }
        route
    }

    /// What of a route's matches is left to be decided for each request; `None` when none can hold at this proxy.
    fn dynamic_matches(
        &mut self,
        route: &HttpRoute,
        entry: &HttpEntry<'_>,
        port: u16,
    ) -> Option<Vec<http_match::HttpMatchRequest>> {
        let holds = |wanted: &&HttpMatchRequest| {
            let namespace = entry.owner.metadata.namespace();
            wanted.request.port.is_none_or(|wanted| wanted == port) && self.is_for(wanted, namespace)
        };
        let left: Vec<_> = route.matches.iter().filter(holds).collect();
        let left: Vec<_> = left.into_iter().map(|wanted| dynamic(wanted, &mut self.configs.jwt_authn)).collect();
        if self.configs.jwt_authn.providers.is_empty() && !self.configs.jwt_authn.claim_headers.is_empty() {
            self.without_claims(route, entry);
        }
        (route.matches.is_empty() || !left.is_empty()).then_some(left)
    }

    /// Says which conditions are on claims, where no request has any.
    fn without_claims(&mut self, route: &HttpRoute, entry: &HttpEntry<'_>) {
        for (index, wanted) in route.matches.iter().enumerate() {
            let lists = [("headers", &wanted.request.headers), ("withoutHeaders", &wanted.request.without_headers)];
            for (list, conditions) in lists {
                for (name, _) in conditions.iter().filter(|(name, _)| claims::is_claim(name)) {
                    let path = format!("{}.match[{index}].{list}", entry.path);
                    let reason = "no RequestAuthentication is for this proxy: no request has claims";
                    self.report.notice(Field { name: entry.owner, path: &path }, name, reason);
                }
            }
        }
    }

    /// Gateways alone decide where they are given; else the client must be one of those meant.
    fn is_for(&self, wanted: &HttpMatchRequest, namespace: &str) -> bool {
        if !wanted.gateways.is_empty() {
            let named = |gateway: &String| self.gateways.contains(&gateway_name(gateway, namespace));
            return wanted.gateways.iter().any(named);
        }
        let of_namespace = wanted.source_namespace.as_ref().map(DnsLabel::as_str);
        wanted.source_labels.select(&self.client.labels)
            && of_namespace.is_none_or(|namespace| namespace == self.client.namespace)
    }

    fn route(
        &mut self,
        routed: &RoutedHosts<'_>,
        entry: &HttpEntry<'_>,
        matches: Vec<http_match::HttpMatchRequest>,
        port: u16,
    ) -> RouteConfig {
        let written = &*entry.route;
        let id = self.origins.claim(route_id(routed, entry), port, Origin::of(entry.owner, &entry.path));
        let mut route = RouteConfig {
            id: Some(id.clone()),
            matches,
            redirect: written.redirect.as_ref().map(redirect),
            direct_response: written.direct_response.as_ref().map(direct_response),
            rewrite: written.rewrite.as_ref().map(rewrite),
            timeout: written.timeout.map(millis),
            ..RouteConfig::default()
        };
        if let Some(fault) = &written.fault {
            self.configs.fault_injection.routes.0.push((id.clone(), fault_policy(fault)));
        }
        if let Some(policy) = &written.cors_policy {
            self.configs.cors.routes.0.push((id.clone(), cors_policy(policy)));
        }
        if written.redirect.is_some() || written.direct_response.is_some() {
            route.headers = written.headers.as_ref().map(headers);
            return route;
        }
        route.retries = Some(self.retries(written.retries.as_ref()));
        self.destinations(&mut route, entry, port);
        let mirrors = self.mirrors(entry, port);
        if !mirrors.is_empty() {
            let policy = mirroring::MirrorPolicy { mirrors, ..Default::default() };
            self.configs.mirroring.routes.0.push((id, policy));
        }
        route
    }

    /// One destination of which nothing else is said stands with the route; anything more is weighted-shifting's.
    fn destinations(&mut self, route: &mut RouteConfig, entry: &HttpEntry<'_>, port: u16) {
        let written = &*entry.route;
        let mut hashes: Vec<Said<'_, ConsistentHash>> = Vec::new();
        let mut destinations = Vec::with_capacity(written.route.len());
        for (index, destination) in written.route.iter().enumerate() {
            let path = format!("{}.route[{index}].destination", entry.path);
            let (cluster, hash) = self.cluster(&destination.destination, entry, &path, port);
            hashes.extend(hash);
            destinations.push(shifted(cluster, destination));
        }
        let route_headers = written.headers.as_ref().map(headers);
        let plain = hashes.is_empty() && written.route.iter().all(|destination| destination.headers.is_none());
        match destinations.as_mut_slice() {
            [only] if plain => {
                route.cluster = Some(std::mem::take(&mut only.cluster));
                route.headers = route_headers;
            }
            [] => route.headers = route_headers,
            _ => {
                let own = written.route.iter().any(|destination| destination.headers.is_some());
                let hash = hashes.first().map(|hash| hash_key(hash));
                if let Some(other) =
                    hashes.iter().find(|other| hashes.first().is_some_and(|one| one.value != other.value))
                {
                    let reason = "destinations of one route are hashed by one key: that of the first is used";
                    self.report.notice(Field { name: other.rule, path: &other.path }, "", reason);
                }
                let (shifting_headers, headers) = if own { (route_headers, None) } else { (None, route_headers) };
                route.headers = headers;
                let policy = ShiftingPolicy { destinations, headers: shifting_headers, hash, ..Default::default() };
                let id = route.id.clone().unwrap_or_default();
                self.configs.weighted_shifting.routes.0.push((id, policy));
            }
        }
    }

    fn mirrors(&mut self, entry: &HttpEntry<'_>, port: u16) -> Vec<mirroring::Mirror> {
        let written = &*entry.route;
        let mut mirrors = Vec::new();
        if let Some(destination) = &written.mirror {
            let percentage = written
                .mirror_percentage
                .or_else(|| written.mirror_percent.or(written.mirror_percent_snake).and_then(whole_percent));
            let path = format!("{}.mirror", entry.path);
            let (cluster, _) = self.cluster(destination, entry, &path, port);
            mirrors.push(mirroring::Mirror { cluster, percentage });
        }
        for (index, mirror) in written.mirrors.iter().enumerate() {
            let path = format!("{}.mirrors[{index}].destination", entry.path);
            let (cluster, _) = self.cluster(&mirror.destination, entry, &path, port);
            mirrors.push(mirroring::Mirror { cluster, percentage: mirror.percentage });
        }
        mirrors
    }

    /// The cluster that a destination names, and how requests are hashed for it. What is not there costs 503, as in
    /// Istio, and is said.
    fn cluster<'s>(
        &mut self,
        destination: &Destination,
        entry: &HttpEntry<'_>,
        path: &str,
        port: u16,
    ) -> (String, Option<Said<'s, ConsistentHash>>)
    where
        Self: 's,
    {
        let meant = Meant::by(destination, entry.owner.metadata.namespace(), self.mesh, self.client, port);
        let Meant { host, service, port, subset } = &meant;
        let path = |field: &str| format!("{path}.{field}");
        let Some(service) = service else {
            let (path, reason) = (path("host"), "no such service: requests get 503");
            let field = Field { name: entry.owner, path: &path };
            self.report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, host, reason);
            return (meant.cluster_name(), None);
        };
        if service.port(*port).is_none() {
            let (path, reason) = (path("port"), format!("{host} has no such port: requests get 503"));
            let message = match destination.port {
                Some(_) => &Message::REFERENCED_RESOURCE_NOT_FOUND,
                None => &Message::VIRTUAL_SERVICE_DESTINATION_PORT_SELECTOR_REQUIRED,
            };
            self.report.find(message, Field { name: entry.owner, path: &path }, port, reason);
        } else if let Some(name) = subset
            && self.mesh.subset_labels(self.client, service, name).is_none()
        {
            let reason = format!("no DestinationRule gives {host} such a subset: requests get 503");
            let path = path("subset");
            let field = Field { name: entry.owner, path: &path };
            self.report.find(&Message::REFERENCED_RESOURCE_NOT_FOUND, field, name, reason);
        }
        let hash = consistent_hash(self.mesh, self.client, service, *port, *subset);
        (meant.cluster_name(), hash)
    }

    fn retries(&self, written: Option<&Retries>) -> header_rules::RetriesConfig {
        written.or(self.mesh.settings.default_retries()).map_or_else(default_retries, retries)
    }
}

/// What a destination means.
pub(super) struct Meant<'m> {
    host: String,
    /// Without, there is none.
    service: Option<&'m Service>,
    /// The one that is given, or the service's only one, or the one that was asked for.
    port: u16,
    subset: Option<&'m str>,
}

impl<'m> Meant<'m> {
    /// What a resource of a namespace means by a destination, for requests of a client to a port.
    pub(super) fn by(
        destination: &'m Destination,
        namespace: &str,
        mesh: &'m Mesh<'_>,
        client: &Workload,
        port: u16,
    ) -> Self {
        let host = full_name(destination.host.as_str(), namespace, &mesh.settings.domain);
        let service = mesh.registry.find(&host, &client.namespace);
        let only = service.and_then(|service| match service.ports.as_slice() {
            [only] => Some(only.number),
            _ => None,
        });
        let port = destination.port.map(|port| port.number.get()).or(only).unwrap_or(port);
        let subset = destination.subset.as_ref().map(DnsLabel::as_str);
        Self { host, service, port, subset }
    }

    pub(super) fn cluster_name(&self) -> String {
        cluster_name(self.port, self.subset.unwrap_or_default(), &self.host)
    }
}

/// `namespace/name/route`, each as it is written.
fn route_id(routed: &RoutedHosts<'_>, entry: &HttpEntry<'_>) -> String {
    let metadata = &routed.resource.metadata;
    format!("{}/{}/{}", metadata.namespace(), metadata.name, entry.id)
}

fn retries(written: &Retries) -> header_rules::RetriesConfig {
    header_rules::RetriesConfig {
        attempts: written.attempts.get(),
        per_try_timeout: written.per_try_timeout.map(millis),
        retry_on: written.retry_on.to_option(),
    }
}

fn default_retries() -> header_rules::RetriesConfig {
    header_rules::RetriesConfig { attempts: DEFAULT_RETRIES, ..Default::default() }
}

/// Without what has been decided, and with claims as the headers that have them.
fn dynamic(written: &HttpMatchRequest, jwt_authn: &mut jwt_authn::Config) -> http_match::HttpMatchRequest {
    let request = &written.request;
    http_match::HttpMatchRequest {
        port: None,
        headers: claims::as_headers(&request.headers, jwt_authn),
        without_headers: claims::as_headers(&request.without_headers, jwt_authn),
        ..request.clone()
    }
}

/// Whether every request matches: any path, and nothing else is asked.
fn is_catch_all(wanted: &http_match::HttpMatchRequest) -> bool {
    use http_match::StringMatch::{Prefix, Regex};
    let any_path = match &wanted.uri {
        None => true,
        Some(Prefix(prefix)) => prefix == "/",
        Some(Regex(regex)) => regex == ".*",
        Some(_) => false,
    };
    let named = [&wanted.headers, &wanted.without_headers, &wanted.query_params];
    any_path
        && wanted.scheme.is_none()
        && wanted.method.is_none()
        && wanted.authority.is_none()
        && named.iter().all(|conditions| conditions.0.is_empty())
}

/// Whether a route takes every request.
pub(crate) fn takes_all(route: &RouteConfig) -> bool {
    route.matches.is_empty() || route.matches.iter().any(is_catch_all)
}

fn shifted(cluster: String, written: &HttpRouteDestination) -> weighted_shifting::Destination {
    weighted_shifting::Destination {
        cluster,
        weight: written.weight.map(Count::get),
        headers: written.headers.as_ref().map(headers),
    }
}

fn hash_key(said: &Said<'_, ConsistentHash>) -> HashKey {
    let hash = said.value;
    let cookie = |cookie: &istio_api::destination_rule::HttpCookie| weighted_shifting::Cookie {
        name: cookie.name.clone(),
        path: cookie.path.to_option(),
        ttl: cookie.ttl,
    };
    HashKey {
        http_header_name: hash.http_header_name.to_option(),
        http_cookie: hash.http_cookie.as_ref().map(cookie),
        use_source_ip: hash.use_source_ip == Some(true),
        http_query_parameter_name: hash.http_query_parameter_name.to_option(),
    }
}

fn millis(time: Millis) -> Duration {
    Duration(time.get())
}

fn whole_percent(percent: WholePercent) -> Option<plugin_config::Percent> {
    plugin_config::Percent::from_per_million(u32::from(percent.get()) * 10_000)
}

fn headers(written: &virtual_service::Headers) -> HeadersConfig {
    let operations = |written: &virtual_service::HeaderOperations| HeaderOperationsConfig {
        set: sorted(&written.set),
        add: sorted(&written.add),
        remove: written.remove.clone(),
    };
    HeadersConfig {
        request: written.request.as_ref().map(operations),
        response: written.response.as_ref().map(operations),
    }
}

/// Istio's maps act in the order of their keys.
fn sorted(written: &ListMap<String>) -> ListMap<String> {
    let mut sorted = written.clone();
    sorted.0.sort();
    sorted
}

fn redirect(written: &virtual_service::Redirect) -> header_rules::RedirectConfig {
    use virtual_service::DerivePort;
    header_rules::RedirectConfig {
        uri: written.uri.to_option(),
        prefix_rewrite: written.prefix_rewrite.to_option(),
        authority: written.authority.to_option(),
        scheme: written.scheme.to_option(),
        port: written.port.map(Port::get),
        derive_port: written.derive_port.map(|derive| match derive {
            DerivePort::FromProtocolDefault => header_rules::DerivePort::FromProtocolDefault,
            DerivePort::FromRequestPort => header_rules::DerivePort::FromRequestPort,
        }),
        redirect_code: written.redirect_code,
    }
}

fn direct_response(written: &virtual_service::DirectResponse) -> header_rules::DirectResponseConfig {
    let body = |body: &virtual_service::HttpBody| header_rules::BodyConfig {
        string: body.string.clone(),
        bytes: body.bytes.clone(),
    };
    header_rules::DirectResponseConfig { status: written.status.get(), body: written.body.as_ref().map(body) }
}

fn rewrite(written: &virtual_service::Rewrite) -> header_rules::RewriteConfig {
    let regex = |regex: &virtual_service::RegexRewrite| header_rules::RegexRewriteConfig {
        pattern: regex.pattern.clone(),
        rewrite: regex.rewrite.clone(),
    };
    header_rules::RewriteConfig {
        uri: written.uri.to_option(),
        authority: written.authority.to_option(),
        uri_regex_rewrite: written.uri_regex_rewrite.as_ref().map(regex),
    }
}

fn fault_policy(written: &virtual_service::Fault) -> FaultPolicy {
    let percent = |percent: WholePercent| u32::from(percent.get());
    FaultPolicy {
        delay: written.delay.as_ref().map(|delay| fault_injection::Delay {
            fixed_delay: delay.fixed_delay.map(millis).unwrap_or_default(),
            percentage: delay.percentage,
            percent: delay.percent.map(percent),
            exponential_delay: None,
        }),
        // One without a status does nothing, and was warned of.
        abort: written.abort.as_ref().filter(|abort| abort.http_status.is_some() || abort.grpc_status.is_some()).map(
            |abort| fault_injection::Abort {
                http_status: abort.http_status.map(Status::get),
                grpc_status: abort.grpc_status.to_option(),
                http2_error: None,
                percentage: abort.percentage,
                percent: None,
            },
        ),
    }
}

fn cors_policy(written: &virtual_service::CorsPolicy) -> cors::CorsPolicy {
    use virtual_service::UnmatchedPreflights as From;
    let names = |names: &[HeaderName]| names.iter().map(|name| name.as_str().to_owned()).collect();
    cors::CorsPolicy {
        allow_origins: written.allow_origins.clone(),
        allow_origin: written.allow_origin.clone(),
        allow_methods: written.allow_methods.clone(),
        allow_headers: names(&written.allow_headers),
        expose_headers: names(&written.expose_headers),
        max_age: written.max_age,
        allow_credentials: written.allow_credentials,
        unmatched_preflights: match written.unmatched_preflights {
            From::Unspecified => cors::UnmatchedPreflights::Unspecified,
            From::Forward => cors::UnmatchedPreflights::Forward,
            From::Ignore => cors::UnmatchedPreflights::Ignore,
        },
    }
}

/// What sidecars count as among gateways.
pub(crate) fn mesh_gateways() -> Vec<String> {
    vec![MESH.to_owned()]
}
