//! Clients by their addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::Malformed;

/// Who a client may be: an address of a network, or one without an address, which has come by a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Ip(IpNet),
    Unix,
}

/// Networks, found in time that hardly grows with their number.
#[derive(Debug, Clone, Default)]
pub struct Networks {
    /// As the file has them.
    written: Vec<Network>,
    /// Those without an address are of them.
    unix: bool,
    /// Their first and last addresses, IPv4 as mapped into IPv6: in order, none within or beside another.
    ranges: Vec<(u128, u128)>,
}

/// Who may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `None`: everybody.
    pub allow: Option<Networks>,
    /// Wins over `allow`.
    pub deny: Networks,
}

impl Network {
    pub const EXPECTED: &str =
        "an address or a network, such as 10.0.0.0/8 or 192.0.2.7, or unix for Unix sockets";
}

impl FromStr for Network {
    type Err = Malformed;

    /// A single address is a network of one.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok();
        network
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            .map(Self::Ip)
            .ok_or_else(|| Malformed(format!("expected {}", Self::EXPECTED)))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(network) => network.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Networks {
    pub fn new(written: Vec<Network>) -> Self {
        let mut all: Vec<_> = written
            .iter()
            .filter_map(|network| match network {
                Network::Ip(network) => Some(network),
                Network::Unix => None,
            })
            .map(|network| (number(network.network()), number(network.broadcast())))
            .collect();
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        Self {
            unix: written.contains(&Network::Unix),
            written,
            ranges,
        }
    }

    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address.map(number) else {
            return self.unix;
        };
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }

    pub fn written(&self) -> &[Network] {
        &self.written
    }
}

impl PartialEq for Networks {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Networks {}

impl Access {
    pub fn permits(&self, address: Option<IpAddr>) -> bool {
        let allowed = self.allow.as_ref();
        !self.deny.contains(address) && allowed.is_none_or(|allow| allow.contains(address))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The client that an address belongs to, as a number of its own: an IPv4 address, or the /64 of an IPv6 one, all of which
/// one client may have (RFC 6177). Those without an address are all one client.
pub fn client_number(address: Option<IpAddr>) -> u128 {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => address.to_bits() & !u128::from(u64::MAX),
        // Its lower half is never empty, so it is no /64's number.
        Some(address @ IpAddr::V4(_)) => number(address),
        // Neither a /64's nor an IPv4 address's.
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    /// `unix`: none.
    fn address(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn deny_wins_and_no_allow_is_everybody() {
        let access = Access {
            allow: Some(networks(&["10.0.0.0/8", "2001:db8::/32"])),
            deny: networks(&["10.1.0.0/16", "::ffff:10.2.0.0/112"]),
        };
        for (client, permitted) in [
            ("10.0.0.1", true),
            ("10.1.2.3", false),
            ("10.2.2.3", false),
            ("10.3.0.0", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", false),
            ("unix", false),
        ] {
            assert_eq!(access.permits(address(client)), permitted, "{client}");
        }
        assert!(Access::default().permits(address("1.2.3.4")));
        assert!(Access::default().permits(address("unix")));
    }

    #[test]
    fn a_client_without_an_address_is_let_in_and_kept_out_by_name() {
        let access = |allow, deny: &[&str]| Access {
            allow: Some(networks(allow)),
            deny: networks(deny),
        };
        assert!(access(&["10.0.0.0/8", "unix"], &[]).permits(None));
        assert!(!access(&["::/0", "0.0.0.0/0"], &[]).permits(None));
        assert!(!access(&["unix"], &["unix"]).permits(None));
        assert!(access(&["10.0.0.0/8"], &["unix"]).permits(address("10.0.0.1")));
        assert_eq!("unix".parse::<Network>().unwrap().to_string(), "unix");
        assert!("Unix".parse::<Network>().is_err());
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_a_64() {
        let same =
            |one: &str, other: &str| client_number(address(one)) == client_number(address(other));
        assert!(same("2001:db8::1", "2001:db8::ffff:0:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(!same("0.0.0.0", "::1"));
        assert!(same("unix", "unix"));
        assert!(!same("unix", "::1") && !same("unix", "0.0.0.1"));
    }

    proptest! {
        #[test]
        fn finding_in_ranges_is_looking_at_every_network(
            nets in vec((any::<u32>(), 0_u8..=32), 0..12),
            addresses in vec(any::<u32>(), 1..50),
        ) {
            let nets: Vec<IpNet> = nets
                .into_iter()
                .map(|(bits, length)| {
                    ipnet::Ipv4Net::new(bits.into(), length).unwrap().into()
                })
                .collect();
            let found = Networks::new(nets.iter().copied().map(Network::Ip).collect());
            let edges = nets.iter().flat_map(|net| [net.network(), net.broadcast()]);
            let addresses = addresses.into_iter().map(|bits| IpAddr::V4(bits.into()));
            for address in addresses.chain(edges) {
                let looked = nets.iter().any(|net| net.contains(&address));
                prop_assert_eq!(found.contains(Some(address)), looked, "{}", address);
            }
        }
    }
}
