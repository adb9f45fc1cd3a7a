//! What the server says where its model folder is empty.
//!
//! It is the first thing that whoever installs it meets: a fresh volume has no models and hides those
//! of the image. So the reason names the folder and what belongs there and, where a demo model was
//! installed with the binary (`share/impetus/models` beside its folder, as in the image), the command
//! that puts it there. That is looked up once, at the start; nothing is ever copied by itself, because
//! whoever forgot to mount a model must not get answers from another one.

use std::path::{Path, PathBuf};

/// Where demo models lie, from the folder above the binary's.
const INSTALLED: &str = "share/impetus/models";

/// Returns the reason for the server that runs here.
pub(super) fn reason(models: &Path) -> String {
    let executable = std::env::current_exe().ok();
    describe(models, executable.and_then(|path| installed(&path)))
}

fn installed(executable: &Path) -> Option<PathBuf> {
    let prefix = executable.parent()?.parent()?;
    Some(prefix.join(INSTALLED)).filter(|folder| folder.is_dir())
}

fn describe(models: &Path, demo: Option<PathBuf>) -> String {
    let models = std::path::absolute(models).unwrap_or_else(|_| models.to_owned());
    let folder = models.display();
    let mut text = format!("there is no model in {folder}: put one there as <name>/model.onnx");
    if let Some(demo) = demo {
        let copy = format!(
            ", or the demo model by cp -r {}/. {folder}/",
            demo.display()
        );
        text.push_str(&copy);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_folder_is_named_with_what_belongs_there() {
        let expected = "there is no model in /models: put one there as <name>/model.onnx";
        assert_eq!(describe(Path::new("/models"), None), expected);
    }

    #[test]
    fn a_demo_model_that_was_installed_with_the_binary_is_offered() {
        let prefix = tempfile::tempdir().unwrap();
        let binary = prefix.path().join("bin/impetus");
        assert_eq!(installed(&binary), None);

        let demo = prefix.path().join("share/impetus/models");
        std::fs::create_dir_all(&demo).unwrap();
        assert_eq!(installed(&binary), Some(demo.clone()));

        let text = describe(Path::new("/models"), Some(demo.clone()));
        let command = format!("cp -r {}/. /models/", demo.display());
        assert!(text.ends_with(&command), "{text}");
    }
}
