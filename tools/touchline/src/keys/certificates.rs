//! A small authority, and the certificates by which nodes, witness and clients know each other over TCP.
//!
//! Keys are ECDSA P-256. A certificate is for one name, which stands in it as a DNS name, and serves both ends of a
//! connection. A line above the certificate tells when it ends, for people and for `show`.

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority is valid: ten years.
const AUTHORITY_DAYS: u32 = 3653;
/// How long a certificate is valid.
const HOLDER_DAYS: u32 = 398;
/// The name of the authority.
const NAME: &str = "touchline cluster";
/// Before the date on the line above a certificate.
const UNTIL: &str = "valid until ";

/// The authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key.
pub(super) struct Holder {
    name: String,
    certificate: String,
    key: String,
}

impl Authority {
    /// A new one.
    pub(super) fn new() -> anyhow::Result<Authority> {
        let (params, until) = authority()?;
        let key = KeyPair::generate()?;
        let certificate = headed("ca", &until, &params.self_signed(&key)?.pem());
        Ok(Authority { issuer: Issuer::new(params, key), certificate })
    }

    /// The one whose certificate and key these are.
    pub(super) fn load(certificate: &str, key: &str) -> anyhow::Result<Authority> {
        let key = KeyPair::from_pem(key).context("ca.key holds no key")?;
        // What a certificate takes over from the authority's is the name and the key, which are the same.
        let (params, _) = authority()?;
        Ok(Authority { issuer: Issuer::new(params, key), certificate: certificate.to_owned() })
    }

    /// Its files.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let key = self.issuer.key().serialize_pem();
        vec![("ca.crt".to_owned(), self.certificate.clone()), ("ca.key".to_owned(), key)]
    }

    /// A certificate for a name.
    pub(super) fn issue(&self, name: &str) -> anyhow::Result<Holder> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let until = validity(&mut params, HOLDER_DAYS)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        let certificate = headed(name, &until, &certificate);
        Ok(Holder { name: name.to_owned(), certificate, key: key.serialize_pem() })
    }
}

impl Holder {
    /// Its files.
    pub(super) fn files(self) -> Vec<(String, String)> {
        vec![(format!("{}.crt", self.name), self.certificate), (format!("{}.key", self.name), self.key)]
    }

    /// The date that stands above a certificate.
    pub(super) fn until_of(certificate: &str) -> Option<&str> {
        certificate.lines().next()?.split_once(UNTIL).map(|(_, date)| date)
    }
}

fn authority() -> anyhow::Result<(CertificateParams, String)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let until = validity(&mut params, AUTHORITY_DAYS)?;
    Ok((params, until))
}

/// Valid from yesterday, for a clock may be behind; returns the last day.
fn validity(params: &mut CertificateParams, days: u32) -> anyhow::Result<String> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = date_time_ymd(1970, 1, 1) + since.context("the clock is before 1970")?;
    params.not_before = now - DAY;
    params.not_after = now + DAY * days;
    Ok(params.not_after.date().to_string())
}

fn headed(name: &str, until: &str, certificate: &str) -> String {
    format!("# {name}, {UNTIL}{until}\n{certificate}")
}
