//! Files that a description names: the model's own, its labels, samples.
//!
//! A description comes with the model, often from somebody else, so it names no file of the
//! machine: everything it names lies in the model's folder or below it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::Description;

/// The model's file where the description names no other.
const MODEL_FILE: &str = "model.onnx";

/// Larger files are no lists of names.
const MAX_LABELS_BYTES: u64 = 16 << 20;

// === impl Description ===

impl Description {
    /// Returns the name of the model's file, in its folder or in that of a version.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file.as_deref().unwrap_or(MODEL_FILE)
    }

    /// Returns the names of the classes that an output scores; nothing where the labels are those
    /// of another output.
    #[must_use]
    pub fn labels_of(&self, output: &str) -> &[String] {
        match &self.labels_output {
            Some(labelled) if labelled != output => &[],
            _ => &self.labels,
        }
    }

    /// Reads what the description refers to, and makes the files it names those in the model's
    /// folder. Blocks on the file system.
    ///
    /// # Errors
    /// Says which key names a file that is elsewhere, or cannot be read.
    pub fn resolve(&mut self, folder: &Path) -> Result<(), String> {
        if let Some(file) = &self.file {
            plain_name(file)?;
        }
        if let Some(name) = &self.labels_file {
            let path = inside(folder, "labels_file", name)?;
            self.labels = read_labels("labels_file", &path)?;
            self.reads.push(path);
        }
        for sample in &mut self.warm_up {
            sample.resolve(folder)?;
            self.reads.extend(sample.files().cloned());
        }
        Ok(())
    }
}

/// Returns the path of a file that the key of a description names.
///
/// # Errors
/// Says which key names a file outside the model's folder.
pub fn inside(folder: &Path, key: &str, name: &Path) -> Result<PathBuf, String> {
    let mut parts = name.components().peekable();
    let is_inside = parts.peek().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match is_inside {
        true => Ok(folder.join(name)),
        false => Err(format!(
            "{key} is {}, which is not in the model's folder: give a path below it",
            name.display()
        )),
    }
}

/// Reads the names of classes, one a line, in the order of the output.
///
/// # Errors
/// Says which key names a file that cannot be read, or holds no name.
pub fn read_labels(key: &str, path: &Path) -> Result<Vec<String>, String> {
    let failed = |error| format!("{key}: {} cannot be read: {error}", path.display());
    if fs::metadata(path).map_err(failed)?.len() > MAX_LABELS_BYTES {
        return Err(format!(
            "{key}: {} is too large to be labels",
            path.display()
        ));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let mut labels: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    // A blank line between others keeps its place in the order; those at the end are none.
    while labels.last().is_some_and(String::is_empty) {
        labels.pop();
    }
    match labels.is_empty() {
        true => Err(format!("{key}: {} holds no label", path.display())),
        false => Ok(labels),
    }
}

fn plain_name(file: &str) -> Result<(), String> {
    let mut parts = Path::new(file).components();
    let one = matches!(parts.next(), Some(Component::Normal(name)) if name == file);
    match one && parts.next().is_none() {
        true => Ok(()),
        false => Err(format!(
            "file is {file:?}: give the name of a file, without a folder"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_below_the_folder_or_not_at_all() {
        let path = |name: &str| inside(Path::new("/m"), "labels_file", Path::new(name));
        assert_eq!(path("labels.txt").unwrap(), Path::new("/m/labels.txt"));
        assert_eq!(path("a/b").unwrap(), Path::new("/m/a/b"));
        for elsewhere in ["", "/etc/passwd", "../other/labels.txt", "a/../../b"] {
            let refused = path(elsewhere).unwrap_err();
            assert!(refused.contains("labels_file"), "{refused}");
        }
    }

    #[test]
    fn the_models_file_is_a_name_without_a_folder() {
        let resolve = |file: &str| {
            let file = Some(file.to_owned());
            let mut description = Description {
                file,
                ..Description::default()
            };
            description.resolve(Path::new("/m"))
        };
        assert_eq!(resolve("best.onnx"), Ok(()));
        for folder in ["", "a/b.onnx", "../m.onnx", "/m.onnx", "b/"] {
            assert!(resolve(folder).unwrap_err().contains("without a folder"));
        }
        assert_eq!(Description::default().file_name(), "model.onnx");
    }

    #[test]
    fn labels_are_read_one_a_line_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("labels.txt"), "cat\r\n\ndog \n\n").unwrap();
        let mut description: Description =
            toml::from_str("labels_file = \"labels.txt\"\nlabels_output = \"scores\"").unwrap();
        description.resolve(dir.path()).unwrap();
        assert_eq!(description.labels, ["cat", "", "dog"]);
        assert_eq!(description.reads, [dir.path().join("labels.txt")]);
        assert_eq!(description.labels_of("scores").len(), 3);
        assert!(description.labels_of("boxes").is_empty());
    }

    #[test]
    fn labels_that_cannot_be_read_are_refused_by_key_and_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("empty.txt"), "\n\n").unwrap();
        for (name, why) in [("nowhere.txt", "cannot be read"), ("empty.txt", "no label")] {
            let mut description = Description {
                labels_file: Some(name.into()),
                ..Description::default()
            };
            let refused = description.resolve(dir.path()).unwrap_err();
            assert!(
                refused.starts_with("labels_file: ") && refused.contains(why),
                "{refused}"
            );
            assert!(refused.contains(name), "{refused}");
        }
    }
}
