//! Digests in files as the commands of coreutils write them.
//!
//! `DIGEST  NAME` or `DIGEST *NAME`, `\` before it where the name has `\\` or `\n` in it; or, of one
//! file alone, `SHA256 (NAME) = DIGEST` and the bare digest.

use std::collections::BTreeMap;

use crate::remote::Checksum;

/// The file of a folder's digests.
pub(super) const SUMS: &str = "SHA256SUMS";
/// How long it may be, in bytes.
pub(super) const MOST: usize = 4 << 20;

/// Reads the digests of a folder, by path.
pub(super) fn of_folder(text: &str) -> Result<BTreeMap<String, Checksum>, String> {
    let lines = text.lines().enumerate();
    let meant = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    meant
        .map(|(at, line)| {
            let (name, digest) = line_of(line)
                .ok_or_else(|| format!("line {} of {SUMS} is not a digest and a name", at + 1))?;
            let path = name.trim_start_matches("./").to_owned();
            Ok((path, Checksum::Sha256(digest)))
        })
        .collect()
}

/// Reads the digest of a file from a file beside it.
pub(super) fn of_file(text: &str, name: &str) -> Option<Checksum> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next()?;
    let only = lines.next().is_none();
    let bare = || digest_of(first.trim());
    let found = text
        .lines()
        .filter_map(line_of)
        .find(|(named, _)| only || last(named) == name)
        .map(|(_, digest)| digest);
    found
        .or_else(|| only.then(bare).flatten())
        .map(Checksum::Sha256)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads a line; returns the name and the digest.
fn line_of(line: &str) -> Option<(String, String)> {
    if let Some(rest) = line.strip_prefix("SHA256 (") {
        let (name, digest) = rest.rsplit_once(") = ")?;
        return Some((name.to_owned(), digest_of(digest.trim())?));
    }
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(line) => (true, line),
        None => (false, line),
    };
    let digest = digest_of(line.get(..64)?)?;
    let name = line.get(64..)?;
    let name = name
        .strip_prefix("  ")
        .or_else(|| name.strip_prefix(" *"))?;
    let name = match escaped {
        true => name.replace("\\n", "\n").replace("\\\\", "\\"),
        false => name.to_owned(),
    };
    Some((name, digest))
}

fn digest_of(text: &str) -> Option<String> {
    let is = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is.then(|| text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_coreutils_writes_is_read() {
        let (a, b) = ("A".repeat(64), "b".repeat(64));
        let text = format!("{a}  model.onnx\n{b} *./data/w.bin\n\n");
        let sums = of_folder(&text).unwrap();
        assert_eq!(sums["model.onnx"], Checksum::Sha256(a.to_lowercase()));
        assert_eq!(sums["data/w.bin"], Checksum::Sha256(b));
        for wrong in ["<html>", "abc  model.onnx", &format!("{a} model.onnx")] {
            assert!(of_folder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_beside_another_says_its_digest_in_several_ways() {
        let a = "a".repeat(64);
        let digest = Some(Checksum::Sha256(a.clone()));
        let texts = [
            a.clone(),
            format!("{a}\n"),
            format!("{a}  build/m.onnx\n"),
            format!("SHA256 (m.onnx) = {a}"),
            format!("{}  other\n{a}  m.onnx", "b".repeat(64)),
        ];
        for text in texts {
            assert_eq!(of_file(&text, "m.onnx"), digest, "{text}");
        }
        assert_eq!(of_file("<html>", "m.onnx"), None);
        assert_eq!(of_file("", "m.onnx"), None);
    }
}
