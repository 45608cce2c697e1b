//! The `roomscribe` command: parses, runs, and turns failures into exit codes (contract §6).

mod cli;
mod client;
mod commands;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod hands;
mod install;
mod names;
mod serve;
mod sessions;
mod settings;
mod speech;
mod stored;
mod terminal;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Settings come from flags, then the environment, then .env: what is set already is not overwritten.
    let _ = dotenvy::dotenv();
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    commands::init_logging(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("roomscribe: cannot start: {error}");
            return ExitCode::from(exit::UNAVAILABLE);
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("roomscribe: {failure}");
            ExitCode::from(failure.code)
        }
    }
}
