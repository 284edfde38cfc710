//! The PROXY protocol, versions 1 and 2 (HAProxy, `doc/proxy-protocol.txt`): what the proxy before us says of the client, in front of the
//! first byte, and what we say so ourselves. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Both versions begin with it or with a part of it.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;

/// The longest of version 2 that is taken: addresses and extensions, a certificate among them.
const LONGEST: usize = 4096;

/// What stands in front of a connection's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// Who connected, and to where; nothing where the proxy speaks for itself, or can't say.
    pub ends: Option<Ends>,
}

/// The two ends of a client's connection to the proxy before us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// Which of its two forms is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreambleVersion {
    V1,
    V2,
}

/// What the first bytes of a connection come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreambleRead {
    /// It may become one: more bytes are needed.
    More,
    /// It is one, so many bytes long.
    Done(Preamble, usize),
    /// It is none.
    Malformed,
}

impl PreambleVersion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl Preamble {
    /// Of a connection that is the proxy's own, such as a probe's.
    pub const OURS: Self = Self { ends: None };

    /// Reads it from the first bytes of a connection.
    pub fn read(bytes: &[u8]) -> PreambleRead {
        let begins = |with: &[u8]| {
            let shared = bytes.len().min(with.len());
            bytes[..shared] == with[..shared]
        };
        if begins(SIGNATURE) {
            binary(bytes)
        } else if begins(b"PROXY ") {
            line(bytes)
        } else {
            PreambleRead::Malformed
        }
    }

    /// As bytes in front of what we send.
    pub fn write(self, version: PreambleVersion) -> Vec<u8> {
        match version {
            PreambleVersion::V1 => self.line().into_bytes(),
            PreambleVersion::V2 => self.binary(),
        }
    }

    fn line(self) -> String {
        let Some(Ends { client, server }) = self.ends.map(Ends::of_one_family) else {
            return "PROXY UNKNOWN\r\n".into();
        };
        let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (client.ip(), server.ip());
        let ports = format!("{} {}", client.port(), server.port());
        format!("PROXY {family} {from} {to} {ports}\r\n")
    }

    fn binary(self) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        let Some(Ends { client, server }) = self.ends.map(Ends::of_one_family) else {
            // LOCAL, of no family, with nothing after it.
            bytes.extend([0x20, 0, 0, 0]);
            return bytes;
        };
        let (family, length) = if client.is_ipv4() {
            (0x11, 12)
        } else {
            (0x21, 36)
        };
        bytes.extend([0x21, family, 0, length]);
        for end in [client, server] {
            match end.ip() {
                IpAddr::V4(ip) => bytes.extend(ip.octets()),
                IpAddr::V6(ip) => bytes.extend(ip.octets()),
            }
        }
        bytes.extend(client.port().to_be_bytes());
        bytes.extend(server.port().to_be_bytes());
        bytes
    }
}

impl Ends {
    /// IPv4 as such, even where it has come by a socket that listens for both.
    #[must_use]
    pub fn canonical(self) -> Self {
        let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self {
            client: plain(self.client),
            server: plain(self.server),
        }
    }

