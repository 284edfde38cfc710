//! Where a probe knocks.

use std::sync::Arc;

use crate::{
    config::plan::{Probe, ProbeKind},
    units::Address,
};

/// The endpoint's address, or the same host at the probe's own port. A Unix socket has no port, and stays what it is.
pub fn place(address: &Address, probe: &Probe) -> Address {
    match (address, probe.port) {
        (Address::Ip(address), Some(port)) => {
            let mut address = *address;
            address.set_port(port);
            Address::Ip(address)
        }
        (Address::Named(host, _), Some(port)) => Address::Named(Arc::clone(host), port),
        (address, _) => address.clone(),
    }
}

/// What is probed, for a person: `http://10.0.0.1:3000/readyz`, `tcp://10.0.0.1:3000`, `http://unix:/run/app.sock:/`.
pub fn url(address: &Address, probe: &Probe) -> String {
    let address = place(address, probe);
    let safe = probe.transport.tls.is_some();
    let scheme = match &probe.kind {
        ProbeKind::Http(_) if safe => "https",
        ProbeKind::Http(_) => "http",
        ProbeKind::Tcp if safe => "tls",
        ProbeKind::Tcp => "tcp",
        ProbeKind::Grpc(_) => "grpc",
    };
    let (path, beside) = match &probe.kind {
        ProbeKind::Tcp => ("", ""),
        ProbeKind::Http(http) => ("", &*http.path),
        ProbeKind::Grpc(service) => ("/", &**service),
    };
    match (&probe.kind, &address) {
        (ProbeKind::Tcp, Address::Unix(_)) => address.to_string(),
        (_, Address::Unix(_)) => format!("{scheme}://{address}:{path}{beside}"),
        _ => format!("{scheme}://{address}{path}{beside}"),
    }
}
