//! One arm per command.

use crate::cli::{Cli, Command};
use crate::client;
use crate::exit::Failure;
use crate::{serve, speech};
use roomscribe_transcript::discreet;
use std::ffi::OsStr;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs go to standard error; standard output belongs to the command's result.
pub(crate) fn init_logging(cli: &Cli) -> Result<(), Failure> {
    let filter = if cli.log.trim().is_empty() { "warn" } else { &cli.log };
    let filter = EnvFilter::try_new(filter).map_err(|_| {
        Failure::setting(
            "RUST_LOG",
            format_args!("`{filter}` is not a log filter: write e.g. info, or roomscribe_worker=debug"),
        )
    })?;
    let colours = colours(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .finish();
    let discreet = filter_fn(|metadata| discreet::may_show(metadata.target(), metadata.level()));
    let _ = log.with(discreet).try_init();
    Ok(())
}

/// Escape codes are for a terminal, and for somebody who has not refused them (no-color.org).
fn colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Runs the command to its end.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => crate::demo::run(args).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Speech(args) => speech::run(args).await,
        Command::Start(args) => client::start(args).await,
        Command::Stop(args) => client::stop(args).await,
        Command::List(args) => client::list(args).await,
        Command::Tail(args) => client::tail(args).await,
        Command::Export(args) => client::export(args).await,
        Command::Crd => crd(),
    }
}

fn crd() -> Result<(), Failure> {
    print!("{}", roomscribe_crds::crd_yaml().map_err(Failure::unavailable)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_a_file_or_of_somebody_who_wants_none_has_no_colours() {
        let wish = |word: &'static str| Some(OsStr::new(word));
        for (is_terminal, no_color, expected) in [
            (true, None, true),
            (true, wish(""), true),
            (true, wish("1"), false),
            (false, None, false),
            (false, wish(""), false),
        ] {
            assert_eq!(colours(is_terminal, no_color), expected, "{is_terminal} {no_color:?}");
        }
    }
}
