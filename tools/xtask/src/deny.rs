//! Licences, advisories, bans and sources of dependencies, judged by cargo-deny under `.cargo/deny.toml`.

use crate::error::XtaskError;
use crate::process;
use crate::workspace::{Workspace, cargo};

/// Runs cargo-deny; the first run of a day fetches the advisory database and so needs a network.
pub(crate) fn run(workspace: &Workspace) -> Result<(), XtaskError> {
    if !process::succeeds(cargo().args(["deny", "--version"])) {
        return Err(XtaskError::Missing { tool: "cargo-deny", remedy: "cargo install cargo-deny --locked" });
    }
    let mut command = cargo();
    command.args(["deny", "--config", ".cargo/deny.toml", "check"]).current_dir(&workspace.root);
    if process::show(&mut command)?.success() { Ok(()) } else { Err(XtaskError::Denied) }
}
