//! `impetus chat`: a conversation with a model, in a terminal or a pipe.
//!
//! A question goes to `/v1/chat/completions` with the conversation so far, and the answer is written as it comes.
//! Given as an argument it is the only one; otherwise every line of the input is one, `/reset` begins anew, and the
//! end of the input is the end. A question that got no answer is forgotten, so that it can be asked again; where
//! nobody sits in front of a terminal to do so, it ends the command.
//!
//! What a model writes may be anything: characters that would steer the terminal are left out.

mod events;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, IsTerminal, Write};

use owo_colors::OwoColorize;
use serde_json::{Value, json};

use crate::cli::fetch::{Answer, NoAnswer, Streaming, stream};
use crate::cli::words::{good, one_line};
use crate::cli::{ChatArgs, answered};
use crate::exit::Exit;
use events::{Event, Events};

const ENDPOINT: &str = "/v1/chat/completions";
/// Forgets the conversation.
const RESET: &str = "/reset";

/// Where a conversation takes place.
pub struct Streams<'a> {
    /// Questions, a line each.
    pub input: &'a mut dyn BufRead,
    /// Answers.
    pub out: &'a mut dyn Write,
    /// What else there is to say.
    pub err: &'a mut dyn Write,
    /// Whether somebody sits in front of it.
    pub is_terminal: bool,
}

/// Why there is no answer, or not all of one.
#[derive(Debug)]
enum Failure {
    NoAnswer(NoAnswer),
    /// The server cannot answer now, or could not go on.
    Unavailable(String),
    /// It cannot be written.
    NotWritten(io::Error),
}

/// What was said so far.
struct Conversation<'a> {
    args: &'a ChatArgs,
    messages: Vec<Value>,
}

/// Runs the command on the process's own streams, and returns how to end.
pub fn run(args: &ChatArgs) -> Exit {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    run_on(
        args,
        Streams {
            input: &mut io::stdin().lock(),
            out: &mut anstream::stdout(),
            err: &mut anstream::stderr(),
            is_terminal,
        },
    )
}

/// Runs the command on these streams.
pub fn run_on(args: &ChatArgs, streams: Streams<'_>) -> Exit {
    let mut conversation = Conversation::new(args);
    match &args.prompt {
        Some(question) => match conversation.ask(question, &mut *streams.out, &mut *streams.err) {
            Ok(()) => Exit::Clean,
            Err(failure) => failure.tell(streams.err),
        },
        None => conversation.go_on(streams),
    }
}

// === impl Conversation ===

impl<'a> Conversation<'a> {
    fn new(args: &'a ChatArgs) -> Self {
        let mut conversation = Self {
            args,
            messages: Vec::new(),
        };
        conversation.reset();
        conversation
    }

    fn reset(&mut self) {
        let system = self.args.system.iter();
        let system = system.map(|text| json!({"role": "system", "content": text}));
        self.messages = system.collect();
    }

    /// Answers questions until there are no more.
    fn go_on(&mut self, streams: Streams<'_>) -> Exit {
        let Streams {
            input,
            out,
            err,
            is_terminal,
        } = streams;
        if is_terminal {
            let _ = writeln!(err, "{RESET} begins anew, Ctrl-D ends");
        }
        let mut line = String::new();
        loop {
            if is_terminal {
                let _ = write!(out, "{} ", ">".style(good())).and_then(|()| out.flush());
            }
            line.clear();
            match input.read_line(&mut line) {
                Ok(0) => return Exit::Clean,
                Ok(_) => {}
                Err(error) => {
                    let _ = writeln!(err, "impetus: the input cannot be read: {error}");
                    return Exit::Internal;
                }
            }
            match line.trim() {
                "" => continue,
                RESET => self.reset(),
                question => {
                    if let Err(failure) = self.ask(question, out, err) {
                        let exit = failure.tell(err);
                        if !is_terminal || exit == Exit::Internal {
                            return exit;
                        }
                    }
                }
            }
        }
    }

