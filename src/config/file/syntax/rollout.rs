use super::{Syntax, malformed, reads, url};
use crate::units::{Freeze, Percent};

pub const FREEZE: Syntax = Syntax {
    what: Freeze::EXPECTED,
    pattern: Some("^[^/]+/[^/]+ [A-Za-z0-9_+/-]+$"),
    check: reads::<Freeze>,
};

pub const MARGIN: Syntax = Syntax {
    what: "\"auto\", or percentage points above 0% such as 0.5%",
    pattern: Some(r"^(auto|[0-9]{1,3}(\.[0-9]{1,4})?%)$"),
    check: |text| match text {
        "auto" => Ok(()),
        text => match text.parse::<Percent>() {
            Ok(margin) if margin != Percent::NONE => Ok(()),
            _ => Err(malformed(MARGIN.what)),
        },
    },
};

/// A URL that is called. Longer ones are mistakes.
pub const CALLED: Syntax = Syntax {
    what: "a URL such as https://ci.example.com/smoke, without a password",
    pattern: Some(r"^https?://[^\s]+$"),
    check: |text| {
        let called = url(text, &["http://", "https://"]).filter(|()| text.len() <= 2048);
        called.ok_or_else(|| malformed(CALLED.what))
    },
};

/// One in which names may stand that are replaced.
pub const ASKED: Syntax = Syntax {
    what: "a URL such as http://127.0.0.1:9090, without a password",
    pattern: Some(r"^https?://[^\s]+$"),
    check: |text| {
        let named = text.replace("{{pool}}", "x").replace("{{service}}", "x");
        let asked = url(&named, &["http://", "https://"]).filter(|()| text.len() <= 2048);
        asked.ok_or_else(|| malformed(ASKED.what))
    },
};

pub const QUERY: Syntax = Syntax {
    what: "a query in PromQL of at most 8KiB",
    pattern: Some(r"\S"),
    check: |text| {
        if text.trim().is_empty() || text.len() > 8192 {
            Err(malformed(QUERY.what))
        } else {
            Ok(())
        }
    },
};

/// Which ones there are, the check knows.
pub const EVENT: Syntax = Syntax {
    what: "the type of an event, such as weights",
    pattern: Some("^[a-z]+(-[a-z]+)*$"),
    check: |text| {
        let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        if text.len() <= 63 && text.split('-').all(word) {
            Ok(())
        } else {
            Err(malformed(EVENT.what))
        }
    },
};
