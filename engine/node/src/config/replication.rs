//! `[replication]`: which party of the cluster this process is, and how it reaches the others.

use super::{Config, NodeConfig, Wrong};
use serde::Deserialize;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use touchline_lockstep::NodeId;
use touchline_lockstep::message::Party;
use touchline_lockstep::{Durability, Settings};
use touchline_protocol::{Body, Envelope, Epoch, frame};
use touchline_transport::networks::{Multicast, Network};

/// The section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationConfig {
    /// Who this process is.
    pub party: PartyName,
    /// File of the cluster's secrets, as `touchline keys` makes it.
    pub keys: PathBuf,
    /// When an acknowledgement of a frame counts.
    #[serde(default)]
    pub durability: DurabilityName,
    /// Folder of the witness's register; nobody else needs one.
    #[serde(default = "register_folder")]
    pub register: PathBuf,
    /// Client addresses of an etcd that keeps the register in the folder's place, `http://host:port`; none without.
    #[serde(default)]
    pub etcd: Vec<String>,
    /// Where the data nodes serve clients, for those that ask the one that does not lead.
    #[serde(default)]
    pub clients: ClientsConfig,
    /// One network, or two for redundancy.
    pub networks: Vec<NetworkConfig>,
}

/// Where data nodes serve clients, `host:port` of at most 64 bytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsConfig {
    /// The data node of place 0.
    pub node0: Option<String>,
    /// The data node of place 1.
    pub node1: Option<String>,
}

impl ClientsConfig {
    /// Of a data node.
    pub fn of(&self, node: NodeId) -> Option<&str> {
        [&self.node0, &self.node1].get(node.place()).and_then(|address| address.as_deref())
    }
}

/// A party by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartyName {
    /// The data node of place 0.
    Node0,
    /// The data node of place 1.
    Node1,
    /// The third party.
    Witness,
    /// The disaster recovery site.
    Site,
}

/// A durability policy by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityName {
    /// Both journals.
    #[default]
    Durable,
    /// The primary's journal and the standby's memory.
    Hybrid,
    /// Both memories: both losing power at once loses acknowledged bets.
    Memory,
}

/// A network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The own address on it.
    pub listen: SocketAddr,
    /// The group in which everybody hears everything; without one every peer is named.
    pub multicast: Option<SocketAddrV4>,
    /// Routers that a datagram to the group may pass, plus one.
    #[serde(default = "one")]
    pub ttl: u8,
    /// Who is sent to alone.
    #[serde(default)]
    pub peers: Vec<PeerConfig>,
}

/// Where a party listens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Who.
    pub party: PartyName,
    /// Its `listen`.
    pub address: SocketAddr,
}

fn one() -> u8 {
    1
}

fn register_folder() -> PathBuf {
    "register".into()
}

impl PartyName {
    /// As the protocol names it.
    pub fn party(self) -> Party {
        match self {
            PartyName::Node0 => Party::Node(NodeId(0)),
            PartyName::Node1 => Party::Node(NodeId(1)),
            PartyName::Witness => Party::Witness,
            PartyName::Site => Party::Node(NodeId::SITE),
        }
    }
}

impl ReplicationConfig {
    /// What the protocol is to keep to, in messages of at most so many bytes of frames.
    pub fn settings(&self, message_bytes: usize) -> Settings {
        let durability = match self.durability {
            DurabilityName::Durable => Durability::Durable,
            DurabilityName::Hybrid => Durability::Hybrid,
            DurabilityName::Memory => Durability::Memory,
        };
        Settings { durability, message_bytes, ..Settings::default() }
    }

    /// The networks, as the transport takes them.
    pub fn networks(&self) -> Vec<Network> {
        let network = |network: &NetworkConfig| Network {
            listen: network.listen,
            multicast: network.multicast.map(|group| Multicast { group, ttl: network.ttl }),
            peers: network.peers.iter().map(|peer| (peer.party.party(), peer.address)).collect(),
        };
        self.networks.iter().map(network).collect()
    }

