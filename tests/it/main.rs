//! Behaviours of a whole proxy, one file each.

mod architecture;
mod claim_and_drain;
mod config_diff;
mod config_files;
mod config_problems;
mod config_watch;
