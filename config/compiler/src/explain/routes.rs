//! Virtual host and routes: which matched, and for each before it what did not.

use super::actions::Target;
use super::exchange::Outcome;
use super::{DescribedRequest, Walk, condition, place, refused};
use crate::compile::{CompileError, FilterConfigs, Origins};
use header_rules::{Compiled, Decision, RouteConfig, UnknownAuthorityPolicy, VirtualHostConfig};
use http_match::Request;
use plugin_config::At;

impl Walk<'_, '_> {
    /// Explains how a request is routed that came in on `port`. Where it may go.
    pub(super) fn routes(
        &mut self,
        at: &str,
        configs: &FilterConfigs,
        origins: &Origins,
        port: u16,
        request: &DescribedRequest,
        outcome: &Outcome,
    ) -> Result<Vec<Target>, CompileError> {
        let mut faults = At::root();
        let compiled = Compiled::compile(&configs.header_rules, &mut faults);
        let Some(compiled) = compiled.filter(|_| faults.is_good()) else { return Err(refused(&faults.into_faults())) };
        let headers = request.header_list();
        let mut asked = Request::new(&headers);
        asked.port = compiled.addressed_port(Some(port), request.authority.as_bytes());
        let (name, chosen) = match compiled.decide(&asked) {
            Decision::Route(host, route, _) => (host.name(), Some(route.id())),
            Decision::NoRoute(host) => (host.name(), None),
            Decision::UnknownAuthority | Decision::Unrouted => {
                let verdict = unknown(configs);
                self.push(at, format!("authority {}", request.authority), verdict);
                return Ok(Vec::new());
            }
        };
        let hosts = &configs.header_rules.virtual_hosts;
        let Some(host) = hosts.iter().find(|host| host.name.as_deref() == name) else { return Ok(Vec::new()) };
        self.push(at, "virtual host", host.name.clone().unwrap_or_default());
        match self.route(at, configs, host, chosen, &asked, origins) {
            Some(route) => Ok(self.actions(at, configs, route, request, outcome)),
            None => {
                self.push(at, "answer", "404: no route of the virtual host matches, and no other is tried");
                Ok(Vec::new())
            }
        }
    }

    /// The chosen route, behind those before it. `chosen`: its id, if there is one.
    fn route<'h>(
        &mut self,
        at: &str,
        configs: &FilterConfigs,
        host: &'h VirtualHostConfig,
        chosen: Option<Option<&str>>,
        request: &Request<'_>,
        origins: &Origins,
    ) -> Option<&'h RouteConfig> {
        for route in &host.routes {
            let id = route.id.as_deref();
            let subject = format!("route {}", id.unwrap_or("default"));
            let place = place(origins, id);
            if chosen == Some(id) {
                self.push_placed(at, subject, "matches", place);
                return Some(route);
            }
            let unmet = |wanted| condition::unmet(wanted, request, &configs.jwt_authn).join(" and ");
            let unmet: Vec<String> = route.matches.iter().map(unmet).collect();
            self.push_placed(at, subject, format!("does not match: not {}", unmet.join("; nor ")), place);
        }
        None
    }
}

fn unknown(configs: &FilterConfigs) -> &'static str {
    match configs.header_rules.unknown_authority.as_ref().map(|unknown| unknown.policy) {
        Some(UnknownAuthorityPolicy::Forward) => {
            "no service has it on this port: forwarded as it is (ALLOW_ANY), without any policy"
        }
        Some(UnknownAuthorityPolicy::Reject) => "no service has it on this port: 502 (REGISTRY_ONLY)",
        _ => "no virtual host has it: 404",
    }
}
