//! Authorities and certificates, made by the command `openssl`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// An authority that signs certificates for 127.0.0.1; nobody trusts it who is not told to.
pub struct Authority {
    dir: TempDir,
}

// === impl Authority ===

impl Authority {
    pub fn new() -> Self {
        let authority = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut words = vec!["req", "-x509", "-subj", "/CN=Test authority"];
        words.extend(["-keyout", "ca.key", "-out", "ca.pem", "-days", "2"]);
        words.extend(["-addext", "basicConstraints=critical,CA:true"]);
        words.extend(["-addext", "keyUsage=critical,keyCertSign"]);
        authority.openssl(&[&words[..], NEW_KEY].concat());
        authority
    }

    /// Returns the file with its certificate, by which it is known.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// Signs a certificate for 127.0.0.1; returns the files with it and with its key.
    pub fn sign(&self) -> (PathBuf, PathBuf) {
        let request = [
            "req",
            "-subj",
            "/CN=127.0.0.1",
            "-keyout",
            "own.key",
            "-out",
            "own.csr",
        ];
        self.openssl(&[&request[..], NEW_KEY].concat());
        let facts = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:false\n\
                     extendedKeyUsage=serverAuth\n";
        fs::write(self.dir.path().join("facts"), facts).unwrap();
        let mut words = vec![
            "x509", "-req", "-in", "own.csr", "-out", "own.pem", "-days", "2",
        ];
        words.extend(["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]);
        words.extend(["-extfile", "facts"]);
        self.openssl(&words);
        let file = |name| self.dir.path().join(name);
        (file("own.pem"), file("own.key"))
    }

    /// Signs a certificate, and returns a file with it and its key in one, as HAProxy wants them.
    pub fn sign_together(&self) -> PathBuf {
        let (certificate, key) = self.sign();
        let together = self.dir.path().join("together.pem");
        let parts = [certificate, key].map(|part| fs::read_to_string(part).unwrap());
        fs::write(&together, parts.concat()).unwrap();
        together
    }

    fn openssl(&self, words: &[&str]) {
        let output = Command::new("openssl")
            .args(words)
            .current_dir(self.dir.path())
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}; run scripts/install-openssl.sh"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {words:?}: {errors}");
    }
}

const NEW_KEY: &[&str] = &[
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];
