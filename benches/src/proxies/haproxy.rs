//! HAProxy's configuration: one thread, keep-alive on both sides, no log.

use crate::load::Protocol;
use crate::proxies::{Setup, StartError, Surroundings, installed, write};
use std::process::Command;

pub(super) fn command(setup: &Setup, port: u16, surroundings: &Surroundings<'_>) -> Result<Command, StartError> {
    let binary = installed("haproxy")?;
    let certificates = surroundings.certificates;
    let bind = match (setup.listener.tls, setup.listener.protocol) {
        (false, Protocol::Http1) => String::new(),
        (false, Protocol::Http2 { .. }) => "proto h2".into(),
        (true, _) => format!(
            "ssl crt {} ca-file {} verify required alpn h2,http/1.1",
            certificates.bundle.display(),
            certificates.authority.display()
        ),
    };
    let text = format!(
        "global\n  nbthread 1\n  maxconn 5000\n  ssl-server-verify none\n\
         defaults\n  mode http\n  timeout client 1h\n  timeout server 1h\n  timeout connect 5s\n  http-reuse always\n\
         frontend bench\n  bind 127.0.0.1:{port} {bind}\n  default_backend upstream\n\
         backend upstream\n  server upstream 127.0.0.1:{upstream} pool-max-conn 5000\n",
        upstream = surroundings.upstream
    );
    let file = write(surroundings, &format!("haproxy-{port}.cfg"), &text)?;
    let mut command = Command::new(binary);
    command.args(["-db", "-f"]).arg(file);
    Ok(command)
}
