//! No bytes in front of a connection make the reader of the PROXY protocol panic or take more than there is, and what it reads it writes the same.

#![no_main]

use cutover::units::{Preamble, PreambleVersion, PreambleRead};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let PreambleRead::Done(preamble, length) = Preamble::read(bytes) {
        assert!(length <= bytes.len());
        for version in [PreambleVersion::V1, PreambleVersion::V2] {
            let written = preamble.write(version);
            let PreambleRead::Done(again, all) = Preamble::read(&written) else {
                panic!("what is written can be read");
            };
            assert_eq!(all, written.len());
            assert_eq!(again.write(version), written);
        }
    }
});
