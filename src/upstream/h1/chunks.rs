use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use httparse::{EMPTY_HEADER, Status};

use super::head::append;
use crate::upstream::AnswerError;

/// A body in chunks (RFC 9112 §7.1), as far as it has come.
#[derive(Debug, Clone, Copy)]
pub struct Chunks {
    stage: Stage,
    /// Bytes that may yet be spent on what is beside the data's own size: extensions and trailers.
    spare: usize,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// A chunk's size is next.
    Size,
    /// So much of a chunk is left.
    Data(u64),
    /// The line end after a chunk.
    End,
    Trailers,
}

/// The next of a body.
pub enum Chunk {
    /// More has to be read first.
    Missing,
    Data(Bytes),
    /// The end, with trailers where there are some.
    Last(Option<HeaderMap>),
}

/// What all extensions and trailers of a body may come to, and a line that gives a size: nobody needs so much.
const SPARE: usize = 16 << 10;

/// The most trailers.
const TRAILERS: usize = 100;

/// Sixteen digits and the line's end: the rest of a line is extension.
const PLAIN_SIZE: usize = 18;

impl Chunks {
    pub fn new() -> Self {
        Self {
            stage: Stage::Size,
            spare: SPARE,
        }
    }

    /// Takes the next of it from what was received.
    pub fn take(&mut self, received: &mut BytesMut) -> Result<Chunk, AnswerError> {
        loop {
            match self.stage {
                Stage::Size => match self.size(received)? {
                    None => return Ok(Chunk::Missing),
                    Some(0) => self.stage = Stage::Trailers,
                    Some(size) => self.stage = Stage::Data(size),
                },
                Stage::Data(_) if received.is_empty() => return Ok(Chunk::Missing),
                Stage::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX);
                    let data = received.split_to(length.min(received.len())).freeze();
                    self.stage = match left - data.len() as u64 {
                        0 => Stage::End,
                        left => Stage::Data(left),
                    };
                    return Ok(Chunk::Data(data));
                }
                Stage::End => {
                    if received.len() < 2 {
                        return Ok(Chunk::Missing);
                    }
                    if received[..2] != *b"\r\n" {
                        return Err(AnswerError::Malformed("a chunk is longer than its size"));
                    }
                    received.advance(2);
                    self.stage = Stage::Size;
                }
                Stage::Trailers => return self.trailers(received),
            }
        }
    }

    fn size(&mut self, received: &mut BytesMut) -> Result<Option<u64>, AnswerError> {
        const NONE: AnswerError = AnswerError::Malformed("a chunk's size is none");
        // An empty line would pass for a size of zero.
        match received.first() {
            None => return Ok(None),
            Some(first) if !first.is_ascii_hexdigit() => return Err(NONE),
            Some(_) => {}
        }
        match httparse::parse_chunk_size(received) {
            Err(_) => Err(NONE),
            Ok(Status::Partial) if received.len() > self.spare => Err(TOO_LONG),
            Ok(Status::Partial) => Ok(None),
            // Readers that end a line there would see another body.
            Ok(Status::Complete((end, _))) if received[..end - 2].contains(&b'\n') => Err(NONE),
            Ok(Status::Complete((end, size))) => {
                self.spend(end.saturating_sub(PLAIN_SIZE))?;
                received.advance(end);
                Ok(Some(size))
            }
        }
    }

    fn trailers(&mut self, received: &mut BytesMut) -> Result<Chunk, AnswerError> {
        if received.starts_with(b"\r\n") {
            received.advance(2);
            return Ok(Chunk::Last(None));
        }
        let mut fields = [EMPTY_HEADER; TRAILERS];
        match httparse::parse_headers(received, &mut fields) {
            Err(_) => Err(AnswerError::Malformed("trailers")),
            Ok(Status::Partial) if received.len() > self.spare => Err(TOO_LONG),
            Ok(Status::Partial) => Ok(Chunk::Missing),
            Ok(Status::Complete((end, fields))) => {
                let mut trailers = HeaderMap::with_capacity(fields.len());
                for field in fields {
                    let value = Bytes::copy_from_slice(field.value);
                    append(&mut trailers, field.name, value)?;
                }
                self.spend(end)?;
                received.advance(end);
                Ok(Chunk::Last(Some(trailers)))
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), AnswerError> {
        self.spare = self.spare.checked_sub(bytes).ok_or(TOO_LONG)?;
        Ok(())
    }
}

const TOO_LONG: AnswerError = AnswerError::Malformed("too much beside the chunks' data");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What came of a body, and what was left behind it.
    type Whole = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Reads a body that comes in pieces of such a length.
    fn read(text: &[u8], piece: usize) -> Result<Whole, String> {
        let (mut chunks, mut received, mut data) = (Chunks::new(), BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(piece);
        loop {
            match chunks
                .take(&mut received)
                .map_err(|error| error.to_string())?
            {
                Chunk::Missing => match pieces.next() {
                    Some(piece) => received.extend_from_slice(piece),
                    None => return Err("unfinished".into()),
                },
                Chunk::Data(piece) => data.extend_from_slice(&piece),
                Chunk::Last(trailers) => {
                    received.extend(pieces.flatten());
                    return Ok((data, trailers, received.to_vec()));
                }
            }
        }
    }

    #[test]
    fn a_body_in_chunks_ends_where_it_says() {
        for piece in [1, 2, 3, 100] {
            let text =
                b"5\r\nhello\r\n00A ;x=\"1\"\r\n, chunked!\r\n0;y\r\nX-A: 1\r\nx-b:2\r\n\r\nHTTP";
            let (data, trailers, left) = read(text, piece).unwrap();
            assert_eq!(
                (&data[..], &left[..]),
                (&b"hello, chunked!"[..], &b"HTTP"[..])
            );
            let trailers = trailers.unwrap();
            assert!(trailers["x-a"] == "1" && trailers["x-b"] == "2");
            let (data, trailers, left) = read(b"0\r\n\r\n", piece).unwrap();
            assert!(data.is_empty() && trailers.is_none() && left.is_empty());
        }
    }

    #[test]
    fn what_two_readers_may_see_differently_is_no_body() {
        for text in [
            &b"\r\n\r\n"[..],
            b";x\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\rhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"10000000000000005\r\nhello\r\n0\r\n\r\n",
            b"0\r\nx y: 1\r\n\r\n",
            b"0\r\n: 1\r\n\r\n",
            b"0\r\nx\r\n\r\n",
        ] {
            for piece in [1, 100] {
                let error = read(text, piece).unwrap_err();
                assert!(
                    error.contains("malformed"),
                    "{}: {error}",
                    text.escape_ascii()
                );
            }
        }
        assert_eq!(read(b"5\r\nhell", 100).unwrap_err(), "unfinished");
        assert_eq!(read(b"0\r\nx: 1\r\n", 100).unwrap_err(), "unfinished");
    }

    #[test]
    fn what_is_beside_the_data_is_bounded() {
        let extension = format!("1;{}\r\na\r\n", "x".repeat(SPARE / 4));
        let few = format!("{}0\r\n\r\n", extension.repeat(3));
        assert_eq!(read(few.as_bytes(), 100).unwrap().0, b"aaa");
        let many = format!("{}0\r\n\r\n", extension.repeat(5));
        let endless = format!("1;{}", "x".repeat(2 * SPARE));
        let trailers = format!("0\r\nx: {}\r\n\r\n", "x".repeat(SPARE));
        let endless_trailers = format!("0\r\nx: {}", "x".repeat(2 * SPARE));
        let fields = format!("0\r\n{}\r\n", "x: 1\r\n".repeat(TRAILERS + 1));
        for text in [many, endless, trailers, endless_trailers, fields] {
            let error = read(text.as_bytes(), 100).unwrap_err();
            assert!(error.contains("malformed"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_they_are(text in "([0-9a-f]{0,2}[;\r\n ]{0,3}[a-z:]{0,5}){0,6}", piece in 1..9_usize) {
            let at_once = read(text.as_bytes(), text.len().max(1));
            prop_assert_eq!(&read(text.as_bytes(), piece).is_ok(), &at_once.is_ok());
            if let Ok((data, _, left)) = at_once {
                prop_assert!(data.len() + left.len() < text.len());
            }
        }
    }
}
