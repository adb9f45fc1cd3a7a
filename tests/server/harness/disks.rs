//! Disks with something wrong with them.
//!
//! Root may mount, and then the disk is a real one in memory. Where mounting is not allowed, each
//! fault has another way to come about, so that no test is left out.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A folder that cannot be written until it is mended.
pub struct ReadOnly {
    disk: Result<Mount, TempDir>,
}

/// A disk in memory; unmounted when dropped.
pub struct Mount {
    dir: TempDir,
}

/// Makes whatever is opened anew below a folder read-only; taken away when dropped. What is open
/// already stays as it is.
pub struct Cover {
    folder: PathBuf,
    by_mount: bool,
}

// === impl ReadOnly ===

impl ReadOnly {
    pub fn new() -> Self {
        if let Some(disk) = Mount::try_new("ro,size=4m") {
            return Self { disk: Ok(disk) };
        }
        let dir = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            // Permissions do not bind root; that a folder is none binds everybody.
            fs::write(dir.path().join("data"), b"").unwrap();
        } else {
            fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
        }
        Self { disk: Err(dir) }
    }

    /// Returns the folder the server is to write into.
    pub fn folder(&self) -> PathBuf {
        match &self.disk {
            Ok(disk) => disk.path().join("data"),
            Err(dir) => dir.path().join("data"),
        }
    }

    /// Makes the folder one that can be written.
    pub fn mend(&self) {
        match &self.disk {
            Ok(disk) => disk.remount("rw,size=4m"),
            Err(dir) => {
                fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
                // There only for root.
                let _ = fs::remove_file(dir.path().join("data"));
            }
        }
    }
}

// === impl Mount ===

impl Mount {
    /// Mounts a disk in memory, if this process may.
    pub fn try_new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", options, "impetus-test"], dir.path()).then_some(Self { dir })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes until nothing more fits. Removing what this returns makes room again.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut filler = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
        path
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(
            mount(&["-o", &options], self.path()),
            "the disk cannot be remounted"
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, so that it is gone also while a server that is just ending has files open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

// === impl Cover ===

impl Cover {
    /// Covers the folder, if this process may: root where it may mount, anybody else by taking away
    /// the right to write.
    pub fn try_read_only(folder: &Path) -> Option<Self> {
        let itself = folder.to_str().unwrap();
        let by_mount = mount(&["--bind", itself], folder);
        if !by_mount && rustix::process::geteuid().is_root() {
            // Permissions do not bind root.
            return None;
        }
        // Taken away again also when the next step fails.
        let cover = Self {
            folder: folder.to_owned(),
            by_mount,
        };
        if by_mount {
            return mount(&["-o", "remount,bind,ro"], folder).then_some(cover);
        }
        cover.permit(0o555, 0o444);
        Some(cover)
    }

    fn permit(&self, folder: u32, files: u32) {
        let set = |path: &Path, mode| {
            let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        };
        let entries = fs::read_dir(&self.folder).unwrap().flatten();
        entries.for_each(|entry| set(&entry.path(), files));
        set(&self.folder, folder);
    }
}

impl Drop for Cover {
    fn drop(&mut self) {
        if self.by_mount {
            // Lazily: whoever has opened something below it need not close it for that.
            let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
        } else {
            self.permit(0o755, 0o644);
        }
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mut command = Command::new("mount");
    command
        .args(arguments)
        .arg(at)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
