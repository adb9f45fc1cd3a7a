//! The commands of the pages that no test runs, each with its reason.
//!
//! The list is to stay short. One that no page uses fails the tests.

/// A command that is not run.
pub struct Exception {
    /// How it begins.
    pub begins: &'static str,
    /// Why not; for whoever wants to shorten the list.
    pub why: &'static str,
}

pub const NOT_RUN: &[Exception] = &[
    Exception {
        begins: "target/release/impetus-bench",
        why: "measures for minutes, and wants a quiet machine",
    },
    Exception {
        begins: "for what in bare",
        why: "counts instructions under valgrind, which the tests do without",
    },
    Exception {
        begins: "benches/peers/run.py",
        why: "installs other servers and strikes them for forty minutes",
    },
    Exception {
        begins: ".test/clients/bin/python benches/peers/tensors.py",
        why: "sends a million requests, and wants a quiet machine",
    },
    Exception {
        begins: "python models/make_shapes.py",
        why: "wants torch, which is gigabytes",
    },
    Exception {
        begins: "docker ",
        why: "wants Docker and a registry; the image has a check of its own",
    },
    Exception {
        begins: "ctr ",
        why: "wants containerd",
    },
    Exception {
        begins: "kubectl exec -n mlops impetus-postgresql-0",
        why: "asks a PostgreSQL, which no test starts",
    },
    Exception {
        begins: "impetus doctor",
        why: "looks whether the usual ports are free, which others may have; tests/config runs it",
    },
    Exception {
        begins: "impetus models download",
        why: "wants a store that it can fetch from; tests/server/remote has some",
    },
    Exception {
        begins: "tests/kubelet/run.py",
        why: "starts a kubelet, as root, for minutes",
    },
];

// === impl Exception ===

impl Exception {
    pub fn covers(&self, command: &str) -> bool {
        command.starts_with(self.begins)
    }
}

/// Returns whether a command is not to be run.
pub fn covers(command: &str) -> bool {
    NOT_RUN.iter().any(|exception| exception.covers(command))
}
