//! However bytes are cut into pieces, a follower of WebSocket frames stands in the same place after them.

#![no_main]

use cutover::proxy::tunnel::Frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u16>)| {
    let (bytes, cuts) = input;
    let (mut whole, mut parts, mut stepped) = (Frames::default(), Frames::default(), Frames::default());
    whole.follow(&bytes);
    let mut rest = &bytes[..];
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(cut).min(rest.len()));
        parts.follow(piece);
        rest = after;
    }
    parts.follow(rest);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let taken = stepped.follow_to_boundary(rest);
        assert!(taken > 0 && (taken == rest.len() || stepped.at_boundary()));
        rest = &rest[taken..];
    }
    for other in [parts, stepped] {
        assert_eq!(whole.at_boundary(), other.at_boundary());
        assert_eq!(whole.closed(), other.closed());
    }
});
