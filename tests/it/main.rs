//! Behaviours of a whole proxy, one file each.

mod access_log;
mod admin_changes;
mod admin_door;
mod admin_reading;
mod architecture;
mod claim_and_drain;
mod cli;
mod client_abort;
mod config_checks;
mod config_diff;
mod config_files;
mod config_hostile;
mod config_problems;
mod config_schema;
mod config_watch;
mod console;
mod control;
mod exchange;
mod headers;
mod idle_connections;
mod lifecycle;
mod limits;
mod probes;
mod resend;
mod support;
mod timeouts;