    /// Asks a question and writes the answer as it comes.
    fn ask(
        &mut self,
        question: &str,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<(), Failure> {
        self.messages
            .push(json!({"role": "user", "content": question}));
        match self.answer(out, err) {
            Ok(answer) => {
                self.messages
                    .push(json!({"role": "assistant", "content": answer}));
                Ok(())
            }
            Err(failure) => {
                self.messages.pop();
                Err(failure)
            }
        }
    }

    fn answer(&self, out: &mut dyn Write, err: &mut dyn Write) -> Result<String, Failure> {
        let args = self.args;
        let from = (args.url.as_str(), ENDPOINT);
        let reader = match stream(from, &self.request(), args.timeout.get())? {
            Streaming::Begun(reader) => reader,
            Streaming::Refused(answer) => return Err(refused(answer)),
        };
        let mut answer = String::new();
        let mut is_cut = false;
        for event in Events::of(reader) {
            match event {
                Event::Text(text) => {
                    write_harmless(&text, out)?;
                    answer.push_str(&text);
                }
                Event::Cut => is_cut = true,
                Event::Failed(reason) => {
                    end_line(&answer, out)?;
                    return Err(Failure::Unavailable(one_line(&reason)));
                }
                Event::BrokenOff(reason) => {
                    end_line(&answer, out)?;
                    let url = args.url.clone();
                    return Err(NoAnswer::BrokenOff { url, reason }.into());
                }
            }
        }
        end_line(&answer, out)?;
        if is_cut {
            let _ = writeln!(
                err,
                "impetus: the answer was cut: it has as many tokens as it may"
            );
        }
        Ok(answer)
    }

    fn request(&self) -> Value {
        let args = self.args;
        let mut request = json!({"messages": self.messages, "stream": true});
        for (name, value) in [
            ("model", args.model.as_ref().map(|model| json!(model))),
            ("max_tokens", args.max_tokens.map(|most| json!(most))),
            (
                "temperature",
                args.temperature.map(|temperature| json!(temperature)),
            ),
        ] {
            if let Some(value) = value {
                request[name] = value;
            }
        }
        request
    }
}

/// Writes text without what would steer the terminal.
fn write_harmless(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let is_harmless = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
    let text: String = text.chars().filter(is_harmless).collect();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Ends the last line of an answer, if it has not ended itself.
fn end_line(answer: &str, out: &mut dyn Write) -> io::Result<()> {
    match answer.is_empty() || answer.ends_with('\n') {
        true => Ok(()),
        false => writeln!(out),
    }
}

fn refused(answer: Answer) -> Failure {
    match (answer.error().map(one_line), answer.code) {
        // Too many requests are as little the question's fault as a model that is being loaded.
        (Some(reason), 429 | 500..) => Failure::Unavailable(reason),
        (Some(reason), code) if code != 404 || reason.contains("model") => {
            NoAnswer::Refused(reason).into()
        }
        _ => answer.stranger("conversation").into(),
    }
}

// === impl Failure ===

impl Failure {
    /// Says what went wrong and what to do, and returns how to end.
    fn tell(&self, err: &mut dyn Write) -> Exit {
        let (reason, advice, exit) = match self {
            Self::NotWritten(error) => {
                return answered(Err(io::Error::from(error.kind())), Exit::Clean);
            }
            Self::Unavailable(reason) => (
                reason.clone(),
                "Ask again in a moment; `impetus status` shows what is wrong",
                Exit::Unhealthy,
            ),
            Self::NoAnswer(error) => (error.to_string(), advice(error), exit(error)),
        };
        answered(writeln!(err, "impetus: {reason}\n  {advice}"), exit)
    }
}

fn advice(error: &NoAnswer) -> &'static str {
    match error {
        NoAnswer::Unreachable { .. } => {
            "Is the server running? `impetus serve` starts one; --url names another address"
        }
        NoAnswer::BrokenOff { .. } => "Its log says why; ask again",
        NoAnswer::Refused(_) => {
            "`impetus chat --help` lists what can be said; --model names another model"
        }
        NoAnswer::Stranger { .. } | NoAnswer::Tls { .. } => {
            "--url names the address of a server with a model that generates text, such as http://127.0.0.1:8080"
        }
    }
}

fn exit(error: &NoAnswer) -> Exit {
    match error {
        NoAnswer::Refused(_) => Exit::Usage,
        _ => Exit::Unreachable,
    }
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Self {
        Self::NoAnswer(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::NotWritten(error)
    }
}
