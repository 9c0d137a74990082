//! A real etcd, started here on loopback; tests are skipped where there is none.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A member by itself, its data in a folder of its own; both are gone with this value.
pub(crate) struct Etcd {
    folder: PathBuf,
    client: u16,
    peer: u16,
    child: Child,
}

impl Etcd {
    /// `None`, having said so, where no etcd is installed and none has to be.
    pub(crate) fn start(test: &str) -> Option<Etcd> {
        let version =
            Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            let remedy = "etcd is not on the PATH; Debian's package is etcd-server";
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{remedy}");
            println!("SKIPPED {test}: {remedy}");
            return None;
        }
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (client, peer) = free_ports();
        let child = run(&folder, client, peer);
        Some(Etcd { folder, client, peer, child })
    }

    /// Killed, and started again on the same data.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = run(&self.folder, self.client, self.peer);
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Two ports that are free now, and will hardly be taken until etcd listens there.
pub(crate) fn free_ports() -> (u16, u16) {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let [client, peer] = listeners.map(|listener| listener.local_addr().unwrap().port());
    (client, peer)
}

fn run(folder: &Path, client: u16, peer: u16) -> Child {
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("etcd");
    // The settings of an etcd of this machine come from such variables and are not for this one.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(name);
    }
    command
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