    pub(super) fn check(&self, node: &NodeConfig) -> Result<(), Wrong> {
        let wrong = |key, value: String, must: &str| Err((key, value, must.to_owned()));
        if node.snapshot_every_frames == 0 && !matches!(self.party, PartyName::Witness) {
            let must = "must be above 0 in a cluster: the log stays in memory until a snapshot stands for it";
            return wrong("node.snapshot_every_frames", "0".into(), must);
        }
        if self.networks.is_empty() || self.networks.len() > 2 {
            let count = self.networks.len().to_string();
            return wrong("replication.networks", count, "must be one network, or two for redundancy");
        }
        if let Some(other) = self.etcd.iter().find(|address| !address.starts_with("http://")) {
            return wrong(
                "replication.etcd",
                other.clone(),
                "must be http://host:port, on a protected network",
            );
        }
        for network in &self.networks {
            if let Some(group) = network.multicast.filter(|group| !group.ip().is_multicast()) {
                return wrong("replication.networks.multicast", group.to_string(), "must be in 224.0.0.0/4");
            }
            if network.multicast.is_none() && network.peers.is_empty() {
                let listen = network.listen.to_string();
                return wrong("replication.networks", listen, "must name a multicast group or peers");
            }
            if let Some(own) = network.peers.iter().find(|peer| peer.party == self.party) {
                return wrong("replication.networks.peers", own.address.to_string(), "must be another party");
            }
        }
        Ok(())
    }
}

impl Config {
    /// A hash of everything that the parties of a cluster must have configured alike: `[cluster]` and the policy.
    pub fn agreement(&self) -> Result<u128, Wrong> {
        let mut bytes = Vec::new();
        let parts: [Body; 3] = [self.genesis()?.into(), self.configure()?.into(), self.retention()?.into()];
        for body in parts {
            frame::encode(&Envelope::session(self.cluster.id, Epoch(0), 0), &body, &mut bytes);
        }
        bytes.push(self.replication.as_ref().map_or(0, |replication| replication.durability as u8));
        Ok(xxhash_rust::xxh3::xxh3_128(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const SECTION: &str = "[replication]\nparty = \"witness\"\nkeys = \"k\"\n[[replication.networks]]\nlisten = \"127.0.0.1:1\"\n";

    fn parse(rest: &str) -> Result<Config, String> {
        Config::parse(&format!("{SECTION}{rest}"), Path::new("x.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_key() {
        let peer = "peers = [{ party = \"node0\", address = \"127.0.0.1:2\" }]\n";
        parse(peer).unwrap();
        parse("multicast = \"239.1.2.3:5\"\n").unwrap();
        let unkept =
            format!("[node]\nsnapshot_every_frames = 0\n{SECTION}{peer}").replace("\"witness\"", "\"node1\"");
        let refused = Config::parse(&unkept, Path::new("x.toml")).unwrap_err().to_string();
        assert!(
            refused.contains("node.snapshot_every_frames = 0: must be above 0 in a cluster"),
            "{refused}"
        );
        for (rest, part) in [
            ("", "must name a multicast group or peers"),
            ("multicast = \"10.1.2.3:5\"\n", "replication.networks.multicast = 10.1.2.3:5: must be in 224"),
            ("peers = [{ party = \"witness\", address = \"127.0.0.1:2\" }]\n", "must be another party"),
            ("peers = [{ party = \"nobody\", address = \"127.0.0.1:2\" }]\n", "nobody"),
        ] {
            let refused = parse(rest).unwrap_err();
            assert!(refused.contains(part), "{refused:?} does not say {part:?}");
        }
    }

    #[test]
    fn the_policy_and_the_cluster_s_half_are_agreed_on_and_nothing_else() {
        let peer = "peers = [{ party = \"node0\", address = \"127.0.0.1:2\" }]\n";
        let usual = parse(peer).unwrap();
        let mut other = usual.clone();
        other.node.shards = 4;
        assert_eq!(usual.agreement(), other.agreement());
        other.cluster.retention_hours += 1;
        assert_ne!(usual.agreement(), other.agreement());
        let mut other = usual.clone();
        other.replication.as_mut().unwrap().durability = DurabilityName::Hybrid;
        assert_ne!(usual.agreement(), other.agreement());
    }
}
