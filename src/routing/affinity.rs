use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, EXPIRES},
};
use sha2::Sha256;

use super::{Head, cookie::cookies, key::hash_ip};
use crate::units::{Name, Secret, Seed, StickyBy};

type Tag = Hmac<Sha256>;

/// What keeps a service's clients on one version: how a request's key is found, and how a client gets one.
///
/// Keys of one client differ between services, so that it is not the same people who get every new version first.
pub struct Affinity(By);

enum By {
    Cookie(Box<Cookie>),
    Header(HeaderName, Seed),
    Ip(Seed),
}

struct Cookie {
    name: String,
    max_age: u64,
    /// Keyed for this service; cloned for each cookie, so that only the cookie itself is hashed.
    tag: Tag,
}

/// A new key for a client, and the `Set-Cookie` that makes it last.
pub struct Minted {
    pub key: u64,
    pub set_cookie: HeaderValue,
}

const ID: usize = 8;
/// 128 bits of the tag (RFC 2104 §5).
const TAG: usize = 16;
const RAW: usize = ID + TAG;
const TEXT: usize = RAW / 3 * 4;

/// A client that sends more cookies of our name than this makes work and gets a new one.
const TRIED: usize = 4;

impl Affinity {
    /// `secret` makes the keys and keeps cookies from being forged: machines that share it agree.
    pub fn new(service: &Name, by: &StickyBy, secret: &Secret) -> Self {
        let tag = service_tag(service, secret);
        let seed = || {
            let bytes = tag.clone().chain_update(b"seed").finalize().into_bytes();
            Seed::new(std::array::from_fn(|index| bytes[index]))
        };
        Self(match by {
            StickyBy::Cookie { max_age } => By::Cookie(Box::new(Cookie {
                name: format!("cutover_{service}"),
                max_age: max_age.as_secs(),
                tag,
            })),
            StickyBy::Header(name) => By::Header(name.clone(), seed()),
            StickyBy::Ip => By::Ip(seed()),
        })
    }

    /// The request's key; `None` where it has no header of that name, or no authentic cookie.
    pub fn key(&self, head: &Head, client: IpAddr) -> Option<u64> {
        match &self.0 {
            By::Cookie(cookie) => cookie.key(head.headers),
            By::Header(name, seed) => head
                .headers
                .get(name)
                .map(|value| seed.hash(value.as_bytes())),
            By::Ip(seed) => Some(hash_ip(*seed, client)),
        }
    }

    /// A key for a client that has none; `None` where clients are not given any. `secure`: the client speaks HTTPS.
    pub fn mint(&self, random: u64, secure: bool) -> Option<Minted> {
        match &self.0 {
            By::Cookie(cookie) => Some(cookie.mint(random, secure)),
            By::Header(..) | By::Ip(_) => None,
        }
    }
}

/// Keyed apart for every service, so that a cookie of one is worth nothing at another.
fn service_tag(service: &Name, secret: &Secret) -> Tag {
    let tag = Tag::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
    let tag = tag
        .chain_update(b"cutover sticky 1\0")
        .chain_update(service.as_str());
    Tag::new_from_slice(&tag.finalize().into_bytes()).expect("HMAC takes keys of any length")
}

impl Cookie {
    fn key(&self, headers: &HeaderMap) -> Option<u64> {
        let ours = cookies(headers).filter(|(name, _)| *name == self.name.as_bytes());
        let mut values = ours.map(|(_, value)| value).take(TRIED);
        values.find_map(|value| self.read(value))
    }

    fn read(&self, value: &[u8]) -> Option<u64> {
        if value.len() != TEXT {
            return None;
        }
        let mut raw = [0; RAW];
        let length = URL_SAFE_NO_PAD.decode_slice(value, &mut raw).ok()?;
        let (id, tag) = raw[..length].split_at_checked(ID)?;
        let authentic = self.tag.clone().chain_update(id).verify_truncated_left(tag);
        authentic.ok()?;
        Some(u64::from_le_bytes(id.try_into().ok()?))
    }

    fn mint(&self, random: u64, secure: bool) -> Minted {
        let id = random.to_le_bytes();
        let tag = self.tag.clone().chain_update(id).finalize().into_bytes();
        let mut raw = [0; RAW];
        raw[..ID].copy_from_slice(&id);
        raw[ID..].copy_from_slice(&tag[..TAG]);
        let text = format!(
            "{}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{}",
            self.name,
            URL_SAFE_NO_PAD.encode(raw),
            self.max_age,
            if secure { "; Secure" } else { "" },
        );
        Minted {
            key: random,
            set_cookie: HeaderValue::from_str(&text)
                .expect("letters, digits and what is written here"),
        }
    }
}

/// Whether an answer may carry a client's own cookie: not if a shared cache might store it and hand the cookie to everybody
/// (RFC 9111 §3, §7.3).
///
/// `private` and `no-store` keep shared caches away. Without them `public`, `s-maxage`, `max-age`, `must-revalidate` and a date in
/// `Expires` invite them; a bare `no-cache`, or no word on caching at all, is taken for a page that is nobody else's.
pub fn may_set_cookie(answer: &HeaderMap) -> bool {
    let lines = answer.get_all(CACHE_CONTROL).into_iter();
    let directives = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let (mut invited, mut revalidated) = (false, false);
    for directive in directives.map(<[u8]>::trim_ascii) {
        // With fields named (`private="x"`) it speaks of these alone.
        let is = |name: &&[u8]| directive.eq_ignore_ascii_case(name);
        if KEPT_PRIVATE.iter().any(is) {
            return true;
        }
        let name = directive
            .split(|byte| *byte == b'=')
            .next()
            .unwrap_or(directive);
        invited |= SHARED
            .iter()
            .any(|shared| name.trim_ascii().eq_ignore_ascii_case(shared));
        revalidated |= is(&b"no-cache".as_slice());
    }
    let mut expires = answer.get_all(EXPIRES).into_iter();
    // A value that is no date (`0`, `-1`) has expired (RFC 9111 §5.3).
    let dated = expires.any(|value| value.as_bytes().trim_ascii().ends_with(b"GMT"));
    !invited && (revalidated || !dated)
}

const KEPT_PRIVATE: [&[u8]; 2] = [b"private", b"no-store"];
const SHARED: [&[u8]; 4] = [b"public", b"s-maxage", b"max-age", b"must-revalidate"];
