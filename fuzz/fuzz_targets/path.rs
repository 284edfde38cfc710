//! A path's normal form is its own, stays below the root, and has no segment that means another.

#![no_main]

use cutover::units::normal_path;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &str| {
    let Ok(normalized) = normal_path(path) else {
        return;
    };
    let found = normalized.as_deref().unwrap_or(path);
    assert!(normalized.as_deref() != Some(path));
    assert_eq!(normal_path(found), Ok(None));
    assert!(found.starts_with('/') && found.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
    assert!(found.split('/').all(|segment| segment != "." && segment != ".."));
});
