use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
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

    /// The request's key; `None` where it has no header of that name, no authentic cookie, or its client no address.
    pub fn key(&self, head: &Head, client: Option<IpAddr>) -> Option<u64> {
        match &self.0 {
            By::Cookie(cookie) => cookie.key(head.headers),
            By::Header(name, seed) => head
                .headers
                .get(name)
                .map(|value| seed.hash(value.as_bytes())),
            By::Ip(seed) => client.map(|client| hash_ip(*seed, client)),
        }
    }

    /// Whether keys are cookies' of ours, which nobody else can make.
    pub fn is_by_cookie(&self) -> bool {
        matches!(self.0, By::Cookie(_))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::routing::{Splitter, testing::assert_as_shared};

    fn affinity(service: &str, by: &StickyBy, secret: &str) -> Affinity {
        let secret = Secret::new(secret.as_bytes().to_vec());
        Affinity::new(&service.parse().unwrap(), by, &secret)
    }

    fn by_cookie() -> Affinity {
        let day = Duration::from_hours(24);
        affinity(
            "shop",
            &StickyBy::Cookie { max_age: day },
            "a secret of the state directory",
        )
    }

    fn key(affinity: &Affinity, headers: &[(&str, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| {
            (
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        let head = Head {
            method: &Method::GET,
            host: "",
            path: "/",
            query: None,
            headers: &headers.collect(),
        };
        affinity.key(&head, "192.0.2.1".parse().ok())
    }

    /// `cutover_shop=...`, as a client sends it back.
    fn pair(minted: &Minted) -> String {
        let text = minted.set_cookie.to_str().unwrap();
        text.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_says_all_that_a_browser_must_know() {
        let minted = by_cookie().mint(0x0123_4567_89ab_cdef, false).unwrap();
        assert_eq!(
            minted.set_cookie,
            "cutover_shop=782riWdFIwHCZeKtCIFqH7YbT3LSIkMR; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"
        );
        let secure = by_cookie().mint(7, true).unwrap().set_cookie;
        assert!(secure.to_str().unwrap().ends_with("; SameSite=Lax; Secure"));
    }

    #[test]
    fn a_client_that_brings_its_cookie_back_has_its_key_back() {
        let minted = by_cookie().mint(42, true).unwrap();
        let cookie = pair(&minted);
        assert_eq!(minted.key, 42);
        assert_eq!(key(&by_cookie(), &[("cookie", &cookie)]), Some(42));
        let among_others = format!("a=b; {cookie}; theme=dark");
        assert_eq!(
            key(
                &by_cookie(),
                &[("cookie", "x=y"), ("cookie", &among_others)]
            ),
            Some(42)
        );
    }

    #[test]
    fn a_cookie_that_is_not_ours_is_no_cookie() {
        let cookie = pair(&by_cookie().mint(42, true).unwrap());
        let value = cookie.strip_prefix("cutover_shop=").unwrap();
        let day = StickyBy::Cookie {
            max_age: Duration::from_hours(24),
        };
        let elsewhere = affinity("blog", &day, "a secret of the state directory");
        let guessed = affinity("shop", &day, "another secret");
        for forged in [
            String::new(),
            "cutover_shop".to_owned(),
            "cutover_shop=".to_owned(),
            format!("cutover_shop={}", "A".repeat(TEXT)),
            format!("cutover_shop={}", "!".repeat(TEXT)),
            format!("cutover_shop=\"{value}\""),
            format!("{cookie}A"),
            cookie[..cookie.len() - 1].to_owned(),
            cookie.replace("cutover_shop", "Cutover_shop"),
            pair(&elsewhere.mint(42, true).unwrap()).replace("blog", "shop"),
            pair(&guessed.mint(42, true).unwrap()),
        ] {
            assert_eq!(key(&by_cookie(), &[("cookie", &forged)]), None, "{forged}");
        }
    }

    #[test]
    fn the_first_authentic_cookie_counts_and_many_make_no_work() {
        let (first, second) = (
            by_cookie().mint(1, true).unwrap(),
            by_cookie().mint(2, true).unwrap(),
        );
        let forged = format!("cutover_shop={}; ", "A".repeat(TEXT));
        let both = format!("{}; {}", pair(&first), pair(&second));
        assert_eq!(key(&by_cookie(), &[("cookie", &both)]), Some(1));
        assert_eq!(
            key(&by_cookie(), &[("cookie", &(forged.clone() + &both))]),
            Some(1)
        );
        assert_eq!(
            key(&by_cookie(), &[("cookie", &(forged.repeat(TRIED) + &both))]),
            None
        );
    }

    proptest! {
        #[test]
        fn changing_any_letter_of_a_cookie_unmakes_it(random: u64, at in 0..TEXT, to in "[A-Za-z0-9_-]") {
            let cookie = pair(&by_cookie().mint(random, true).unwrap());
            let at = at + "cutover_shop=".len();
            let mut changed = cookie.clone();
            changed.replace_range(at..=at, &to);
            let expected = (changed == cookie).then_some(random);
            prop_assert_eq!(key(&by_cookie(), &[("cookie", &changed)]), expected);
        }

        #[test]
        fn no_bytes_in_a_cookie_do_any_harm(bytes in proptest::collection::vec(0x20..0x7f_u8, 0..80)) {
            let value = format!("cutover_shop={}", String::from_utf8(bytes).unwrap());
            prop_assert_eq!(key(&by_cookie(), &[("cookie", &value)]), None);
        }
    }

    #[test]
    fn a_header_or_an_address_is_the_same_key_wherever_the_secret_is_the_same() {
        let by = StickyBy::Header("x-user".parse().unwrap());
        let shop = affinity("shop", &by, "a secret of the state directory");
        assert_eq!(
            key(&shop, &[("x-user", "user-7")]),
            Some(0xba39_5c38_0b8d_0e82)
        );
        assert_eq!(
            key(&shop, &[("X-User", "user-7")]),
            Some(0xba39_5c38_0b8d_0e82)
        );
        assert_eq!(key(&shop, &[]), None);
        assert!(shop.mint(1, true).is_none());
        for other in [
            affinity("blog", &by, "a secret of the state directory"),
            affinity("shop", &by, "another"),
        ] {
            assert_ne!(
                key(&other, &[("x-user", "user-7")]),
                key(&shop, &[("x-user", "user-7")])
            );
        }
        let (first, again) = (
            affinity("shop", &StickyBy::Ip, "s"),
            affinity("shop", &StickyBy::Ip, "s"),
        );
        assert!(key(&first, &[]).is_some());
        assert_eq!(key(&first, &[("x-user", "user-7")]), key(&again, &[]));
        assert!(first.mint(1, true).is_none());
    }

    #[test]
    fn clients_are_spread_as_the_weights_say_however_they_are_known() {
        let by = StickyBy::Header("x-user".parse().unwrap());
        let (by_header, by_ip) = (
            affinity("shop", &by, "s"),
            affinity("shop", &StickyBy::Ip, "s"),
        );
        let (by_cookie, mut random) = (by_cookie(), Rng::with_seed(3));
        for weights in [&[90, 10][..], &[0, 1, 9999], &[5, 4, 3, 2, 1]] {
            let names = ["a", "b", "c", "d", "e"];
            let splitter = Splitter::new(names.into_iter().zip(weights.iter().copied()));
            assert_as_shared(
                weights,
                (0..100_000).map(|user| {
                    splitter.rendezvous(
                        key(&by_header, &[("x-user", &format!("user-{user}"))]).unwrap(),
                    )
                }),
            );
            let headers = HeaderMap::new();
            let head = Head {
                method: &Method::GET,
                host: "",
                path: "/",
                query: None,
                headers: &headers,
            };
            assert_as_shared(
                weights,
                (0..100_000_u32).map(|client| {
                    splitter.rendezvous(
                        by_ip
                            .key(&head, Some(IpAddr::V4((0x0a00_0000 + client).into())))
                            .unwrap(),
                    )
                }),
            );
            assert_as_shared(
                weights,
                (0..100_000).map(|_| {
                    let minted = by_cookie.mint(random.u64(..), true).unwrap();
                    splitter.rendezvous(minted.key)
                }),
            );
        }
    }
}
