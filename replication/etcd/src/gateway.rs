//! Asking etcd's members in turn until one has answered, or the time is up.

use crate::error::{EtcdError, Failure};
use crate::wire::{self, Entry, Outcome};
use std::time::{Duration, Instant};
use ureq::Agent;

/// Bytes of an answer at most: a register, its key and what surrounds them take less than a thousand.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Characters of an error's text that are kept.
const SAID_CHARACTERS_MAX: usize = 200;
/// Between two rounds over all endpoints, or members that refuse connections would be asked without a pause.
const PAUSE: Duration = Duration::from_millis(50);

/// The members of one etcd.
#[derive(Debug)]
pub(crate) struct Gateway {
    agent: Agent,
    endpoints: Vec<String>,
    request_limit: Duration,
    patience: Duration,
    /// The place of the endpoint that answered last: it is asked first.
    first: usize,
    /// The identity of the etcd that answered first.
    etcd: Option<u64>,
}

impl Gateway {
    pub(crate) fn new(
        endpoints: &[String],
        request_limit: Duration,
        patience: Duration,
    ) -> Result<Self, EtcdError> {
        if endpoints.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        let endpoints = endpoints.iter().map(|endpoint| checked(endpoint)).collect::<Result<_, _>>()?;
        // Changes are rare, so each gets a connection of its own: an idle one may be dead without our knowing.
        // Whatever the environment says of proxies is for other traffic.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .max_idle_connections(0)
            .build()
            .into();
        Ok(Gateway { agent, endpoints, request_limit, patience, first: 0, etcd: None })
    }

    /// Puts a value in the place of an entry, or tells which entry is there instead.
    ///
    /// An endpoint that gives no answer may have done it nevertheless, or may do it yet. So the same transaction
    /// goes to the next one, until one answers: it can be done only once, and after an answer no copy that is
    /// still on its way finds the entry that it compares with.
    pub(crate) fn put(&mut self, key: &str, seen: &Entry, value: &[u8]) -> Result<Outcome, EtcdError> {
        let body = wire::request(key, seen, value);
        let started = Instant::now();
        let mut failures: Vec<Option<Failure>> = self.endpoints.iter().map(|_| None).collect();
        loop {
            for turn in 0..self.endpoints.len() {
                let place = (self.first + turn) % self.endpoints.len();
                let left = self.patience.saturating_sub(started.elapsed());
                if left.is_zero() {
                    let failures = failures.into_iter().flatten().collect();
                    return Err(EtcdError::Unavailable { patience: self.patience, failures });
                }
                match self.ask(place, &body, left.min(self.request_limit)) {
                    Ok(outcome) => {
                        self.first = place;
                        return Ok(outcome);
                    }
                    Err(failure) => failures[place] = Some(failure),
                }
            }
            std::thread::sleep(PAUSE.min(self.patience.saturating_sub(started.elapsed())));
        }
    }

    fn ask(&mut self, place: usize, body: &str, limit: Duration) -> Result<Outcome, Failure> {
        let endpoint = || self.endpoints[place].clone();
        let (status, said) = self
            .post(&self.endpoints[place], body, limit)
            .map_err(|source| Failure::Transport { endpoint: endpoint(), source: Box::new(source) })?;
        if status != 200 {
            let said = String::from_utf8_lossy(&said).chars().take(SAID_CHARACTERS_MAX).collect();
            return Err(Failure::Status { endpoint: endpoint(), status, said });
        }
        let (found, outcome) =
            wire::answer(&said).map_err(|reason| Failure::Answer { endpoint: endpoint(), reason })?;
        let expected = *self.etcd.get_or_insert(found);
        if found != expected {
            return Err(Failure::OtherEtcd { endpoint: self.endpoints[place].clone(), expected, found });
        }
        Ok(outcome)
    }

    fn post(&self, endpoint: &str, body: &str, limit: Duration) -> Result<(u16, Vec<u8>), ureq::Error> {
        let request = self.agent.post(format!("{endpoint}/v3/kv/txn"));
        let request = request.config().timeout_global(Some(limit)).build();
        let mut response = request.header("content-type", "application/json").send(body)?;
        let said = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok((response.status().as_u16(), said))
    }
}

/// The endpoint without a slash at its end.
fn checked(endpoint: &str) -> Result<String, EtcdError> {
    let wrong = |reason| EtcdError::Endpoint { endpoint: endpoint.to_owned(), reason };
    let uri: ureq::http::Uri = endpoint.parse().map_err(|_| wrong("it cannot be read"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => return Err(wrong("TLS is not supported")),
        _ => return Err(wrong("its scheme is missing")),
    }
    if uri.port().is_none() {
        return Err(wrong("its port is missing"));
    }
    if uri.path() != "/" || uri.query().is_some() {
        return Err(wrong("something follows the port"));
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked_before_anything_is_sent() {
        assert_eq!(checked("http://127.0.0.1:2379/").unwrap(), "http://127.0.0.1:2379");
        assert_eq!(checked("http://[::1]:2379").unwrap(), "http://[::1]:2379");
        for (endpoint, reason) in [
            ("https://host:2379", "TLS"),
            ("host:2379", "scheme"),
            ("http://host", "port is missing"),
            ("http://host:2379/v3", "follows the port"),
            ("http://", "cannot be read"),
            ("", "cannot be read"),
        ] {
            let error = checked(endpoint).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let none = Gateway::new(&[], PAUSE, PAUSE).unwrap_err();
        assert!(matches!(none, EtcdError::NoEndpoint));
    }
}
