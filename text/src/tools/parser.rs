//! The parser: text in, content and calls out.

use super::scan::JsonEnd;
use super::{ToolCall, ToolFormat};

/// A header before a call's JSON is a name and perhaps an id; what is longer is no call.
const LONGEST_HEADER: usize = 256;

/// Keys with which a call's object begins in the wild; another first key shows that an answer in
/// JSON is an answer.
const FIRST_KEYS: [&str; 6] = ["name", "parameters", "arguments", "type", "function", "id"];

/// Finds tool calls in one answer.
#[derive(Debug, Clone)]
pub struct ToolCallParser {
    format: ToolFormat,
    stage: Stage,
    /// Text that is undecided.
    held: String,
}

/// What has been decided by a piece of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Text for the client.
    pub content: String,
    /// Calls that are complete.
    pub calls: Vec<ToolCall>,
    /// At the end alone: what there is of a call that was not completed, because generation ended
    /// within it. It is neither text nor a call.
    pub unfinished: Option<String>,
}

/// Where in an answer the parser is. All of the undecided text is in `held`.
#[derive(Debug, Clone)]
enum Stage {
    /// Nothing but whitespace so far, where only the beginning can be a call.
    Beginning,
    /// Text in which a mark may come.
    Text,
    /// Text in which no call can come any more.
    Plain,
    /// After a mark, before its JSON; `json` is where whatever follows the mark begins in `held`.
    Header { json: usize },
    /// In the JSON of a call, which begins at `json` in `held`.
    Json { json: usize, end: JsonEnd },
    /// After a call.
    After,
}

/// What a look at the held text has led to.
enum Progress {
    /// Something was decided; look again.
    On,
    /// More text is needed.
    Waits,
}

// === impl ToolCallParser ===

impl ToolCallParser {
    /// Begins with an answer in `format`.
    pub fn new(format: ToolFormat) -> Self {
        Self {
            format,
            stage: Self::first_stage(format),
            held: String::new(),
        }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> Parsed {
        self.held.push_str(piece);
        let mut parsed = Parsed::default();
        while let Progress::On = self.look(&mut parsed) {}
        parsed
    }

    /// Ends the answer.
    pub fn finish(&mut self) -> Parsed {
        let held = std::mem::take(&mut self.held);
        let mut parsed = Parsed::default();
        match self.stage {
            Stage::Beginning | Stage::Text | Stage::Plain => parsed.content = held,
            Stage::Header { .. } | Stage::Json { .. } => {
                parsed.unfinished = Some(held.trim_start().to_owned())
            }
            Stage::After => {}
        }
        self.stage = Stage::Plain;
        parsed
    }

    fn first_stage(format: ToolFormat) -> Stage {
        match format {
            ToolFormat::Hermes | ToolFormat::Mistral => Stage::Text,
            ToolFormat::Llama3 | ToolFormat::Json => Stage::Beginning,
        }
    }

    /// Decides one thing about the held text.
    fn look(&mut self, parsed: &mut Parsed) -> Progress {
        match &mut self.stage {
            Stage::Beginning => self.look_at_beginning(),
            Stage::Text => self.look_for_mark(parsed),
            Stage::Plain => {
                parsed.content.push_str(&std::mem::take(&mut self.held));
                Progress::Waits
            }
            Stage::Header { json } => {
                let json = *json;
                self.look_at_header(json, parsed)
            }
            Stage::Json { json, end } => {
                let (json, end) = (*json, end.find(&self.held[*json..]));
                self.look_at_json(json, end, parsed)
            }
            Stage::After => self.look_after_call(),
        }
    }

    /// The mark that begins a call.
    fn mark(&self) -> Option<&'static str> {
        self.format.marks().first().copied()
    }

    /// A call may only come first: by its mark, or by a brace.
    fn look_at_beginning(&mut self) -> Progress {
        let start = self.held.len() - self.held.trim_start().len();
        let rest = &self.held[start..];
        let mark = self.mark().unwrap_or("{");
        if rest.starts_with('{') {
            self.stage = Stage::Json {
                json: start,
                end: JsonEnd::default(),
            };
        } else if rest.starts_with(mark) {
            self.stage = Stage::Header {
                json: start + mark.len(),
            };
        } else if mark.starts_with(rest) {
            return Progress::Waits;
        } else {
            self.stage = Stage::Plain;
        }
        Progress::On
    }

