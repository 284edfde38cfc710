//! No text makes the check panic, hang, or print what steers a terminal.

#![no_main]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use cutover::config::{Outside, Overlay, export, load_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Patterns of absolute paths would have it look through this machine.
    if text.contains("include") && text.contains('/') {
        return;
    }
    let outside = Outside {
        env: &|_| None,
        secrets: false,
    };
    let path = Path::new("/nonexistent/cutover.toml");
    let start = Instant::now();
    match load_text(path, text, &outside) {
        Ok(loaded) => {
            let again = export(&loaded.plan, &Overlay::default());
            let again = load_text(path, &again, &outside).expect("what is exported is right");
            assert_eq!(again.plan, loaded.plan);
        }
        Err(problems) => {
            assert!(problems.count() > 0);
            // To draw them costs ten times what it costs to find them.
            if text.len().is_multiple_of(16) {
                assert!(!problems.render(false).contains(['\u{7}', '\u{1b}', '\0']));
            }
        }
    }
    assert!(start.elapsed() < Duration::from_secs(1));
});
