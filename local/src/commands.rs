//! One arm per command.

use crate::cli::{Cli, Command};
use crate::client;
use crate::exit::Failure;
use crate::{serve, speech};
use tracing_subscriber::EnvFilter;

/// Logs go to standard error; standard output belongs to the command's result.
pub(crate) fn init_logging(cli: &Cli) -> Result<(), Failure> {
    let filter = if cli.log.trim().is_empty() { "warn" } else { &cli.log };
    let filter = EnvFilter::try_new(filter).map_err(|_| {
        Failure::setting(
            "RUST_LOG",
            format_args!("`{filter}` is not a log filter: write e.g. info, or roomscribe_worker=debug"),
        )
    })?;
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    Ok(())
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
