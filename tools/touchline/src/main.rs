//! `touchline`: the one binary a person types. Results go to stdout, errors to stderr with exit code 1, wrong
//! usage with exit code 2.

mod bench;
mod configure;
mod demo;
mod drill;
mod inspect;
mod json;
mod keys;
mod live;
mod load;
mod node;
mod price;
mod priors;
mod replay;
mod screen;
mod script;
mod simulate;
mod snapshot;
mod status;
mod top;
mod witness;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Live-betting odds and risk appliance.
#[derive(Parser)]
#[command(name = "touchline", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the appliance at work on matches and bettors that it generates itself, a crash included.
    Demo(demo::Args),
    /// Runs a node until SIGTERM or SIGINT.
    Node(node::Args),
    /// Runs the third party of a cluster until SIGTERM or SIGINT.
    Witness(witness::Args),
    /// Shows what a running node is: role, epoch, lag, protection.
    Status(status::Args),
    /// Has the node that leads hand over to its standby, without losing or refusing anything.
    Switchover(status::Args),
    /// Sends the `[cluster]` rules of a configuration file to a running node.
    Configure(configure::Args),
    /// Makes, rotates and shows the keys and certificates of a cluster.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Prints a price sheet.
    #[command(subcommand)]
    Price(price::Sport),
    /// Replays recorded matches with bettors through a real node over its sockets.
    Replay(replay::Args),
    /// Runs JSON commands straight through the deterministic core and prints every effect.
    Script(script::Args),
    /// Looks into what a node has written.
    #[command(subcommand)]
    Inspect(inspect::What),
    /// Carries a node's state from one version of the program to another.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshots),
    /// Runs the whole node under seeds, with crashes, torn writes and broken connections.
    Simulate(simulate::Args),
    /// Shows what a running node does, stage by stage
    Top(top::Args),
    /// Puts a load on a running node and checks every answer.
    Load(load::Args),
    /// Measures a node of its own, or a part of one, and prints the figures.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Rehearses failures on real processes.
    #[command(subcommand)]
    Drill(drill::Drill),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Witness(args) => witness::run(&args),
        Command::Status(args) => status::status(&args),
        Command::Switchover(args) => status::switchover(&args),
        Command::Configure(args) => configure::run(&args),
        Command::Keys(keys) => keys::run(&keys),
        Command::Price(sport) => price::run(&sport),
        Command::Replay(args) => replay::run(&args),
        Command::Script(args) => script::run(&args),
        Command::Inspect(what) => inspect::run(&what),
        Command::Snapshot(what) => snapshot::run(&what),
        Command::Simulate(args) => simulate::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Bench(bench) => bench::run(&bench),
        Command::Drill(drill) => drill::run(&drill),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, each told once: many an error's own text already ends with its cause's.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
