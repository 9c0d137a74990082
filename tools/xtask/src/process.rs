//! Running other programs: silently for an answer, or aloud while their lines are also kept.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread;

use crate::error::XtaskError;

/// Runs a program silently to its end; a non-zero exit is not an error here.
pub(crate) fn capture(command: &mut Command) -> Result<Output, XtaskError> {
    command.stdin(Stdio::null()).output().map_err(|source| start_error(command, source))
}

/// True when the program can be started and ends well, e.g. `cargo nextest --version`.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    capture(command).is_ok_and(|output| output.status.success())
}

/// Runs a program with its output on this terminal.
pub(crate) fn show(command: &mut Command) -> Result<ExitStatus, XtaskError> {
    command.stdin(Stdio::null()).status().map_err(|source| start_error(command, source))
}

/// Runs a program with its output passed through line by line, and returns its lines of both streams too.
///
/// Lines of one stream keep their order; between the two streams no order is promised.
pub(crate) fn show_and_keep(command: &mut Command) -> Result<(ExitStatus, Vec<String>), XtaskError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (kept_out, kept_err) = thread::scope(|scope| {
        let errors = scope.spawn(|| pass_through(stderr, io::stderr()));
        let kept_out = pass_through(stdout, io::stdout());
        let kept_err = errors.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread ended")));
        (kept_out, kept_err)
    });
    let status = child.wait().map_err(|source| output_error(command, source))?;
    let mut lines = kept_out.map_err(|source| output_error(command, source))?;
    lines.extend(kept_err.map_err(|source| output_error(command, source))?);
    Ok((status, lines))
}

/// The program and its arguments as a person would type them.
pub(crate) fn describe(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let short = program.rsplit(['/', '\\']).next().unwrap_or(&program).to_owned();
    command.get_args().fold(short, |line, argument| format!("{line} {}", argument.to_string_lossy()))
}

/// Test output may hold any bytes, so lines are decoded leniently.
fn pass_through(from: Option<impl Read>, mut to: impl Write) -> io::Result<Vec<String>> {
    let Some(from) = from else { return Ok(Vec::new()) };
    let mut reader = BufReader::new(from);
    let (mut kept, mut line) = (Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        kept.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    Ok(kept)
}

fn start_error(command: &Command, source: io::Error) -> XtaskError {
    XtaskError::Start { program: describe(command), source }
}

fn output_error(command: &Command, source: io::Error) -> XtaskError {
    XtaskError::Output { program: describe(command), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_unchanged_and_kept_without_their_ends() {
        let mut shown = Vec::new();
        let kept = pass_through(Some(&b"one\r\ntwo \xff\nlast"[..]), &mut shown).unwrap();
        assert_eq!(shown, b"one\r\ntwo \xff\nlast");
        assert_eq!(kept, ["one", "two \u{fffd}", "last"]);
    }

    #[test]
    fn a_command_is_described_as_typed() {
        let mut command = Command::new("some/folder/cargo");
        command.args(["fmt", "--check"]);
        assert_eq!(describe(&command), "cargo fmt --check");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = capture(&mut Command::new("no-such-program-of-touchline")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-of-touchline"), "{error}");
    }
}
