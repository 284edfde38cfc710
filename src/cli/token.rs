//! `token new`: a secret for the admin API over TCP.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Subcommand, ValueEnum};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    args::Reading,
    exit::{Exit, Failure},
    output::{FAINT, Styled, say, say_json},
};
use crate::units::Name;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// Reads
    Viewer,
    /// Moves traffic: shift, switch, drain, endpoints
    Operator,
    /// Reloads and reverts too
    Admin,
}

#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and print it, with the line for the file
    New {
        /// Whose it is, as history and events tell
        #[arg(long)]
        name: Name,
        /// What it may
        #[arg(long, value_enum, default_value = "operator")]
        role: Role,
        /// The services it may write to; all unless said
        #[arg(long, value_delimiter = ',', value_name = "SERVICE")]
        services: Vec<Name>,
        #[command(flatten)]
        reading: Reading,
    },
}

/// Enough that nobody guesses it: 256 bits.
const BYTES: usize = 32;

pub fn token(command: &Token) -> Result<Exit, Failure> {
    let Token::New {
        name,
        role,
        services,
        reading,
    } = command;
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new(Exit::Failed, format!("no randomness: {error}")))?;
    let token = URL_SAFE_NO_PAD.encode(secret);
    let line = line(name, *role, services, &digest(&token));
    if reading.json {
        say_json(&json!({ "token": token, "sha256": digest(&token), "line": line }))?;
    } else {
        say(format_args!(
            "{token}\n\n{}\n{line}\n",
            Styled(
                FAINT,
                "The token is shown this once; keep it. For the file, under [admin], in `tokens`:"
            )
        ));
    }
    Ok(Exit::Done)
}

fn digest(token: &str) -> String {
    use std::fmt::Write;
    Sha256::digest(token)
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn line(name: &Name, role: Role, services: &[Name], sha256: &str) -> String {
    let role = match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    let services: Vec<_> = services
        .iter()
        .map(|service| format!("\"{service}\""))
        .collect();
    let services = if services.is_empty() {
        String::new()
    } else {
        format!(", services = [{}]", services.join(", "))
    };
    format!("{{ name = \"{name}\", role = \"{role}\"{services}, sha256 = \"{sha256}\" }},")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_the_file_holds_the_digest_and_never_the_token() {
        assert_eq!(
            digest("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let line = line(
            &"ci".parse().unwrap(),
            Role::Operator,
            &["shop".parse().unwrap()],
            "00",
        );
        assert_eq!(
            line,
            r#"{ name = "ci", role = "operator", services = ["shop"], sha256 = "00" },"#
        );
    }
}
