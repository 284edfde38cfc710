use std::net::IpAddr;

use super::{Head, cookie::cookies};
use crate::units::{HashKey, Seed};

/// What a pool's `hash:KEY` balancing hashes of a request; `None` where the request does not have it.
pub fn hash_key(by: &HashKey, head: &Head, client: Option<IpAddr>) -> Option<u64> {
    let seed = Seed::PUBLIC;
    match by {
        HashKey::Header(name) => head
            .headers
            .get(name)
            .map(|value| seed.hash(value.as_bytes())),
        HashKey::Cookie(name) => cookies(head.headers)
            .find(|(given, _)| *given == name.as_bytes())
            .map(|(_, value)| seed.hash(value)),
        HashKey::Ip => client.map(|client| hash_ip(seed, client)),
        HashKey::Path => Some(seed.hash(head.path.as_bytes())),
    }
}

/// A client's address; of IPv6 the /64, all of which one client may have (RFC 6177).
pub fn hash_ip(seed: Seed, client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => seed.hash(&address.octets()),
        IpAddr::V6(address) => seed.hash(&address.octets()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_64_and_a_mapped_one_its_ipv4() {
        let hash = |text: &str| hash_ip(Seed::PUBLIC, text.parse().unwrap());
        assert_eq!(hash("2001:db8:0:1::1"), hash("2001:db8:0:1:ffff::2"));
        assert_ne!(hash("2001:db8:0:1::1"), hash("2001:db8:0:2::1"));
        assert_eq!(hash("::ffff:192.0.2.1"), hash("192.0.2.1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
    }
}