    /// Both as IPv4, or both as IPv6: it can't be said otherwise.
    fn of_one_family(self) -> Self {
        let wide = |end: SocketAddr| match end.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
            IpAddr::V6(_) => end,
        };
        let Self { client, server } = self.canonical();
        if client.is_ipv4() == server.is_ipv4() {
            Self { client, server }
        } else {
            Self {
                client: wide(client),
                server: wide(server),
            }
        }
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`, and the end of the line (§2.1).
fn line(bytes: &[u8]) -> PreambleRead {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_LINE {
            PreambleRead::More
        } else {
            PreambleRead::Malformed
        };
    };
    let read = str::from_utf8(&bytes[..end]).ok().and_then(said);
    read.map_or(PreambleRead::Malformed, |preamble| {
        PreambleRead::Done(preamble, end + 2)
    })
}

fn said(line: &str) -> Option<Preamble> {
    let mut words = line.split(' ');
    (words.next() == Some("PROXY")).then_some(())?;
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Preamble { ends: None });
    }
    let mut address = || match family {
        "TCP4" => words.next()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => words.next()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let (client, server) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (from, to) = (port()?, port()?);
    words.next().is_none().then_some(Preamble {
        ends: Some(Ends {
            client: SocketAddr::new(client, from),
            server: SocketAddr::new(server, to),
        }),
    })
}

/// Digits only, and no leading zero.
fn port(text: &str) -> Option<u16> {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Twelve bytes of signature, version and command, family, length, addresses, extensions (§2.2). The extensions are left alone.
fn binary(bytes: &[u8]) -> PreambleRead {
    let Some((head, rest)) = bytes.split_at_checked(SIGNATURE.len() + 4) else {
        return PreambleRead::More;
    };
    let (command, family) = (head[12], head[13]);
    let length = usize::from(u16::from_be_bytes([head[14], head[15]]));
    if !matches!(command, 0x20 | 0x21) || length > LONGEST {
        return PreambleRead::Malformed;
    }
    let Some(body) = rest.get(..length) else {
        return PreambleRead::More;
    };
    let ends = match (command, family) {
        (0x21, 0x11) => tcp4(body).map(Some),
        (0x21, 0x21) => tcp6(body).map(Some),
        // LOCAL is the proxy's own connection, such as a probe. No family, Unix sockets and datagrams: known, and of no use here.
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(None),
        _ => None,
    };
    ends.map_or(PreambleRead::Malformed, |ends| {
        PreambleRead::Done(Preamble { ends }, head.len() + length)
    })
}

fn tcp4(body: &[u8]) -> Option<Ends> {
    let (client, rest) = body.split_first_chunk::<4>()?;
    let (server, rest) = rest.split_first_chunk::<4>()?;
    ends((*client).into(), (*server).into(), rest)
}

fn tcp6(body: &[u8]) -> Option<Ends> {
    let (client, rest) = body.split_first_chunk::<16>()?;
    let (server, rest) = rest.split_first_chunk::<16>()?;
    ends((*client).into(), (*server).into(), rest)
}

fn ends(client: IpAddr, server: IpAddr, ports: &[u8]) -> Option<Ends> {
    let (from, rest) = ports.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    Some(Ends {
        client: SocketAddr::new(client, u16::from_be_bytes(*from)),
        server: SocketAddr::new(server, u16::from_be_bytes(*to)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(client: &str, server: &str) -> Preamble {
        let ends = Ends {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        };
        Preamble { ends: Some(ends) }
    }

    #[test]
    fn what_is_written_is_read_again_and_not_a_byte_more_is_taken() {
        for (preamble, v1) in [
            (
                told("192.0.2.1:56324", "192.0.2.2:443"),
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            ),
            (
                told("[2001:db8::1]:1", "[2001:db8::2]:65535"),
                "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
            ),
            (Preamble { ends: None }, "PROXY UNKNOWN\r\n"),
        ] {
            assert_eq!(preamble.write(PreambleVersion::V1), v1.as_bytes());
            for version in [PreambleVersion::V1, PreambleVersion::V2] {
                let mut bytes = preamble.write(version);
                let length = bytes.len();
                for short in 0..length {
                    assert_eq!(
                        Preamble::read(&bytes[..short]),
                        PreambleRead::More,
                        "{short}"
                    );
                }
                bytes.extend(b"GET / HTTP/1.1\r\n");
                assert_eq!(Preamble::read(&bytes), PreambleRead::Done(preamble, length));
            }
        }
    }

    #[test]
    fn ends_of_two_families_are_told_in_the_wider_one() {
        let mixed = told("192.0.2.1:1", "[2001:db8::2]:2");
        let wide = told("[::ffff:192.0.2.1]:1", "[2001:db8::2]:2");
        for version in [PreambleVersion::V1, PreambleVersion::V2] {
            let bytes = mixed.write(version);
            assert_eq!(
                Preamble::read(&bytes),
                PreambleRead::Done(wide, bytes.len())
            );
        }
        let mapped = told("[::ffff:192.0.2.1]:1", "192.0.2.2:2");
        let line = String::from_utf8(mapped.write(PreambleVersion::V1)).unwrap();
        assert_eq!(line, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    }

    #[test]
    fn what_is_none_is_refused_as_soon_as_that_is_certain() {
        for bad in [
            "GET / HTTP/1.1\r\n",
            "PROXX",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 x\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 443\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 443\r\n",
            "PROXY  TCP4 192.0.2.1 192.0.2.2 1 443\r\n",
            "PROXY\r\n",
        ] {
            assert_eq!(
                Preamble::read(bad.as_bytes()),
                PreambleRead::Malformed,
                "{bad}"
            );
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_LINE));
        assert_eq!(Preamble::read(endless.as_bytes()), PreambleRead::Malformed);
        let v2 = |rest: &[u8]| Preamble::read(&[&SIGNATURE[..], rest].concat());
        for bad in [
            &[0x11, 0x11, 0, 12][..],
            &[0x22, 0x11, 0, 12],
            &[0x21, 0x13, 0, 0],
            &[0x21, 0x11, 0, 3, 1, 2, 3],
            &[0x21, 0x11, 0xff, 0xff],
        ] {
            assert_eq!(v2(bad), PreambleRead::Malformed, "{bad:x?}");
        }
    }

    #[test]
    fn extensions_and_what_is_of_no_use_are_skipped() {
        let mut bytes = told("192.0.2.1:1", "192.0.2.2:2").write(PreambleVersion::V2);
        bytes[15] += 5;
        bytes.extend([4, 0, 2, 0, 0]);
        let told = told("192.0.2.1:1", "192.0.2.2:2");
        assert_eq!(Preamble::read(&bytes), PreambleRead::Done(told, 33));
        let nobody = Preamble { ends: None };
        for rest in [&[0x20, 0x11, 0, 2, 9, 9][..], &[0x21, 0x31, 0, 2, 9, 9]] {
            let bytes = [&SIGNATURE[..], rest].concat();
            assert_eq!(Preamble::read(&bytes), PreambleRead::Done(nobody, 18));
        }
        let said = b"PROXY UNKNOWN ffff::1 and more\r\n";
        assert_eq!(Preamble::read(said), PreambleRead::Done(nobody, said.len()));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_read_beyond_what_is_there(bytes in proptest::collection::vec(0u8.., 0..300), v2: bool) {
            let start: &[u8] = if v2 { SIGNATURE } else { b"PROXY TCP" };
            let bytes = [start, &bytes].concat();
            if let PreambleRead::Done(_, length) = Preamble::read(&bytes) {
                assert!(length <= bytes.len());
            }
        }
    }
}
