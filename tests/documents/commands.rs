//! A command as it stands on a page, and what the comment behind it says about its end.

use std::process::{Command as Process, Stdio};

/// One command, over as many lines as it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub line: usize,
    pub text: String,
    pub end: End,
}

/// How a command is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With code 0, and without an HTTP status of 400 or more.
    Well,
    /// With code 0 and this HTTP status.
    Status(u16),
    /// With this code.
    Code(i32),
    /// Not by itself.
    Never,
}

/// What is run also when it stands in a sentence or a table.
const SPOKEN: [&str; 2] = ["curl", "kubectl"];

/// What stands for something of the reader's own, where the form of a command is spoken of.
const PLACES: [&str; 3] = ["FILE", "FOLDER", "NAME"];

/// Splits the text of a block into commands, as the shell would read them one after the other.
pub fn split(text: &str, fence: usize) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut begun = String::new();
    let mut first = 0;
    for (line, number) in text.lines().zip(fence + 1..) {
        if begun.is_empty() {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            first = number;
        }
        begun.push_str(line);
        begun.push('\n');
        if !line.ends_with('\\') && is_whole(&begun) {
            commands.push(Command::new(first, begun.trim_end()));
            begun.clear();
        }
    }
    if !begun.is_empty() {
        commands.push(Command::new(first, begun.trim_end()));
    }
    commands
}

/// Returns the commands that stand between backticks in a line. A single word, a verb without an
/// object or a beginning (`kubectl apply -k`) is talked about and not meant to be run.
pub fn in_a_line(text: &str, line: usize) -> Vec<Command> {
    let spans = text.split('`').skip(1).step_by(2);
    let commands = spans.filter(|span| {
        let words: Vec<&str> = span.split_whitespace().collect();
        let (Some(program), Some(last)) = (words.first(), words.last()) else {
            return false;
        };
        let is_begun = PLACES.contains(last) || (last.len() == 2 && last.starts_with('-'));
        let least = if *program == "curl" { 2 } else { 4 };
        SPOKEN.contains(program) && words.len() >= least && !is_begun
    });
    // A bar inside a table has to be escaped.
    commands
        .map(|span| Command::new(line, &span.replace("\\|", "|")))
        .collect()
}

/// Tells whether the shell would wait for more: an open quote, loop or here-document.
fn is_whole(text: &str) -> bool {
    let checked = Process::new("bash")
        .args(["-n", "-c", text])
        .stdout(Stdio::null())
        .output()
        .unwrap();
    checked.status.success() && checked.stderr.is_empty()
}

// === impl Command ===

impl Command {
    fn new(line: usize, text: &str) -> Self {
        Self {
            line,
            end: End::read(text),
            text: text.to_owned(),
        }
    }
}

// === impl End ===

impl End {
    /// Reads the comment behind a command.
    fn read(text: &str) -> Self {
        let Some((_, comment)) = text.rsplit_once(" # ") else {
            return Self::Well;
        };
        let comment = comment.trim();
        if comment == "until Ctrl-C" {
            return Self::Never;
        }
        if let Some(code) = comment.strip_prefix("exits ") {
            return code.parse().map_or(Self::Well, Self::Code);
        }
        match comment.parse() {
            Ok(status) if comment.len() == 3 => Self::Status(status),
            _ => Self::Well,
        }
    }
}

#[test]
fn a_block_is_read_as_the_shell_would_read_it() {
    let text = "# a comment\n\
                curl http://localhost:8080/ready  # 503\n\
                curl -d '{\n  \"a\": 1}' \\\n    http://localhost:8080/log\n\
                \n\
                impetus status  # exits 2\n";
    let commands = split(text, 10);
    let found: Vec<_> = commands.iter().map(|c| (c.line, c.end)).collect();
    assert_eq!(
        found,
        [(12, End::Status(503)), (13, End::Well), (17, End::Code(2))]
    );
    assert!(commands[1].text.ends_with("8080/log"));
}

#[test]
fn a_command_in_a_table_is_found_and_a_mention_of_a_program_is_not() {
    let line = r"| `curl http://localhost:8081/metrics \| grep x` | see `kubectl exec`, `curl`, \
                 `kubectl apply -n mlops -k` and `kubectl apply -k FOLDER` |";
    let found = in_a_line(line, 7);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text, "curl http://localhost:8081/metrics | grep x");
}
