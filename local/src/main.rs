//! The `roomscribe` command: parses, runs, and turns failures into exit codes (contract §6).

mod announce;
mod arguments;
mod cli;
mod client;
mod commands;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod hands;
mod install;
mod livekit;
mod requests;
mod serve;
mod session;
mod sessions;
mod settings;
mod speech;
mod stored;
mod terminal;
mod values;

use arguments::Asked;
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_silent() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("roomscribe: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

fn start() -> Result<(), Failure> {
    let cli = match arguments::parse()? {
        Asked::Run(cli) => *cli,
        Asked::Print(text) => return terminal::print(text.trim_end()),
    };
    commands::init_logging(&cli)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::unavailable(format_args!("cannot start: {error}")))?;
    runtime.block_on(commands::run(cli))
}
