//! The files that come with the program.

/// What `cutover init` prints: a file that is right, with what most people add next in comments.
pub const INIT: &str = include_str!("../../config/cutover.init.toml");
