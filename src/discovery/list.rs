//! A file of endpoints. Pure.

use std::collections::BTreeMap;

use crate::{config::plan::Endpoint, units::Address};

/// As in the configuration.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=65_535;

/// One endpoint on each line: `HOST:PORT`, and `weight=N` after it where it is not 1; `#` begins a comment. What is wrong is told
/// by its line, and the whole file counts as not written.
pub fn parse(text: &str, most: usize) -> Result<Vec<Endpoint>, String> {
    let mut lines = BTreeMap::new();
    let mut endpoints = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let said = line.split('#').next().unwrap_or_default().trim();
        if said.is_empty() {
            continue;
        }
        let endpoint = endpoint(said).map_err(|why| format!("line {number}: {why}"))?;
        if let Some(first) = lines.insert(endpoint.address.clone(), number) {
            return Err(format!("line {number}: the endpoint of line {first} again"));
        }
        if endpoints.len() == most {
            return Err(format!("more than {most} endpoints"));
        }
        endpoints.push(endpoint);
    }
    if endpoints.is_empty() {
        return Err("no line names an endpoint".to_owned());
    }
    Ok(endpoints)
}

fn endpoint(said: &str) -> Result<Endpoint, &'static str> {
    const EXPECTED: &str = "expected HOST:PORT, and weight=1 to weight=65535 or nothing after it";
    let mut words = said.split_whitespace();
    let address = words.next().and_then(|word| word.parse().ok());
    let address = address.filter(|address| !matches!(address, Address::Unix(_)));
    let weight = match words.next() {
        None => Some(1),
        Some(word) => word
            .strip_prefix("weight=")
            .and_then(|weight| weight.parse().ok())
            .filter(|weight| WEIGHTS.contains(weight)),
    };
    match (address, weight, words.next()) {
        (Some(address), Some(weight), None) => Ok(Endpoint { address, weight }),
        _ => Err(EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let endpoints = parse(text, 3)?.into_iter();
        Ok(endpoints
            .map(|endpoint| format!("{} {}", endpoint.address, endpoint.weight))
            .collect())
    }

    #[test]
    fn a_line_is_an_address_a_weight_and_a_comment() {
        let text = "# blue\r\n\r\n10.0.0.1:80\n  app.internal:81 weight=7 # new\n[::1]:82#old";
        assert_eq!(
            read(text).unwrap(),
            ["10.0.0.1:80 1", "app.internal:81 7", "[::1]:82 1"]
        );
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_not_repeated() {
        for line in [
            "app",
            "app:0",
            "app:80 7",
            "app:80 weight=0",
            "app:80 weight=65536",
            "app:80 weight=1 weight=1",
            "app:80 app:81",
            "unix:/run/app.sock",
            "\0:80",
        ] {
            let said = read(&format!("10.0.0.1:80\n{line}\n")).unwrap_err();
            assert!(said.starts_with("line 2: expected HOST:PORT"), "{said}");
        }
        let twice = read("a:1\nb:1\nA:1\n").unwrap_err();
        assert_eq!(twice, "line 3: the endpoint of line 1 again");
        assert_eq!(
            read("a:1\nb:1\nc:1\nd:1").unwrap_err(),
            "more than 3 endpoints"
        );
        for empty in ["", "\n\n", "# nothing\n"] {
            assert_eq!(read(empty).unwrap_err(), "no line names an endpoint");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ports in prop::collection::btree_map(1_u16.., WEIGHTS, 1..20)) {
            let lines: Vec<_> = ports.iter().map(|(port, weight)| format!("h:{port} weight={weight}")).collect();
            let read = parse(&lines.join("\n"), 20).unwrap();
            let back: Vec<_> = read.iter().map(|one| format!("{} weight={}", one.address, one.weight)).collect();
            prop_assert_eq!(lines, back);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\\n#]{0,200}|\\PC{0,100}") {
            if let Ok(endpoints) = parse(&text, 5) {
                prop_assert!((1..=5).contains(&endpoints.len()));
            }
        }
    }
}
