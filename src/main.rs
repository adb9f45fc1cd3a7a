//! The program: reads the command line, does what it says, and ends with the code that says how.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use impetus::cli::{self, Cli, Command};
use impetus::config::process_environment;
use impetus::exit::Exit;
use impetus::{serve, worker};

fn main() -> ExitCode {
    let exit = match Cli::read(std::env::args_os()) {
        Ok(cli) => run(cli.command),
        Err(exit) => exit,
    };
    exit.into()
}

fn run(command: Command) -> Exit {
    match command {
        Command::Serve(args) => serve::serve(args),
        Command::Worker(args) => worker::work(&args),
        Command::CheckConfig(args) => {
            cli::check_config::run(&args, process_environment(), &mut stdout(), &mut stderr())
        }
        Command::Doctor(args) => cli::doctor::run(&args, process_environment()),
        Command::Metrics(args) => cli::metrics::run(&args, &mut stdout()),
        Command::Openapi(args) => {
            cli::openapi::run(&args, process_environment(), &mut stdout(), &mut stderr())
        }
        Command::Status(args) => cli::status::run(&args),
        Command::Predictions(args) => cli::predictions::run(&args),
        Command::Chat(args) => cli::chat::run(&args),
        Command::Models(args) => cli::models::run(&args, process_environment()),
    }
}
