//! Digests that are computed while bytes pass.
//!
//! SHA-256 always, because it goes into the manifest; MD5 only where it is what was promised.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use md5::{Digest as _, Md5};

use crate::remote::Checksum;

/// Digests that are being computed.
pub struct Hasher {
    sha256: Context,
    md5: Option<Md5>,
}

/// Finished digests, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: String,
    /// MD5, where it was asked for.
    pub md5: Option<String>,
}

// === impl Hasher ===

impl Hasher {
    /// Begins with no bytes; MD5 is computed only where the checksum is one.
    #[must_use]
    pub fn for_checksum(checksum: Option<&Checksum>) -> Self {
        let md5 = matches!(checksum, Some(Checksum::Md5(_))).then(Md5::new);
        let sha256 = Context::new(&SHA256);
        Self { sha256, md5 }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// Returns the digests of all bytes.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            sha256: hex(self.sha256.finish().as_ref()),
            md5: self.md5.map(|md5| hex(&md5.finalize())),
        }
    }
}

// === impl Digests ===

impl Digests {
    /// Returns the digest that was promised and the one that it is instead, where they differ.
    #[must_use]
    pub fn differs_from(&self, promised: &Checksum) -> Option<(String, String)> {
        let (promised, found) = match promised {
            Checksum::Sha256(promised) => (promised, &self.sha256),
            Checksum::Md5(promised) => (promised, self.md5.as_ref()?),
        };
        let same = promised.eq_ignore_ascii_case(found);
        (!same).then(|| (promised.clone(), found.clone()))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Returns the SHA-256 of a short text.
pub(crate) fn sha256(text: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, text).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_standards_own_examples() {
        let mut hasher = Hasher::for_checksum(Some(&Checksum::Md5(String::new())));
        hasher.update(b"a");
        hasher.update(b"bc");
        let digests = hasher.finish();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digests.sha256, sha256);
        assert_eq!(
            digests.md5.as_deref(),
            Some("900150983cd24fb0d6963f7d28e17f72")
        );
        let upper = Checksum::Sha256(sha256.to_uppercase());
        assert_eq!(digests.differs_from(&upper), None);
        assert!(digests.differs_from(&Checksum::Md5("00".into())).is_some());
    }
}
