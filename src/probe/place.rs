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
    match (&probe.kind, &address) {
        (ProbeKind::Tcp, Address::Unix(_)) => address.to_string(),
        (ProbeKind::Tcp, _) => format!("tcp://{address}"),
        (ProbeKind::Http(http), Address::Unix(_)) => format!("http://{address}:{}", http.path),
        (ProbeKind::Http(http), _) => format!("http://{address}{}", http.path),
    }
}
