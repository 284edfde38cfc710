//! Files that no person wrote: they are refused with a reason, in time, and nothing else happens.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use cutover::config::{Outside, Overlay, Plan, Problems, export, load_text, load_with};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::config_files::{SMALL, load};

fn check(text: &str) -> Result<Plan, Problems> {
    let outside = Outside {
        env: &|_| None,
        secrets: false,
    };
    load_text(Path::new("/srv/cutover.toml"), text, &outside).map(|loaded| loaded.plan)
}

/// The problems of a file with these bytes.
fn told_of(bytes: &[u8]) -> String {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("cutover.toml"), bytes).expect("the folder is writable");
    told(folder.path())
}

fn told(folder: &Path) -> String {
    let problems = load(folder).expect_err("the file is wrong");
    assert!(problems.render(true).contains("cutover.toml"));
    let messages = problems.iter().map(|problem| problem.message.as_str());
    messages.collect::<Vec<_>>().join("; ")
}

#[test]
fn odd_bytes_are_refused_with_the_reason() {
    let utf16: Vec<u8> = "\u{feff}a = 1"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (bytes, reason) in [
        (&b""[..], "the file is empty"),
        (b" \r\n\n", "the file is empty"),
        (
            &utf16,
            "the file can't be read: it is UTF-16; save it as UTF-8",
        ),
        (
            b"a = 1\nb = \"\xff\"",
            "the file can't be read: it is not UTF-8 (line 2)",
        ),
        (b"a = \"\0\"", "invalid basic string"),
        (b"watch = true\nwatch = false\n", "`watch` is set twice"),
    ] {
        assert!(
            told_of(bytes).contains(reason),
            "{} for {bytes:?}",
            told_of(bytes)
        );
    }
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_problem() {
    let text = format!("\u{feff}{}", SMALL.replace('\n', "\r\n"));
    assert!(check(&text).is_ok());
    let problems = check(&format!("\u{feff}wokers = 1\r\n{SMALL}")).unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.column), (1, 1));
}

#[test]
fn what_is_no_file_is_refused_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cutover.toml");
    assert_eq!(
        told(folder.path()),
        "the file can't be read: it does not exist"
    );
    symlink("/dev/zero", &path).unwrap();
    assert_eq!(
        told(folder.path()),
        "the file can't be read: it is no regular file"
    );
    fs::remove_file(&path).unwrap();
    symlink(&path, &path).unwrap();
    assert!(told(folder.path()).starts_with("the file can't be read: "));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(
        told(folder.path()),
        "the file can't be read: it is a directory"
    );
    fs::remove_dir(&path).unwrap();
    let file = fs::File::create(&path).unwrap();
    file.set_len(100 << 20).unwrap();
    assert_eq!(
        told(folder.path()),
        "the file can't be read: it is larger than 2048 KiB"
    );
}

/// A quarter of a MiB of the same line: an eighth of the most that is read, because tests are not optimised.
fn repeated(line: &str) -> String {
    line.repeat((256 << 10) / line.len())
}

#[test]
fn the_largest_files_of_nonsense_are_refused_in_time() {
    let numbered = |line: &dyn Fn(usize) -> String, count| (0..count).map(line).collect::<String>();
    let whole =
        "[[listeners]]\naddress = \"127.0.0.1:1\"\n[services.a]\nendpoints = [\"10.0.0.1:1\"]\n";
    for (what, text) in [
        ("equals signs", repeated("=\n")),
        ("brackets", repeated("[")),
        ("braces", repeated("{")),
        ("nested arrays", format!("a = {}", repeated("["))),
        ("nested tables", format!("a = {}", repeated("{ a = "))),
        ("a dotted key", format!("{} = 1", repeated("a.") + "a")),
        ("a dotted header", format!("[{}]", repeated("a.") + "a")),
        ("one line", repeated("x")),
        ("quotes", repeated("\"\"\"")),
        (
            "unknown keys",
            numbered(&|n| format!("key{n} = 1\n"), 20_000),
        ),
        ("the same key", repeated("a = 1\n")),
        ("empty tables", repeated("[[listeners]]\n")),
        (
            "services",
            numbered(&|n| format!("[services.s{n}]\n"), 12_000),
        ),
        (
            "unknown services",
            format!("{whole}{}", repeated("[[routes]]\nservice = \"b\"\n")),
        ),
        (
            "expressions",
            format!(
                "{whole}{}",
                repeated("[[routes]]\npath_regex = \"(a{1,99}){1,99}\"\nservice = \"a\"\n")
            ),
        ),
        (
            "unknown pools",
            format!(
                "{whole}weights = {{ {} }}",
                numbered(&|n| format!("p{n} = 1,"), 20_000).trim_end_matches(',')
            ),
        ),
        (
            "endpoints",
            format!(
                "{whole}[services.b]\nendpoints = [{}]",
                repeated("\"10.0.0.1:1\",")
            ),
        ),
    ] {
        let start = Instant::now();
        let problems = check(&text).expect_err(what);
        let shown = problems.render(false).len() + problems.to_json().to_string().len();
        assert!(shown < 1_000_000, "{what}: {shown} bytes of problems");
        // Unoptimised, and beside other tests; the aim is a second.
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{what} took {took:?}");
    }
}

