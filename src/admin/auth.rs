//! Who asks, and whether they may.
//!
//! On a Unix socket the socket's mode and group have decided already, and the peer's uid says who it is. On TCP a token
//! says it; without one a caller on loopback may read. Host and Origin are checked, so that no web page drives the API.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Method, Uri, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Code, Problem};
use crate::{
    config::plan::{Role, Token},
    control::{Actor, ActorKind},
    units::Name,
};

/// Where a connection comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// The name of the user at the other end.
    Unix {
        user: String,
    },
    Tcp {
        client: SocketAddr,
    },
}

/// Who asks, and what they may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub actor: Actor,
    role: Role,
    /// The services it may write to; `None`: all.
    services: Option<Vec<Name>>,
}

impl Caller {
    /// Traffic of one service: shift, drain, endpoints.
    pub fn may_operate(&self, service: &str) -> Result<(), Problem> {
        self.has(Role::Operator)?;
        match &self.services {
            Some(services) if !services.iter().any(|name| name.as_str() == service) => {
                Err(Problem::new(
                    Code::Forbidden,
                    format!("{} may not change the service {service}", self.actor.name),
                )
                .hint("add the service to `services` of the token, under [admin] in the file"))
            }
            _ => Ok(()),
        }
    }

    /// The whole proxy: reload, revert.
    pub fn may_administer(&self) -> Result<(), Problem> {
        self.has(Role::Admin)
    }

    fn has(&self, least: Role) -> Result<(), Problem> {
        if self.role >= least {
            return Ok(());
        }
        let needed = match least {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        };
        Err(Problem::new(
            Code::Forbidden,
            format!(
                "{} has not the role {needed}, which this call needs",
                self.actor.name
            ),
        )
        .hint("`cutover token new` makes a token of another role"))
    }
}

/// Says who asks, or why nobody who may.
pub fn authenticate(
    peer: &Peer,
    method: &Method,
    headers: &HeaderMap,
    tokens: &[Token],
) -> Result<Caller, Problem> {
    let client = match peer {
        Peer::Unix { user } => return Ok(person(user, "socket", Role::Admin, None)),
        Peer::Tcp { client } => client,
    };
    not_driven_by_a_web_page(headers)?;
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return if client.ip().is_loopback() && (method == Method::GET || method == Method::HEAD) {
            Ok(person(
                "anonymous",
                "loopback",
                Role::Viewer,
                Some(Vec::new()),
            ))
        } else {
            Err(no_token("no token was sent"))
        };
    };
    let secret = bearer(given.as_bytes())
        .ok_or_else(|| no_token("the Authorization header is not `Bearer TOKEN`"))?;
    let token = find(tokens, secret).ok_or_else(|| no_token("the token is not known"))?;
    Ok(person(
        token.name.as_str(),
        "token",
        token.role,
        token.services.clone(),
    ))
}

fn person(name: &str, via: &str, role: Role, services: Option<Vec<Name>>) -> Caller {
    Caller {
        actor: Actor {
            name: name.to_owned(),
            kind: ActorKind::Person,
            via: via.to_owned(),
        },
        role,
        services,
    }
}

fn no_token(why: &str) -> Problem {
    Problem::new(Code::Unauthenticated, why).hint(
        "set CUTOVER_TOKEN, or send `Authorization: Bearer TOKEN`; `cutover token new` makes one",
    )
}

/// RFC 6750 §2.1; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, secret) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| secret.trim_ascii())
}

/// Compares with every token, whether or not one before it fits, and digests rather than texts: the time it takes tells
/// nothing of any token.
fn find<'a>(tokens: &'a [Token], secret: &[u8]) -> Option<&'a Token> {
    let digest: [u8; 32] = Sha256::digest(secret).into();
    let mut found = None;
    for token in tokens {
        let same: Choice = token.sha256.ct_eq(&digest);
        if same.into() {
            found = Some(token);
        }
    }
    found
}

