//! Flags, environment and `.env` become a [`Cli`]; whatever is wrong with them becomes one line.

use crate::cli::Cli;
use crate::exit::{self, Failure};
use clap::Parser;
use clap::error::ErrorKind;
use std::io::IsTerminal;
use std::path::Path;

/// What the command line asks for.
pub(crate) enum Asked {
    /// A command.
    Run(Box<Cli>),
    /// Text for standard output: help or version.
    Print(String),
}

/// Reads `.env` of this folder, then the flags.
pub(crate) fn parse() -> Result<Asked, Failure> {
    load_env_file(Path::new(".env"))?;
    let words: Vec<_> = std::env::args_os().collect();
    let command = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    match Cli::try_parse_from(&words) {
        Ok(cli) => Ok(Asked::Run(Box::new(cli))),
        Err(error) if !error.use_stderr() => Ok(Asked::Print(match std::io::stdout().is_terminal() {
            true => error.render().ansi().to_string(),
            false => error.render().to_string(),
        })),
        Err(error) => Err(Failure::new(exit::SETTINGS, one_line(&error, command))),
    }
}

/// What is set already is not overwritten: flags, then the environment, then `.env` (contract §6).
fn load_env_file(path: &Path) -> Result<(), Failure> {
    match dotenvy::from_path(path) {
        Ok(()) => Ok(()),
        Err(dotenvy::Error::LineParse(part, _)) => Err(Failure::setting(".env", unreadable(path, &part))),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => Err(Failure::setting(".env", format_args!("cannot be read: {error}"))),
    }
}

/// Names the line by its number and its setting only: the rest may be a secret.
fn unreadable(path: &Path, part: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().enumerate().find(|(_, line)| line.contains(part.trim()));
    let place = match found {
        Some((at, line)) => match line.split_once('=') {
            Some((name, _)) => format!("line {} ({})", at + 1, name.trim()),
            None => format!("line {}", at + 1),
        },
        None => "a line".to_owned(),
    };
    format!("{place} is not NAME=value: put quotes around a value with spaces, begin comments with #")
}

/// clap's message without its paragraphs.
fn one_line(error: &clap::Error, command: &str) -> String {
    // The second one when RUST_LOG is set: then an argument was given.
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        return "no command given; begin with `roomscribe demo`, or see `roomscribe --help`".to_owned();
    }
    let rendered = error.render().to_string();
    let said = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    let said = said.split("\nUsage:").next().unwrap_or_default();
    let said = said.split("\nFor more information").next().unwrap_or_default();
    let mut line = String::new();
    for part in said.lines().map(str::trim).filter(|part| !part.is_empty()) {
        line.push_str(match (line.is_empty(), part.starts_with("tip:")) {
            (true, _) => "",
            (false, true) => "; ",
            (false, false) => " ",
        });
        line.push_str(part);
    }
    let known = <Cli as clap::CommandFactory>::command().find_subcommand(command).is_some();
    let help = if known { format!("roomscribe {command} --help") } else { "roomscribe --help".to_owned() };
    format!("{line}; see `{help}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        let error = Cli::try_parse_from([&["roomscribe"], words].concat()).unwrap_err();
        one_line(&error, words.first().unwrap_or(&""))
    }

    #[test]
    fn a_wrong_flag_gets_one_line_with_the_mend() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &["no command given", "roomscribe demo"]),
            (&["serv"], &["serv", "serve"]),
            (&["serve", "--rtmp-hots", "x"], &["--rtmp-hots", "--rtmp-host", "serve --help"]),
            (&["serve", "--speech", "cloud"], &["cloud", "--speech", "gladia", "local"]),
            (&["serve", "--max-sessions", "many"], &["many", "--max-sessions"]),
            (&["tail"], &["<SESSION>", "tail --help"]),
        ];
        for (words, parts) in table {
            let line = line(words);
            assert!(!line.contains('\n'), "{line:?}");
            for part in *parts {
                assert!(line.contains(part), "{words:?}: `{part}` is not in: {line}");
            }
        }
    }

    #[test]
    fn an_unreadable_line_of_the_env_file_is_named_without_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, "RUST_LOG=warn\nGLADIA_API_KEY=a secret with spaces\n").unwrap();
        let failure = load_env_file(&path).unwrap_err();
        assert_eq!(failure.code, exit::SETTINGS);
        let line = failure.to_string();
        assert!(line.contains(".env") && line.contains("GLADIA_API_KEY"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }

    #[test]
    fn no_env_file_is_no_error() {
        assert!(load_env_file(Path::new("/nonexistent/.env")).is_ok());
    }
}
