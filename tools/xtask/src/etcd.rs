//! A real etcd for the tests of the witness's register in it.

use std::process::Command;

use crate::error::XtaskError;
use crate::process;

/// The package that holds it, as Debian and its kin name it.
const PACKAGE: &str = "etcd-server";

/// The outcome of looking for etcd.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Etcd {
    /// It can be started; the tests over it run.
    Present,
    /// It was missing and has been installed.
    Installed,
    /// It is missing, and only the person who reads the output can change that.
    Absent,
}

/// Looks for etcd on the PATH. Where it is missing, installs it if that asks nobody for anything: as root, with
/// apt-get. Without it the tests over it are skipped, or fail where the variable `CI` is `true`.
pub(crate) fn provide() -> Etcd {
    let succeeds = |program: &str, argument: &str| process::succeeds(Command::new(program).arg(argument));
    let is_root = || {
        let user = process::capture(Command::new("id").arg("-u"));
        user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
    };
    provide_with(
        || succeeds("etcd", "--version"),
        || is_root() && succeeds("apt-get", "--version"),
        |arguments| {
            println!("etcd is missing: apt-get {}", arguments.join(" "));
            let mut command = Command::new("apt-get");
            command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            process::show(&mut command).map(|status| status.success())
        },
    )
}

fn provide_with(
    is_present: impl Fn() -> bool,
    may_install: impl FnOnce() -> bool,
    mut apt_get: impl FnMut(&[&str]) -> Result<bool, XtaskError>,
) -> Etcd {
    if is_present() {
        return Etcd::Present;
    }
    if !may_install() {
        return Etcd::Absent;
    }
    let mut done = |arguments: &[&str]| apt_get(arguments).unwrap_or(false);
    let install = ["install", "-y", "--no-install-recommends", PACKAGE];
    // Lists of packages are refreshed only where the install fails without that.
    let installed = done(&install) || (done(&["update"]) && done(&install));
    if installed && is_present() { Etcd::Installed } else { Etcd::Absent }
}

impl Etcd {
    /// One plain line for the person who reads the output.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Present => "etcd: present (tests over it run)".to_owned(),
            Self::Installed => format!("etcd: {PACKAGE} has been installed (tests over it run)"),
            Self::Absent => format!(
                "etcd: absent; tests over it are SKIPPED, and fail where CI=true; \
                 `apt-get install -y {PACKAGE}` brings it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_is_there_is_not_installed() {
        let found = provide_with(|| true, || panic!("not asked"), |_| panic!("not run"));
        assert_eq!(found, Etcd::Present);
    }

    #[test]
    fn without_the_right_to_install_the_package_is_named() {
        let found = provide_with(|| false, || false, |_| panic!("not run"));
        assert_eq!(found, Etcd::Absent);
        assert!(found.line().contains("SKIPPED"), "{}", found.line());
        assert!(found.line().contains("install -y etcd-server"), "{}", found.line());
    }

    #[test]
    fn lists_are_refreshed_only_after_a_failed_install() {
        let (there, refreshed) = (Cell::new(false), Cell::new(false));
        let apt_get = |arguments: &[&str]| {
            match arguments[0] {
                "update" => refreshed.set(true),
                _ => there.set(refreshed.get()),
            }
            Ok(arguments[0] == "update" || there.get())
        };
        assert_eq!(provide_with(|| there.get(), || true, apt_get), Etcd::Installed);
        assert!(refreshed.get());
    }

    #[test]
    fn an_install_that_brings_no_etcd_is_told() {
        assert_eq!(provide_with(|| false, || true, |_| Ok(true)), Etcd::Absent);
        assert_eq!(provide_with(|| false, || true, |_| Ok(false)), Etcd::Absent);
    }
}