/// Text that looks like the file's, in any order.
fn soup() -> impl Strategy<Value = String> {
    let words = "[ ] [[ ]] { } = . , \n \n \n \" ' \"\"\" # \\ \\u0041 \u{7} services routes listeners defaults pools endpoints \
                 weights probe path path_regex service hosts include sticky secret file env app blue green address telemetry \
                 tokens by [services.app]\n [[routes]]\n [[listeners]]\n address=\"127.0.0.1:80\"\n endpoints=[\"a:1\"]\n \
                 weights={blue=1}\n true false 0 -1 99999999999999999999 1e9 nan 2026-11-21 \"5s\" \"50%\" \"*.a.b\" \"(\" \
                 \"unix:/a\" \"*\" é \u{feff} \u{202e} 🦀";
    let words: Vec<&str> = words.split(' ').collect();
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

/// The example with a piece taken out or put in elsewhere.
fn torn() -> impl Strategy<Value = String> {
    let example = include_str!("../../config/cutover.example.toml");
    (
        any::<prop::sample::Index>(),
        0..400_usize,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(move |(from, length, to, keep)| {
            let letters: Vec<char> = example.chars().collect();
            let from = from.index(letters.len());
            let end = (from + length).min(letters.len());
            let piece = letters[from..end].to_vec();
            let mut text = letters.clone();
            if !keep {
                text.drain(from..end);
            }
            let to = to.index(text.len());
            text.splice(to..to, piece);
            text.into_iter().collect()
        })
}

/// A text is right, and then what is exported of it says the same; or it is told what is wrong.
fn is_understood(text: &str) {
    let checked = check(text);
    if let Ok(plan) = &checked {
        let exported = export(plan, &Overlay::default());
        assert_eq!(check(&exported).as_ref().ok(), Some(plan), "{exported}");
    }
    if let Err(problems) = checked {
        assert!(problems.count() > 0 && !problems.summary().is_empty());
        let shown = problems.render(false);
        assert!(!shown.contains(['\u{7}', '\u{1b}', '\0']), "{shown:?}");
        assert!(problems.to_json().is_array());
        for problem in problems.iter() {
            assert!(problem.line >= 1 && problem.column >= 1 && problem.span.start <= text.len());
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        is_understood(&text);
    }

    #[test]
    fn no_soup_of_its_own_words_makes_it_panic(text in soup()) {
        is_understood(&text);
    }

    #[test]
    fn no_torn_example_makes_it_panic(text in torn()) {
        is_understood(&text);
    }
}

#[test]
fn a_problem_never_steers_the_terminal() {
    let text = "\"a\\u001b[2Jb\" = 1\n[services.\"\\u001b]0;x\\u0007\"]\n[[routes]]\nservice = \"\\u001b[31m\"\npath = \"\\u009b2J\"\n";
    let problems = check(text).unwrap_err();
    for shown in [
        problems.render(false),
        problems.summary(),
        problems.to_json().to_string(),
    ] {
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown:?}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_refused() {
    let folder = TempDir::new().unwrap();
    let outside = Outside {
        env: &|_| None,
        secrets: true,
    };
    let problems =
        load_with(&folder.path().join("no/such/folder/cutover.toml"), &outside).unwrap_err();
    assert!(
        problems
            .summary()
            .ends_with("the file can't be read: it does not exist"),
        "{problems}"
    );
}
