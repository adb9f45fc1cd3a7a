//! What a model's folder says about it: `model.toml`, or else Triton's `config.pbtxt`, or nothing; and what
//! MLflow's `MLmodel` adds to that.
//!
//! One of the first two files counts, never a mixture: with both there is no telling which of them
//! whoever reads the folder believes. The server's own wins, and says so.

use std::fs;
use std::io;
use std::path::Path;

use super::{mlmodel, triton};
use crate::serving::description::Description;

/// The server's own description.
pub const DESCRIPTION_FILE: &str = "model.toml";
/// The description that Triton reads.
pub const TRITON_FILE: &str = "config.pbtxt";

/// Reads what the folder of a model says about it. Blocks on the file system.
///
/// # Errors
/// What it says is not understood, contradicts itself, or asks for what this server does not
/// serve; the text names the file and the key.
pub fn describe(name: &str, folder: &Path) -> Result<Description, String> {
    let own = folder.join(DESCRIPTION_FILE);
    let theirs = folder.join(TRITON_FILE);
    let mut description = if let Some(text) = read(&own)? {
        let mut description =
            from_toml(name, &text).map_err(|problem| format!("{} {problem}", own.display()))?;
        if theirs.exists() {
            description.notes.push(format!(
                "{TRITON_FILE} is ignored: {DESCRIPTION_FILE} beside it says everything"
            ));
        }
        description
    } else if let Some(text) = read(&theirs)? {
        triton::read_pbtxt(&text)
            .map_err(|problem| problem.to_string())
            .and_then(|config| config.describe(folder))
            .map_err(|problem| format!("{}: {problem}", theirs.display()))?
    } else {
        Description::default()
    };
    mlmodel::complete(&mut description, folder)?;
    if description.file.is_none() {
        description.file = genai_file(folder)?;
    }
    description
        .resolve(folder)
        .map_err(|problem| format!("{}: {problem}", folder.display()))?;
    Ok(description)
}

/// Returns what `config` says about the model in a folder, instead of what lies there: the JSON form
/// of Triton's configuration, as a request to load a model brings it. Blocks on the file system.
///
/// # Errors
/// As for [`describe`].
pub fn describe_as(config: &str, folder: &Path) -> Result<Description, String> {
    let config = triton::from_json(config).map_err(|problem| problem.to_string())?;
    let mut description = config.describe(folder)?;
    description.resolve(folder)?;
    Ok(description)
}

fn read(file: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{} cannot be read: {error}", file.display())),
    }
}

/// Returns the graph's file as onnxruntime-genai's configuration names it, if there is one.
fn genai_file(folder: &Path) -> Result<Option<String>, String> {
    let path = folder.join("genai_config.json");
    let Some(text) = read(&path)? else {
        return Ok(None);
    };
    let config: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| format!("{} is not understood: {error}", path.display()))?;
    let file = config.pointer("/model/decoder/filename");
    Ok(file.and_then(|file| file.as_str()).map(str::to_owned))
}

fn from_toml(name: &str, text: &str) -> Result<Description, String> {
    let description: Description =
        toml::from_str(text).map_err(|error| format!("is not understood: {}", error.message()))?;
    if let Some(problem) = description.problem() {
        return Err(format!("cannot hold: {problem}"));
    }
    match &description.name {
        Some(other) if other != name => Err(format!(
            "says name = {other:?}, but its folder is {name:?}: make them the same"
        )),
        _ => Ok(description),
    }
}
