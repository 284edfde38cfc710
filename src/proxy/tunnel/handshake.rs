//! The keys of the WebSocket handshake (RFC 6455 §4), by which an endpoint proves that it has read the request as one.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

/// §1.3; no other protocol knows it.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Sixteen random bytes as a `Sec-WebSocket-Key`.
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// Whether it is the key of a client that keeps to the rules: sixteen bytes in base64.
pub fn is_key(text: &[u8]) -> bool {
    // Leftover bits may be set: some clients draw the letters, not the bytes. The text is hashed as it is, so they harm nobody.
    text.len() == 24
        && text.ends_with(b"==")
        && text[..22]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(byte))
}

/// The `Sec-WebSocket-Accept` that answers a key (§4.2.2).
pub fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_is_that_of_the_rfcs_example() {
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert_eq!(key(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(is_key(key([0xff; 16]).as_bytes()));
        assert!(is_key(b"abcdefghijklmnopqrstuv=="));
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "dGhlIHNhbXBsZSBub25j Q==",
            "dGhlIHNhbXBsZSBub25jZSBsb25nZXI=",
        ] {
            assert!(!is_key(bad.as_bytes()), "{bad}");
        }
    }
}
