use super::{malformed, reads};
use crate::{
    config::file::Syntax,
    units::{Balance, LoadFactor},
};

pub const BALANCE: Syntax = Syntax {
    what: "round-robin, least-requests, peak-ewma, random, or hash:ip, hash:path, hash:header:NAME, hash:cookie:NAME",
    pattern: Some(
        "^(round-robin|least-requests|peak-ewma|random|hash:(ip|path|header:.+|cookie:.+))$",
    ),
    check: reads::<Balance>,
};

pub const LOAD_FACTOR_OR_NONE: Syntax = Syntax {
    what: "a whole percentage from 101% to 10000%, such as 150%, or \"none\"",
    pattern: Some("^(none|10[1-9]%|1[1-9][0-9]%|[2-9][0-9]{2}%|[1-9][0-9]{3}%|10000%)$"),
    check: |text| match text {
        "none" => Ok(()),
        text => reads::<LoadFactor>(text).map_err(|_| malformed(LOAD_FACTOR_OR_NONE.what)),
    },
};
