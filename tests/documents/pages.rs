//! The pages of the documentation, and the blocks that are in them.

use std::fs;
use std::path::Path;

use crate::block::{Block, Shown};
use crate::commands;
use crate::harness::repo;

/// Folders with pages; what is below them counts as well.
const FOLDERS: [&str; 2] = ["docs", "k8s"];

/// A page.
pub struct Page {
    /// From the root of the repository.
    pub path: String,
    pub text: String,
}

/// Returns every page, in the order of their paths.
pub fn all() -> Vec<Page> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&repo().join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: String| Page {
        text: fs::read_to_string(repo().join(&path)).unwrap(),
        path,
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let relative = path.strip_prefix(repo()).unwrap();
            paths.push(relative.to_str().unwrap().to_owned());
        }
    }
}

/// A part of a page: a fence, or a line outside of any.
pub enum Part<'a> {
    Fence {
        line: usize,
        language: &'a str,
        text: String,
    },
    Line {
        line: usize,
        text: &'a str,
    },
}

// === impl Page ===

impl Page {
    /// Returns the page in parts, lines counted from 1.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut lines = self.text.lines().zip(1..);
        while let Some((text, line)) = lines.next() {
            let Some(language) = text.trim_start().strip_prefix("```") else {
                parts.push(Part::Line { line, text });
                continue;
            };
            let indent = text.len() - text.trim_start().len();
            let mut inside = String::new();
            for (text, _) in lines.by_ref() {
                if text.trim_start().starts_with("```") {
                    break;
                }
                inside.push_str(text.get(indent..).unwrap_or_default());
                inside.push('\n');
            }
            parts.push(Part::Fence {
                line,
                language,
                text: inside,
            });
        }
        parts
    }

    /// Returns all that is to be run, in the order of the page.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut site = None;
        let mut may_show = false;
        for part in self.parts() {
            match part {
                Part::Fence {
                    line,
                    language: "bash" | "sh",
                    text,
                } => {
                    blocks.push(self.block(line, site.take(), commands::split(&text, line)));
                    may_show = true;
                }
                Part::Fence { language, text, .. } => {
                    if std::mem::take(&mut may_show) {
                        let block = blocks.last_mut().expect("something was run just above");
                        block.shown = Shown::read(language, &text);
                    }
                }
                Part::Line { line, text } => {
                    site = site_of(text).or(site.filter(|_| text.trim().is_empty()));
                    may_show = false;
                    let spoken = commands::in_a_line(text, line);
                    if !spoken.is_empty() {
                        blocks.push(self.block(line, None, spoken));
                    }
                }
            }
        }
        blocks
    }

    fn block(&self, line: usize, site: Option<String>, commands: Vec<commands::Command>) -> Block {
        Block {
            place: format!("{}:{line}", self.path),
            site,
            commands,
            shown: None,
        }
    }
}

/// Reads `<!-- server: NAME -->`.
fn site_of(line: &str) -> Option<String> {
    let inside = line.trim().strip_prefix("<!-- server: ")?;
    Some(inside.strip_suffix("-->")?.trim().to_owned())
}