/// A page that had its own name resolve to this machine (DNS rebinding) sends that name as Host; a page that calls
/// across origins sends its own as Origin. No program that means us does either.
fn not_driven_by_a_web_page(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("");
    let authority: Option<http::uri::Authority> = host.parse().ok();
    let name = authority.as_ref().map_or("", |authority| authority.host());
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if !is_address && !name.eq_ignore_ascii_case("localhost") {
        return Err(Problem::new(
            Code::HostNotAllowed,
            "call this address by its IP address or as localhost",
        ));
    }
    let foreign = headers.get(header::ORIGIN).is_some_and(|origin| {
        let origin = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.parse::<Uri>().ok());
        origin.as_ref().and_then(Uri::authority) != authority.as_ref()
    });
    let site = headers
        .get("sec-fetch-site")
        .map(http::HeaderValue::as_bytes);
    if foreign || matches!(site, Some(b"cross-site" | b"same-site")) {
        return Err(Problem::new(
            Code::OriginNotAllowed,
            "the request was made by a page of another origin",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Vec<Token> {
        let token = |name: &str, role, services: Option<Vec<&str>>| Token {
            name: name.parse().unwrap(),
            role,
            services: services
                .map(|names| names.iter().map(|name| name.parse().unwrap()).collect()),
            sha256: Sha256::digest(format!("secret of {name}")).into(),
        };
        vec![
            token("watcher", Role::Viewer, None),
            token("ci", Role::Operator, Some(vec!["shop"])),
            token("root", Role::Admin, None),
        ]
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                value.parse::<http::HeaderValue>().unwrap(),
            )
        });
        pairs.collect()
    }

    fn over_tcp(method: &Method, pairs: &[(&'static str, &str)]) -> Result<Caller, Code> {
        let peer = Peer::Tcp {
            client: "127.0.0.1:50000".parse().unwrap(),
        };
        authenticate(&peer, method, &headers(pairs), &tokens()).map_err(|problem| problem.0.code)
    }

    const HERE: (&str, &str) = ("host", "127.0.0.1:9900");

    #[test]
    fn the_peer_of_the_unix_socket_may_everything_under_its_own_name() {
        let peer = Peer::Unix { user: "ada".into() };
        let caller = authenticate(&peer, &Method::POST, &HeaderMap::new(), &[]).unwrap();
        assert_eq!(
            (caller.actor.name.as_str(), caller.actor.via.as_str()),
            ("ada", "socket")
        );
        assert!(caller.may_administer().is_ok() && caller.may_operate("shop").is_ok());
    }

    #[test]
    fn loopback_reads_without_a_token_and_writes_with_one() {
        let reader = over_tcp(&Method::GET, &[HERE]).unwrap();
        assert!(reader.may_operate("shop").is_err());
        assert_eq!(over_tcp(&Method::POST, &[HERE]), Err(Code::Unauthenticated));
        let ci = over_tcp(
            &Method::POST,
            &[HERE, ("authorization", "bearer secret of ci")],
        )
        .unwrap();
        assert_eq!(ci.actor.name, "ci");
    }

    #[test]
    fn a_caller_from_elsewhere_needs_a_token_to_read() {
        let peer = Peer::Tcp {
            client: "192.0.2.1:50000".parse().unwrap(),
        };
        let refused = authenticate(
            &peer,
            &Method::GET,
            &headers(&[("host", "10.0.0.1")]),
            &tokens(),
        );
        assert_eq!(refused.unwrap_err().0.code, Code::Unauthenticated);
    }

    #[test]
    fn a_wrong_token_is_refused_even_for_reading() {
        for wrong in [
            "Bearer secret of c",
            "Bearer ",
            "Bearer",
            "Basic c2VjcmV0",
            "secret of ci",
            "",
        ] {
            let refused = over_tcp(&Method::GET, &[HERE, ("authorization", wrong)]);
            assert_eq!(refused, Err(Code::Unauthenticated), "{wrong:?}");
        }
    }

    #[test]
    fn a_role_may_what_it_may_on_the_services_it_names() {
        let of =
            |secret: &str| over_tcp(&Method::POST, &[HERE, ("authorization", secret)]).unwrap();
        let (watcher, ci, root) = (
            of("Bearer secret of watcher"),
            of("Bearer secret of ci"),
            of("Bearer secret of root"),
        );
        assert!(watcher.may_operate("shop").is_err());
        assert!(
            ci.may_operate("shop").is_ok()
                && ci.may_operate("search").is_err()
                && ci.may_administer().is_err()
        );
        assert!(root.may_operate("search").is_ok() && root.may_administer().is_ok());
    }

    #[test]
    fn a_name_that_was_made_to_resolve_to_us_is_refused() {
        for host in [
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "",
            "127.0.0.1.evil.example",
            "a b",
        ] {
            assert_eq!(
                over_tcp(&Method::GET, &[("host", host)]),
                Err(Code::HostNotAllowed),
                "{host}"
            );
        }
        for host in ["localhost", "LOCALHOST:9900", "127.0.0.1", "[::1]:9900"] {
            assert!(over_tcp(&Method::GET, &[("host", host)]).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        for origin in ["https://evil.example", "http://127.0.0.1:3000", "null", ""] {
            let refused = over_tcp(&Method::GET, &[HERE, ("origin", origin)]);
            assert_eq!(refused, Err(Code::OriginNotAllowed), "{origin}");
        }
        let refused = over_tcp(&Method::GET, &[HERE, ("sec-fetch-site", "cross-site")]);
        assert_eq!(refused, Err(Code::OriginNotAllowed));
        assert!(over_tcp(&Method::GET, &[HERE, ("origin", "http://127.0.0.1:9900")]).is_ok());
    }
}
