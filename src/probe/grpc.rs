//! The question of gRPC's health protocol, `grpc.health.v1.Health/Check`, and what its answer says. Two messages with one field
//! each: not worth a code generator.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::failure::{Failure, Reason};
use crate::telemetry::Escaped;

pub const PATH: &str = "/grpc.health.v1.Health/Check";

/// The flag "not compressed" and the length stand before each message.
const PREFIX: usize = 5;
/// Of an answer no more is read: it is a number.
pub const LIMIT: usize = 1024;

/// `HealthCheckRequest { string service = 1; }`
pub fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        push_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    // The configuration holds names that are far shorter than 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or_default();
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

fn push_varint(message: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        message.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    message.push(number.to_le_bytes()[0]);
}

/// What an answer's head, body and trailers come to.
pub fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    trailers: &HeaderMap,
) -> Result<(), Failure> {
    if status != StatusCode::OK {
        return Err(Failure::new(
            Reason::Status,
            format!("status {}, expected 200 from gRPC", status.as_u16()),
        ));
    }
    let field = |name: &str| trailers.get(name).or_else(|| headers.get(name));
    let code = field("grpc-status").ok_or_else(|| {
        Failure::new(
            Reason::Malformed,
            "not a gRPC answer: it has no grpc-status",
        )
    })?;
    if code.as_bytes() != b"0" {
        let code = String::from_utf8_lossy(code.as_bytes());
        let message = field("grpc-message").map_or(&b""[..], |text| text.as_bytes());
        let message = String::from_utf8_lossy(message);
        let text = format!("grpc-status {code} {message}");
        let meaning = match &*code {
            "5" => " (the service is not known to the endpoint)",
            "12" => " (the endpoint has no grpc.health.v1.Health)",
            _ => "",
        };
        let detail = format!("{}{meaning}", Escaped::new(text.trim_end(), 200));
        return Err(Failure::new(Reason::Status, detail));
    }
    match serving_status(body) {
        Some(1) => Ok(()),
        Some(status) => {
            let name = match status {
                0 => "UNKNOWN",
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "a status of a later version",
            };
            Err(Failure::new(
                Reason::Body,
                format!("{name}, expected SERVING"),
            ))
        }
        None => Err(Failure::new(Reason::Malformed, "not a HealthCheckResponse")),
    }
}

/// `HealthCheckResponse { ServingStatus status = 1; }`; an absent field is 0.
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || message.len() as u64 != u64::from(length) {
        return None;
    }
    let (mut message, mut status) = (message, 0);
    while !message.is_empty() {
        let key = take_varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = take_varint(&mut message)?,
            (_, 0) => drop(take_varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    fn told(
        body: &[u8],
        trailers: &[(&'static str, &'static str)],
    ) -> Result<(), (Reason, String)> {
        let verdict = verdict(StatusCode::OK, &fields(&[]), body, &fields(trailers));
        verdict.map_err(|failure| (failure.reason, failure.detail))
    }

    #[test]
    fn the_question_is_what_the_protocol_says() {
        assert_eq!(question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(question("ab")[..], [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 10, 0xac, 2]);
    }

    #[test]
    fn only_serving_passes() {
        let well = [("grpc-status", "0")];
        assert_eq!(told(&[0, 0, 0, 0, 2, 8, 1], &well), Ok(()));
        // A field that is not known yet stands before it.
        assert_eq!(told(&[0, 0, 0, 0, 5, 18, 1, 7, 8, 1], &well), Ok(()));
        let told_of = |body: &[u8]| told(body, &well).unwrap_err();
        let (reason, detail) = told_of(&[0, 0, 0, 0, 2, 8, 2]);
        assert_eq!(reason, Reason::Body);
        assert_eq!(detail, "NOT_SERVING, expected SERVING");
        assert_eq!(told_of(&[0, 0, 0, 0, 0]).1, "UNKNOWN, expected SERVING");
        for garbage in [
            &[][..],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 9, 8, 1],
            &[0, 0, 0, 0, 1, 8],
            &[0, 0, 0, 0, 3, 18, 200, 1],
            &[0, 0, 0, 0, 1, 15],
        ] {
            assert_eq!(told_of(garbage).0, Reason::Malformed, "{garbage:?}");
        }
    }

    #[test]
    fn a_call_that_failed_says_why() {
        let (reason, detail) = told(&[], &[("grpc-status", "5"), ("grpc-message", "who?")])
            .err()
            .unwrap_or((Reason::Body, String::new()));
        assert_eq!(reason, Reason::Status);
        assert!(detail.starts_with("grpc-status 5 who?"), "{detail}");
        assert_eq!(told(&[], &[]).unwrap_err().0, Reason::Malformed);
        let head = fields(&[("grpc-status", "12")]);
        let only_head = verdict(StatusCode::OK, &head, &[], &fields(&[])).unwrap_err();
        assert!(only_head.detail.contains("no grpc.health.v1.Health"));
        let other = verdict(StatusCode::NOT_FOUND, &head, &[], &head).unwrap_err();
        assert_eq!(other.detail, "status 404, expected 200 from gRPC");
    }
}
