//! Follows WebSocket frames through a stream of bytes (RFC 6455 §5.2), cut into pieces anywhere.
//!
//! Knows where frames begin and end and whether a close frame has passed, and judges nothing else: what the two ends say to each
//! other is theirs. So that a frame of our own goes out only between two of theirs, where it can be read.

/// The most bytes before a frame's payload: two, eight of a long length, four of the mask's key.
const LONGEST_HEADER: usize = 14;

const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;

/// One direction of a WebSocket connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frames {
    header: [u8; LONGEST_HEADER],
    /// Bytes of the next frame's header that have passed.
    have: u8,
    /// Bytes of this frame's payload that have not.
    left: u64,
    /// The frame that is passing is a close frame.
    is_close: bool,
    closed: bool,
}

impl Frames {
    /// What has passed ends with a frame: a frame of our own may follow.
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// A whole close frame has passed. Its sender sends no more frames, and nobody may in its place (§5.5.1).
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Takes note of bytes that pass.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Takes note of the bytes up to the next end of a frame, and returns how many they are: all, where no frame ends in them.
    pub fn follow_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            taken += self.step(&bytes[taken..]);
            if self.at_boundary() {
                break;
            }
        }
        taken
    }

    /// A part of a header or of a payload; at least one byte.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let here = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.left -= here as u64;
            if self.left == 0 {
                self.end();
            }
            return here;
        }
        let have = usize::from(self.have);
        let here = (self.header_length() - have).min(bytes.len());
        self.header[have..have + here].copy_from_slice(&bytes[..here]);
        self.have += u8::try_from(here).expect("a part of a header is at most 14 bytes");
        if usize::from(self.have) == self.header_length() {
            self.begin();
        }
        here
    }

    /// The length of this frame's header, as far as what has passed of it tells: then it only grows.
    fn header_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let mask = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        2 + mask
            + match self.header[1] & !MASKED {
                126 => 2,
                127 => 8,
                _ => 0,
            }
    }

    /// A header has passed whole. A length above 2^63, which no sender may use, is taken at its word: then no end comes.
    fn begin(&mut self) {
        let long = &self.header[2..10];
        self.left = match self.header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([long[0], long[1]])),
            127 => long
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => short.into(),
        };
        self.is_close = self.header[0] & OPCODE == CLOSE;
        self.have = 0;
        if self.left == 0 {
            self.end();
        }
    }

    fn end(&mut self) {
        self.closed |= self.is_close;
    }
}

/// Why a connection is closed, as a close frame says it (§7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// What is spoken to is going away.
    GoingAway = 1001,
    /// The other end broke.
    InternalError = 1011,
}

/// A close frame: unmasked as a server sends it, or masked with this key as a client must (§5.3).
pub fn close_frame(code: Code, mask: Option<[u8; 4]>) -> Vec<u8> {
    const FINAL: u8 = 0x80;
    let [high, low] = (code as u16).to_be_bytes();
    match mask {
        None => vec![FINAL | CLOSE, 2, high, low],
        Some([a, b, c, d]) => vec![FINAL | CLOSE, MASKED | 2, a, b, c, d, high ^ a, low ^ b],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame with a payload of zeros, its length written in the field of so many bytes at least.
    fn frame(first: u8, masked: bool, length: usize, field: usize) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..126 if field == 0 => bytes.push(mask | u8::try_from(length).unwrap()),
            0..65536 if field <= 2 => {
                bytes.push(mask | 0x7e);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 0x7f);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(
            0x88,
            if masked { 4 } else { 0 } + length,
        ));
        bytes
    }

    fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let length = prop_oneof![0..4_usize, 120..130_usize, 0..70_000_usize];
        let field = prop::sample::select(vec![0, 2, 8]);
        let any = (any::<u8>(), any::<bool>(), length, field);
        let frame =
            any.prop_map(|(first, masked, length, field)| frame(first, masked, length, field));
        prop::collection::vec(frame, 0..6)
    }

    /// The places where the bytes of `frames` are cut into pieces, for a random `cuts`.
    fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places
            .windows(2)
            .map(|pair| &bytes[pair[0]..pair[1]])
            .collect()
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_boundaries_lie_where_frames_end(
            frames in frames(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let bytes = frames.concat();
            let mut ends = vec![0];
            for frame in &frames {
                ends.push(ends[ends.len() - 1] + frame.len());
            }
            let mut follower = Frames::default();
            let mut passed = 0;
            for piece in pieces(&bytes, &cuts) {
                follower.follow(piece);
                passed += piece.len();
                prop_assert_eq!(follower.at_boundary(), ends.contains(&passed));
                let closed = frames.iter().zip(&ends[1..]).any(|(frame, end)| {
                    frame[0] & OPCODE == CLOSE && *end <= passed
                });
                prop_assert_eq!(follower.closed(), closed);
            }
        }

        #[test]
        fn following_to_a_boundary_stops_at_the_first_one(
            frames in frames(),
            start in any::<prop::sample::Index>(),
        ) {
            let bytes = frames.concat();
            let start = start.index(bytes.len() + 1);
            let mut follower = Frames::default();
            follower.follow(&bytes[..start]);
            let mut end = 0;
            let ends = frames.iter().map(|frame| {
                end += frame.len();
                end
            });
            let next = ends.into_iter().find(|end| *end > start).unwrap_or(start);
            prop_assert_eq!(follower.follow_to_boundary(&bytes[start..]), next - start);
            prop_assert!(next == start || follower.at_boundary());
        }

        #[test]
        fn no_bytes_are_too_strange_and_none_are_lost(
            bytes in prop::collection::vec(any::<u8>(), 0..2000),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let (mut whole, mut parts, mut stepped) = (Frames::default(), Frames::default(), Frames::default());
            whole.follow(&bytes);
            for piece in pieces(&bytes, &cuts) {
                parts.follow(piece);
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let taken = stepped.follow_to_boundary(rest);
                prop_assert!(taken > 0);
                rest = &rest[taken..];
            }
            for other in [parts, stepped] {
                prop_assert_eq!(
                    (whole.at_boundary(), whole.closed(), whole.left),
                    (other.at_boundary(), other.closed(), other.left)
                );
            }
        }
    }

    #[test]
    fn a_frame_of_an_impossible_length_never_ends() {
        let mut follower = Frames::default();
        follower.follow(&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        follower.follow(&vec![0; 100_000]);
        assert!(!follower.at_boundary() && !follower.closed());
    }

    #[test]
    fn close_frames_are_whole_frames_that_say_why() {
        let sent = close_frame(Code::GoingAway, None);
        assert_eq!(sent, [0x88, 2, 0x03, 0xe9]);
        let masked = close_frame(Code::InternalError, Some([1, 2, 3, 4]));
        assert_eq!(masked, [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xf3 ^ 2]);
        for frame in [sent, masked] {
            let mut follower = Frames::default();
            follower.follow(&frame);
            assert!(follower.at_boundary() && follower.closed());
        }
    }
}
