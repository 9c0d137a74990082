//! `touchline keys`: the secrets and certificates by which the parties of a cluster know each other.

mod certificates;
mod folder;

use crate::json::{print_line, say};
use anyhow::{Context, anyhow, ensure};
use certificates::{Authority, Holder};
use folder::Folder;
use serde_json::json;
use std::io::stdout;
use std::path::{Path, PathBuf};
use touchline_transport::keyfile::{self, KeyFile, Step};

/// The file of the datagrams' secrets.
const CLUSTER_KEY: &str = "cluster.key";
/// Who is part of every cluster.
const PARTIES: [&str; 4] = ["node-0", "node-1", "witness", "site"];

/// What to do with keys.
#[derive(clap::Subcommand)]
pub(crate) enum Keys {
    /// Makes everything a new cluster needs: its key, an authority, and a certificate for each party.
    New(At),
    /// Makes the next of the three steps in which the cluster's key is replaced, or replaces certificates.
    Rotate(Rotate),
    /// Makes a certificate for one more client, an intake service or an operator.
    Issue(Issue),
    /// Shows which keys and certificates there are, and none of their secrets.
    Show(Show),
}

/// Where the files are.
#[derive(clap::Args)]
pub(crate) struct At {
    /// The folder of the keys.
    #[arg(long)]
    dir: PathBuf,
}

/// Options of `rotate`.
#[derive(clap::Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    at: At,
    /// Replaces the certificate and key of every holder instead, by the same authority.
    #[arg(long)]
    certificates: bool,
}

/// Options of `issue`.
#[derive(clap::Args)]
pub(crate) struct Issue {
    #[command(flatten)]
    at: At,
    /// Whose it is: small letters, digits and `-`.
    #[arg(long)]
    name: String,
}

/// Options of `show`.
#[derive(clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    at: At,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs a command on keys.
pub(crate) fn run(keys: &Keys) -> anyhow::Result<()> {
    match keys {
        Keys::New(at) => new(&at.dir),
        Keys::Rotate(Rotate { at, certificates: true }) => renew(&at.dir),
        Keys::Rotate(Rotate { at, certificates: false }) => rotate(&at.dir),
        Keys::Issue(args) => issue(args),
        Keys::Show(args) => show(args),
    }
}

fn new(dir: &Path) -> anyhow::Result<()> {
    let folder = Folder::create(dir)?;
    let authority = Authority::new()?;
    let mut files = vec![(CLUSTER_KEY.to_owned(), KeyFile::new(secret()?).text())];
    files.extend(authority.files());
    for party in PARTIES {
        files.extend(authority.issue(party)?.files());
    }
    folder.make(&files)?;
    say!("made in {}:", dir.display());
    say!("  {CLUSTER_KEY}      the key of the datagrams, the same for every party");
    say!(
        "  ca.crt, ca.key   the authority; ca.key is needed only to make certificates: keep it off the nodes"
    );
    say!("  NAME.crt, .key   a certificate for each of {}", PARTIES.join(", "));
    say!(
        "next: copy {CLUSTER_KEY}, ca.crt and the party's own NAME.crt and NAME.key to each machine, readable for"
    );
    say!("touchline alone, and make one for each client with `touchline keys issue --name NAME`");
    Ok(())
}

fn rotate(dir: &Path) -> anyhow::Result<()> {
    let folder = Folder::open(dir)?;
    let mut file = read_key(&folder)?;
    let step = file.rotate(secret()?);
    folder.replace(CLUSTER_KEY, &file.text())?;
    let copy = format!("copy {CLUSTER_KEY} to every party and reload each (SIGHUP)");
    match step {
        Step::Accepted(generation) => {
            say!("step 1 of 3: generation {generation} is accepted, generation {} still used", file.used());
            say!("next: {copy}; when all have it, run this command again to use it");
        }
        Step::Used(generation) => {
            say!("step 2 of 3: generation {generation} is used, the one before still accepted");
            say!("next: {copy}; when all have it, run this command again to forget the old one");
        }
        Step::Forgotten(generation) => {
            say!("step 3 of 3: generation {generation} is forgotten");
            say!("next: {copy}; from then on whoever holds the old key is shut out");
        }
    }
    Ok(())
}

fn renew(dir: &Path) -> anyhow::Result<()> {
    let folder = Folder::open(dir)?;
    let authority = authority(&folder)?;
    for name in folder.holders()? {
        for (file, text) in authority.issue(&name)?.files() {
            folder.replace(&file, &text)?;
        }
        say!("{name}: a new certificate and key");
    }
    say!(
        "next: copy each party's NAME.crt and NAME.key to its machine and reload it; the old ones are valid until they"
    );
    say!("end: to shut a holder out before, make a new authority in another folder");
    Ok(())
}

fn issue(args: &Issue) -> anyhow::Result<()> {
    let folder = Folder::open(&args.at.dir)?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=40).contains(&args.name.len()) && args.name.bytes().all(plain) && args.name != "ca";
    ensure!(fits, "--name takes 1 to 40 small letters, digits and `-`, and is not `ca`");
    let holder = authority(&folder)?.issue(&args.name)?;
    folder.make(&holder.files())?;
    say!("made {0}.crt and {0}.key", args.name);
    say!("next: give both, and ca.crt, to {}", args.name);
    Ok(())
}

fn show(args: &Show) -> anyhow::Result<()> {
    let folder = Folder::open(&args.at.dir)?;
    let file = read_key(&folder)?;
    let accepted: Vec<u16> = file.accepted().collect();
    let mut holders = vec!["ca".to_owned()];
    holders.extend(folder.holders()?);
    let mut certificates = Vec::new();
    for name in holders {
        let until = Holder::until_of(&folder.read(&format!("{name}.crt"))?).map(str::to_owned);
        certificates.push((name, until));
    }
    let open = folder.open_to_others()?;
    if args.json {
        let certificates: serde_json::Map<_, _> =
            certificates.into_iter().map(|(name, until)| (name, json!(until))).collect();
        let value = json!({
            "used": file.used(), "accepted": accepted, "valid_until": certificates, "readable_by_others": open,
        });
        return print_line(&mut stdout(), &value);
    }
    say!("datagrams: generation {} is used, accepted: {accepted:?}", file.used());
    for (name, until) in certificates {
        say!(
            "{name}: valid until {}",
            until.unwrap_or_else(|| "a date that this file does not tell".to_owned())
        );
    }
    for name in open {
        say!("WARNING: {name} can be read by others: chmod 600 it, and rotate");
    }
    Ok(())
}

fn read_key(folder: &Folder) -> anyhow::Result<KeyFile> {
    keyfile::parse(&folder.read(CLUSTER_KEY)?).with_context(|| folder.path(CLUSTER_KEY))
}

fn authority(folder: &Folder) -> anyhow::Result<Authority> {
    Authority::load(&folder.read("ca.crt")?, &folder.read("ca.key")?)
}

fn secret() -> anyhow::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(secret)
}
