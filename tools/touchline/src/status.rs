//! `touchline status` and `touchline switchover`: what a node of a cluster is, and the planned change of roles.

use crate::json::{print_line, say};
use crate::top::Whom;
use serde_json::{Value, json};
use std::io::stdout;

/// Options of `status` and `switchover`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// One line for programs.
    #[arg(long)]
    json: bool,
}

/// Shows what a node is.
pub(crate) fn status(args: &Args) -> anyhow::Result<()> {
    let status = args.whom.connect()?.ask("status")?;
    if args.json {
        return print_line(&mut stdout(), &status);
    }
    say!("{}", words(&status));
    Ok(())
}

/// Has the node that leads hand over to its standby.
pub(crate) fn switchover(args: &Args) -> anyhow::Result<()> {
    args.whom.connect()?.ask("switchover")?;
    if args.json {
        return print_line(&mut stdout(), &json!({ "event": "switchover", "begun": true }));
    }
    say!("the switchover has begun; `touchline status` of both nodes shows who leads");
    Ok(())
}

/// A status for people.
fn words(status: &Value) -> String {
    let number = |key: &str| status[key].as_u64().unwrap_or(0);
    let mut text = status["role"].as_str().unwrap_or("?").to_owned();
    if let Some(node) = status["node"].as_u64() {
        let protection = match status["protection"].as_str() {
            Some("DUAL") => "DUAL: both nodes acknowledge every frame",
            Some("SOLO") => "SOLO: one node acknowledges alone, the other is not in sync",
            _ => "no configuration known: is the witness running, and has the cluster begun?",
        };
        text += &format!(" (node{node}), {protection}");
    }
    text += &format!(
        "\nepoch {}, committed {}, durable {}, lag {}, serving clients on {}, up {} s",
        number("epoch"),
        number("committed"),
        number("durable"),
        number("lag"),
        status["address"].as_str().unwrap_or("?"),
        number("uptime_s"),
    );
    if let Some(boot) = status["boot"].as_str() {
        text += &format!("\nboot {boot}");
    }
    for (key, note) in [
        ("held", "prices are held: every market counts as suspended"),
        (
            "needs_word",
            "waits for an operator: its journal lost its end or is damaged; ask its admin socket to agree",
        ),
        (
            "stranded",
            "stranded: its log lacks what the register says it held; whoever has the longer log is to lead",
        ),
    ] {
        if status[key] == true {
            text += &format!("\n{note}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_in_words() {
        let told = words(&json!({
            "role": "PRIMARY", "node": 1, "protection": "SOLO", "epoch": 7, "committed": 9, "durable": 10, "lag": 1,
            "address": "127.0.0.1:5", "uptime_s": 3, "boot": "ab", "held": true, "needs_word": false
        }));
        assert!(told.starts_with("PRIMARY (node1), SOLO") && told.contains("epoch 7, committed 9"), "{told}");
        assert!(told.ends_with("suspended"), "{told}");
        let alone = words(&json!({ "role": "ALONE", "epoch": 2, "address": "127.0.0.1:5" }));
        assert!(alone.starts_with("ALONE\nepoch 2"), "{alone}");
    }
}
