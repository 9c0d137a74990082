//! The file of the cluster's secrets, and the steps in which they rotate.
//!
//! One line `use G`, and for each secret a line `key G HEX`; empty lines and those that begin with `#` say nothing.
//! A rotation takes three steps, each of which every party must have made before anybody makes the next: the new secret
//! is accepted; it is used; the old one is forgotten. At no point does anybody use what somebody does not accept.

use std::fmt::Write;
use thiserror::Error;

use crate::keys::{Keyring, KeyringError, SECRET_BYTES, Secret};

/// Why a file holds no keys. Nothing of its content is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyFileError {
    /// A line that means nothing.
    #[error("line {0} is neither `use GENERATION` nor `key GENERATION` with 64 hexadecimal digits")]
    Line(usize),
    /// No line says which to use, or two do.
    #[error("exactly one line must say which generation to `use`")]
    Use,
    /// The secrets do not fit together.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

/// The secrets and which is used.
#[derive(Clone, Debug)]
pub struct KeyFile {
    secrets: Vec<Secret>,
    used: u16,
}

/// What a rotation's step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This generation is accepted now.
    Accepted(u16),
    /// It is used now.
    Used(u16),
    /// This one is forgotten.
    Forgotten(u16),
}

impl KeyFile {
    /// The first secret of a cluster.
    pub fn new(secret: [u8; SECRET_BYTES]) -> KeyFile {
        KeyFile { secrets: vec![Secret { generation: 1, bytes: secret }], used: 1 }
    }

    /// What the transport takes.
    ///
    /// # Errors
    ///
    /// None for a file that was parsed.
    pub fn keyring(&self) -> Result<Keyring, KeyringError> {
        Keyring::new(&self.secrets, self.used)
    }

    /// Generations that are accepted, ascending.
    pub fn accepted(&self) -> impl Iterator<Item = u16> {
        self.secrets.iter().map(|secret| secret.generation)
    }

    /// The generation that is used.
    pub fn used(&self) -> u16 {
        self.used
    }

    /// Makes the next step of a rotation. `secret` is 32 fresh random bytes, needed for the first step only.
    pub fn rotate(&mut self, secret: [u8; SECRET_BYTES]) -> Step {
        let newest = self.accepted().last().unwrap_or(0);
        let oldest = self.accepted().next().unwrap_or(0);
        if self.used < newest {
            self.used = newest;
            return Step::Used(newest);
        }
        if oldest < newest {
            self.secrets.remove(0);
            return Step::Forgotten(oldest);
        }
        // After 65,535 rotations it begins again at 1, of which nobody has any trace left.
        let generation = newest.checked_add(1).unwrap_or(1);
        self.secrets.push(Secret { generation, bytes: secret });
        self.secrets.sort_by_key(|secret| secret.generation);
        Step::Accepted(generation)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# The cluster's keys for datagrams. Secret: whoever reads this is in the cluster.\n",
        );
        let _ = writeln!(text, "use {}", self.used);
        for secret in &self.secrets {
            let _ = write!(text, "key {} ", secret.generation);
            for byte in secret.bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }
}

/// Reads a file's text.
///
/// # Errors
///
/// Anything but the lines described above, or secrets that do not fit together.
pub fn parse(text: &str) -> Result<KeyFile, KeyFileError> {
    let mut used = None;
    let mut secrets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = KeyFileError::Line(index + 1);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [word, ..] if word.starts_with('#') => {}
            ["use", generation] => {
                let generation = generation.parse().map_err(|_| wrong)?;
                if used.replace(generation).is_some() {
                    return Err(KeyFileError::Use);
                }
            }
            ["key", generation, digits] => {
                let generation = generation.parse().map_err(|_| wrong)?;
                secrets.push(Secret { generation, bytes: unhex(digits).ok_or(wrong)? });
            }
            _ => return Err(wrong),
        }
    }
    secrets.sort_by_key(|secret| secret.generation);
    let used = used.ok_or(KeyFileError::Use)?;
    Keyring::new(&secrets, used)?;
    Ok(KeyFile { secrets, used })
}

fn unhex(digits: &str) -> Option<[u8; SECRET_BYTES]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * SECRET_BYTES {
        return None;
    }
    let mut bytes = [0; SECRET_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        for digit in pair {
            *byte = *byte << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_has_three_steps_and_the_file_remembers_which() {
        let mut file = KeyFile::new([0xab; 32]);
        let mut steps = Vec::new();
        for secret in 0..4 {
            steps.push(file.rotate([secret; 32]));
            let text = file.text();
            file = parse(&text).unwrap();
            assert_eq!(file.text(), text);
        }
        assert_eq!(steps, [Step::Accepted(2), Step::Used(2), Step::Forgotten(1), Step::Accepted(3)]);
        assert_eq!((file.accepted().collect::<Vec<_>>(), file.used()), (vec![2, 3], 2));
    }

    #[test]
    fn what_is_no_key_file_is_refused_by_its_line() {
        let good = KeyFile::new([1; 32]).text();
        for (text, error) in [
            (String::new(), KeyFileError::Use),
            (good.replace("use 1", "use 2"), KeyringError::Absent(2).into()),
            (good.replace("use 1", "use 1\nuse 1"), KeyFileError::Use),
            (good.replace("key 1 01", "key 1 0g"), KeyFileError::Line(3)),
            (good.replace("key 1 01", "key 1 "), KeyFileError::Line(3)),
            (good.replace("key 1", "key 70000"), KeyFileError::Line(3)),
            (good.clone() + "key", KeyFileError::Line(4)),
            (good.clone() + good.lines().last().unwrap(), KeyringError::Twice(1).into()),
        ] {
            assert_eq!(parse(&text).unwrap_err(), error, "{text}");
        }
    }
}
