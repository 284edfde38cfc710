use super::{
    Block, Field, access,
    value::{array, quoted, table},
};
use crate::{
    config::{
        file::keys,
        plan::{Acme, Listener, ListenerTls, Pair},
    },
    tls::Version,
    units::{ByteSize, ListenAddress, Span},
};

fn times(listener: &Listener, timeouts: &mut Block) {
    timeouts.span("header", listener.timeouts.header);
    timeouts.span("idle", listener.timeouts.idle);
    let age = listener.timeouts.max_connection_age.map(Span);
    let age = age.map_or_else(|| "none".to_owned(), |age| age.to_string());
    timeouts.text("max_connection_age", age);
    if listener.tls.is_some() {
        timeouts.span("handshake", listener.timeouts.handshake);
    }
}

fn limits(listener: &Listener, block: &mut Block) {
    let limits = &listener.limits;
    block.put("connections", limits.connections.to_string());
    if let Some(most) = limits.connections_per_client {
        block.put("connections_per_client", most.to_string());
    }
    block.text("header_bytes", ByteSize(u64::from(limits.header_bytes)));
    block.put("headers", limits.headers.to_string());
    if listener.tls.is_some() {
        block.put("handshakes", limits.handshakes.to_string());
    }
}

fn trusted(listener: &Listener, block: &mut Block) {
    let networks = listener.trusted_proxies.written();
    if !networks.is_empty() {
        block.put("trusted_proxies", array(networks));
    }
}

pub fn describe(listener: &Listener, blocks: &mut Vec<Block>) {
    let identity = listener.address.to_string();
    let mut block = Block::item("listeners", &identity, keys::LISTENER);
    block.text("address", &listener.address);
    if let ListenAddress::Unix(_) = listener.address {
        block.text("mode", format!("{:04o}", listener.mode));
        if let Some(group) = &listener.group {
            block.text("group", group);
        }
    }
    trusted(listener, &mut block);
    access(&listener.access, &mut block);
    block.put("via", listener.via.to_string());
    if let Some(sampled) = listener.traceparent {
        block.text("traceparent", sampled);
    }
    block.put("proxy_protocol", listener.proxy_protocol.to_string());
    block.put("preview", listener.preview.to_string());
    let h2 = listener.h2.then_some("h2");
    block.put("protocols", array(h2.into_iter().chain(["http/1.1"])));
    let redirects = match listener.redirect_https {
        None => false.to_string(),
        Some(443) => true.to_string(),
        Some(port) => format!("{{ port = {port} }}"),
    };
    block.put("redirect_https", redirects);
    blocks.push(block);
    let within = |key: &str, section| {
        let mut block = Block::table(format!("listeners.{key}"), section);
        block.name = format!("listeners {identity}.{key}");
        block
    };
    let mut timeouts = within("timeouts", keys::LISTENER_TIMEOUTS);
    times(listener, &mut timeouts);
    let mut limits = within("limits", keys::LISTENER_LIMITS);
    self::limits(listener, &mut limits);
    if let Some(tls) = &listener.tls {
        blocks.push(self::tls(tls, within("tls", keys::LISTENER_TLS)));
        blocks.extend(
            tls.acme
                .as_ref()
                .map(|it| acme(it, within("tls.acme", keys::ACME))),
        );
        if let Some(auth) = &tls.client_auth {
            let mut block = within("tls.client_auth", keys::CLIENT_AUTH);
            block.text("ca", &auth.ca);
            if let Some(crl) = &auth.crl {
                block.text("crl", crl);
            }
            let mode = if auth.required {
                "required"
            } else {
                "optional"
            };
            block.text("mode", mode);
            blocks.push(block);
        }
        if let Some(hsts) = &tls.hsts {
            let mut block = within("tls.hsts", keys::HSTS);
            block.span("max_age", hsts.max_age);
            // The table alone says something.
            block.entries[0].usual = false;
            block.put("include_subdomains", hsts.include_subdomains.to_string());
            block.put("preload", hsts.preload.to_string());
            blocks.push(block);
        }
    }
    blocks.extend([timeouts, limits]);
}

fn tls(tls: &ListenerTls, mut block: Block) -> Block {
    let pair = |pair: &Pair| {
        let fields = [("cert", quoted(&pair.cert)), ("key", quoted(&pair.key))];
        table(fields.into_iter()).unwrap_or_default()
    };
    if !tls.certificates.is_empty() {
        let pairs = tls.certificates.iter().map(pair).collect();
        block.put("certificates", Field::List(pairs));
    }
    let version = match tls.min_version {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    };
    block.text("min_version", version);
    block.put("strict_sni", tls.strict_sni.to_string());
    block
}

fn acme(acme: &Acme, mut block: Block) -> Block {
    block.put("hosts", array(&acme.hosts));
    if let Some(email) = &acme.email {
        block.text("email", email);
    }
    block.text("directory", &acme.directory);
    let challenge = if acme.by_handshake {
        "tls-alpn-01"
    } else {
        "http-01"
    };
    block.text("challenge", challenge);
    block.span("renew_before", acme.renew_before);
    if let Some(ca) = &acme.ca {
        block.text("ca", &ca.path);
    }
    block
}