    /// Gives out text up to a mark, or up to what may become one.
    fn look_for_mark(&mut self, parsed: &mut Parsed) -> Progress {
        let Some(mark) = self.mark() else {
            return Progress::Waits;
        };
        let found = self.held.find(mark);
        let border = found.unwrap_or_else(|| {
            let begins =
                |at: &usize| self.held.is_char_boundary(*at) && mark.starts_with(&self.held[*at..]);
            let earliest = (self.held.len() + 1).saturating_sub(mark.len());
            (earliest..self.held.len())
                .find(begins)
                .unwrap_or(self.held.len())
        });
        let text = self.held[..border].trim_end().len();
        parsed.content.push_str(&self.held[..text]);
        self.held.drain(..text);
        if found.is_none() {
            return Progress::Waits;
        }
        self.stage = Stage::Header {
            json: border - text + mark.len(),
        };
        Progress::On
    }

    /// After a mark: whitespace, and in Mistral's newer form the tool's name.
    fn look_at_header(&mut self, json: usize, parsed: &mut Parsed) -> Progress {
        let rest = &self.held[json..];
        let brackets: &[char] = if self.format == ToolFormat::Mistral {
            &['{']
        } else {
            &['{', '[']
        };
        let list = self.format == ToolFormat::Mistral && rest.trim_start().starts_with('[');
        let start = if list {
            rest.find('[')
        } else {
            rest.find(brackets)
        };
        let header = rest[..start.unwrap_or(rest.len())].trim();
        let is_header = match self.format {
            ToolFormat::Mistral => {
                header.len() <= LONGEST_HEADER && !header.contains(char::is_whitespace)
            }
            _ => header.is_empty(),
        };
        match start {
            _ if !is_header => self.was_none(json, parsed),
            None => return Progress::Waits,
            Some(start) => {
                self.stage = Stage::Json {
                    json: json + start,
                    end: JsonEnd::default(),
                }
            }
        }
        Progress::On
    }

    /// In a call: until its JSON is complete.
    fn look_at_json(&mut self, json: usize, end: Option<usize>, parsed: &mut Parsed) -> Progress {
        let is_bare = self.format == ToolFormat::Llama3 && self.held[..json].trim().is_empty();
        if is_bare && self.is_another_object(json) {
            self.was_none(self.held.len(), parsed);
            return Progress::On;
        }
        let Some(end) = end.map(|end| json + end) else {
            return Progress::Waits;
        };
        let text = &self.held[json..end];
        let header = match self.format {
            ToolFormat::Mistral => self.held[..json]
                .trim_start()
                .trim_start_matches("[TOOL_CALLS]")
                .trim(),
            _ => "",
        };
        let calls = if is_bare {
            ToolCall::read_with_arguments(text).map(|call| vec![call])
        } else if header.is_empty() {
            ToolCall::read_all(text)
        } else {
            let name = header
                .split("[CALL_ID]")
                .next()
                .unwrap_or(header)
                .trim_end_matches("[ARGS]");
            ToolCall::named(name, text).map(|call| vec![call])
        };
        match calls {
            Some(calls) => {
                parsed.calls.extend(calls);
                self.held.drain(..end);
                self.stage = Stage::After;
            }
            None => self.was_none(end, parsed),
        }
        Progress::On
    }

    /// Returns whether an object shows by its first key that it is no call.
    fn is_another_object(&self, json: usize) -> bool {
        let inside = self.held[json + 1..].trim_start();
        match inside.strip_prefix('"').map(|rest| rest.split_once('"')) {
            Some(Some((key, _))) => !FIRST_KEYS.contains(&key),
            Some(None) => false,
            None => !inside.is_empty(),
        }
    }

    /// Gives out as text what looked like a call and is none, up to `end` in `held`.
    fn was_none(&mut self, end: usize, parsed: &mut Parsed) {
        parsed.content.extend(self.held.drain(..end));
        self.stage = match Self::first_stage(self.format) {
            Stage::Beginning => Stage::Plain,
            first => first,
        };
    }

    /// After a call: its closing mark, and whitespace; then another call or text.
    fn look_after_call(&mut self) -> Progress {
        let rest = self.held.trim_start();
        let closing = match self.format {
            ToolFormat::Hermes => "</tool_call>",
            ToolFormat::Llama3 => ";",
            ToolFormat::Mistral | ToolFormat::Json => "",
        };
        if rest.is_empty() || closing.len() > rest.len() && closing.starts_with(rest) {
            return Progress::Waits;
        }
        let closed = rest.strip_prefix(closing).unwrap_or(rest);
        let follows = if closed.len() < rest.len() {
            closed.trim_start()
        } else {
            closed
        };
        let follows = follows.to_owned();
        self.held = follows;
        if self.held.is_empty() {
            return Progress::Waits;
        }
        self.stage = Self::first_stage(self.format);
        Progress::On
    }
}
