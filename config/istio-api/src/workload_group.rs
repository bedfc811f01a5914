//! WorkloadGroup: what the WorkloadEntries of a group of machines are made from.

use crate::resource::Kind;
use crate::scalar::{HeaderName, Labels, Optional, Port};
use crate::{Annotations, Metadata, WorkloadEntry};
use plugin_config::{At, Quoted};

plugin_config::object! {
    /// What WorkloadEntries are made from.
    #[derive(Clone, Debug, PartialEq)]
    pub struct WorkloadGroup {
        /// Labels and annotations that they get.
        pub metadata: Option<GroupMetadata> = "metadata",
        /// Their other fields.
        pub template: WorkloadEntry = "template",
        /// How it is found out whether they are ready.
        pub probe: Option<ReadinessProbe> = "probe",
    }

    /// Labels and annotations of WorkloadEntries.
    #[derive(Clone, Debug, PartialEq)]
    pub struct GroupMetadata {
        /// Labels.
        pub labels: Labels = "labels",
        /// Annotations.
        pub annotations: Annotations = "annotations",
    }

    /// How it is found out whether a workload is ready: one of the four ways.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ReadinessProbe {
        /// When it is asked first, in seconds.
        pub initial_delay_seconds: Option<u32> = "initialDelaySeconds",
        /// How long it may take, in seconds; 1 when absent or 0.
        pub timeout_seconds: Option<u32> = "timeoutSeconds",
        /// How often it is asked, in seconds; 10 when absent or 0.
        pub period_seconds: Option<u32> = "periodSeconds",
        /// How many answers make it ready; 1 when absent or 0.
        pub success_threshold: Option<u32> = "successThreshold",
        /// How many failures make it unready; 1 when absent or 0.
        pub failure_threshold: Option<u32> = "failureThreshold",
        /// By a request: 200 to 399 is ready.
        pub http_get: Option<HttpProbe> = "httpGet",
        /// By a connection.
        pub tcp_socket: Option<TcpProbe> = "tcpSocket",
        /// By a command: 0 is ready.
        pub exec: Option<ExecProbe> = "exec",
        /// By gRPC's health service.
        pub grpc: Option<GrpcProbe> = "grpc",
    }

    /// Asks by a request.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HttpProbe {
        /// The path; `/` when absent.
        pub path: Optional<String> = "path",
        /// The port.
        pub port: Port = "port",
        /// The address; the workload's when absent.
        pub host: Optional<String> = "host",
        /// `HTTP` (when absent) or `HTTPS`.
        pub scheme: Optional<String> = "scheme",
        /// Headers of the request.
        pub http_headers: Vec<ProbeHeader> = "httpHeaders",
    }

    /// A header of a request.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ProbeHeader {
        /// Its name.
        pub name: HeaderName = "name",
        /// Its value.
        pub value: String = "value" or String::new(),
    }

    /// Asks by a connection.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TcpProbe {
        /// The address; the workload's when absent.
        pub host: Optional<String> = "host",
        /// The port.
        pub port: Port = "port",
    }

    /// Asks by a command.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ExecProbe {
        /// The command, and its arguments.
        pub command: Vec<String> = "command",
    }

    /// Asks gRPC's health service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct GrpcProbe {
        /// The port.
        pub port: Option<Port> = "port",
        /// What it is asked about.
        pub service: Optional<String> = "service",
    }
}

impl Kind for WorkloadGroup {
    const KIND: &'static str = "WorkloadGroup";
    const GROUP: &'static str = "networking.istio.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1", "v1alpha3"];

    fn validate(&self, _: &Metadata, at: &mut At) {
        at.field("template", |at| self.template.check_template(at));
        if let Some(probe) = &self.probe {
            at.field("probe", |at| probe.check(at));
        }
    }
}

impl ReadinessProbe {
    fn check(&self, at: &mut At) {
        let ways = [self.http_get.is_some(), self.tcp_socket.is_some(), self.exec.is_some(), self.grpc.is_some()];
        if ways.into_iter().filter(|given| *given).count() != 1 {
            at.refuse("", "expected exactly one of httpGet, tcpSocket, exec and grpc");
        }
        if let Some(scheme) = self.http_get.as_ref().and_then(|probe| probe.scheme.as_deref())
            && !["HTTP", "HTTPS"].contains(&scheme)
        {
            let refuse = |at: &mut At| at.refuse(Quoted(scheme), "expected HTTP or HTTPS");
            at.field("httpGet", |at| at.field("scheme", refuse));
        }
        if self.exec.as_ref().is_some_and(|probe| probe.command.is_empty()) {
            at.field("exec", |at| at.field("command", |at| at.refuse("[]", "expected a command")));
        }
    }
}
