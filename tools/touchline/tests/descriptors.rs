//! A node that runs out of descriptors: who is served stays served, and once there are some again others are too.

use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use touchline_client::Client;
use touchline_protocol::*;

#[test]
fn without_descriptors_those_who_are_served_stay_served_and_others_wait() {
    for sockets in ["best", "epoll"] {
        let name = format!("descriptors-{sockets}-{}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("node.toml");
        let text = format!(
            "[node]\nlisten = \"127.0.0.1:0\"\njournal = \"{}\"\nsockets = \"{sockets}\"\n",
            folder.join("journal").display()
        );
        std::fs::write(&config, text).unwrap();
        let script = "ulimit -n 48; exec \"$0\" node --json --stop-with-stdin --config \"$1\"";
        let mut child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_touchline")])
            .arg(&config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        lines.read_line(&mut ready).unwrap();
        let ready: Json = serde_json::from_str(&ready).unwrap();
        let address: SocketAddr = ready["address"].as_str().unwrap().parse().unwrap();
        let mut served = Client::connect(address, Role::Operator, "first", Duration::from_secs(20)).unwrap();
        let mut alive = |number| {
            let fresh = SourceFresh { source: SourceId(1), alive_until: At(number) };
            assert_eq!(served.command(fresh).unwrap().code, Code::Accepted, "{sockets}");
        };
        alive(1);
        let flood: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(address).unwrap()).collect();
        (2..20).for_each(&mut alive);
        drop(flood);
        let mut late = Client::connect(address, Role::Operator, "late", Duration::from_secs(20)).unwrap();
        let fresh = SourceFresh { source: SourceId(1), alive_until: At(99) };
        assert_eq!(late.command(fresh).unwrap().code, Code::Accepted, "{sockets}");
        alive(100);
        drop(child.stdin.take());
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success(), "{rest}");
        let _ = std::fs::remove_dir_all(&folder);
    }
}
