//! `touchline keys` as an operator uses it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("keys-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn keys(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchline"));
        command.arg("keys").args(args).arg("--dir").arg(&self.0).output().unwrap()
    }

    #[track_caller]
    fn said(&self, args: &[&str]) -> String {
        let output = self.keys(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, args: &[&str]) -> String {
        let output = self.keys(args);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_cluster_gets_keys_for_its_owner_alone_and_never_twice() {
    let folder = Folder::new("new");
    assert!(folder.said(&["new"]).contains("next: copy"));
    let mut files = 0;
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", entry.file_name());
        files += 1;
    }
    assert_eq!(files, 11);
    let before = folder.read("cluster.key");
    assert!(folder.refused(&["new"]).contains("nothing is overwritten"));
    assert_eq!(folder.read("cluster.key"), before);
    let shown = folder.said(&["show"]);
    assert!(shown.contains("generation 1 is used") && shown.contains("node-1: valid until 20"), "{shown}");
    assert!(!shown.contains(&before[before.len() - 20..before.len() - 1]), "no secret is shown");
}

#[test]
fn a_rotation_takes_three_steps() {
    let folder = Folder::new("rotate");
    folder.said(&["new"]);
    for says in ["generation 2 is accepted", "generation 2 is used", "generation 1 is forgotten"] {
        assert!(folder.said(&["rotate"]).contains(says), "{says}");
        touchline_transport::keyfile::parse(&folder.read("cluster.key")).unwrap();
    }
    assert!(folder.said(&["show", "--json"]).contains(r#""accepted":[2]"#));
}

#[test]
fn certificates_are_issued_and_replaced_by_the_same_authority() {
    let folder = Folder::new("issue");
    folder.said(&["new"]);
    folder.said(&["issue", "--name", "intake"]);
    assert!(folder.refused(&["issue", "--name", "intake"]).contains("intake.crt"));
    assert!(folder.refused(&["issue", "--name", "../x"]).contains("--name"));
    let (authority, before) = (folder.read("ca.crt"), folder.read("intake.crt"));
    assert!(folder.said(&["rotate", "--certificates"]).contains("intake: a new"));
    assert!(folder.read("ca.crt") == authority && folder.read("intake.crt") != before);
}

/// OpenSSL, where it is there, agrees that the certificates hold together.
#[test]
fn another_program_verifies_the_certificates() {
    let folder = Folder::new("verify");
    folder.said(&["new"]);
    folder.said(&["rotate", "--certificates"]);
    let mut command = Command::new("openssl");
    command.current_dir(&folder.0).args(["verify", "-purpose", "sslserver", "-verify_hostname", "node-0"]);
    match command.args(["-CAfile", "ca.crt", "node-0.crt"]).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("SKIPPED: no openssl here ({error})"),
    }
}

#[test]
fn a_key_that_others_can_read_and_a_folder_that_is_none_are_told_of() {
    let folder = Folder::new("open");
    assert!(folder.refused(&["rotate"]).contains("touchline keys new"));
    folder.said(&["new"]);
    let key = folder.0.join("cluster.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(folder.said(&["show"]).contains("WARNING: cluster.key"));
    std::fs::write(&key, "use 1\nkey 1 abc\n").unwrap();
    let error = folder.refused(&["rotate"]);
    assert!(error.contains("line 2") && !error.contains("abc"), "{error}");
}
