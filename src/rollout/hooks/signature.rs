//! By what a hook knows who asks it.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::units::Secret;

/// The value of `cutover-signature`: the moment in seconds since 1970, and the HMAC-SHA256 of `MOMENT.BODY` under the secret. With the moment
/// in it, what somebody has listened to cannot be sent again later.
pub(super) fn signature(secret: &Secret, at: i64, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut text = format!("t={at},v1=");
    for byte in mac.finalize().into_bytes() {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf '1732795528.{"rollout":7}' | openssl dgst -sha256 -hmac whsec_test` says.
    #[test]
    fn a_signature_is_what_openssl_makes_of_the_moment_and_the_body() {
        let secret = Secret::new(b"whsec_test".to_vec());
        let signature = signature(&secret, 1_732_795_528, br#"{"rollout":7}"#);
        assert_eq!(
            signature,
            "t=1732795528,v1=9bd0fbcb518a7086a2898a090430e1c7db3a9938ee26387f7183c78d87539067"
        );
    }
}
