//! `impetus doctor`: could a server of this configuration run on this machine, and on what.
//!
//! Needs no server. Everything that was looked at is a line; what speaks against it is said again below, in
//! full and with what to do, where the eye is when the prompt comes back.

use std::io::Write;

use crate::cli::table::{Align, Cell, Table, flow};
use crate::cli::words::{bad, faint, good, one_line, warning};
use crate::cli::{DoctorArgs, DoctorOutput, answered, refuse_config};
use crate::config::{Config, LoadArgs};
use crate::doctor::{Finding, State, Subject, WorkerProber, examine, is_fit};
use crate::exit::Exit;

/// Runs the command on the process's own stdout and stderr, and returns how to end.
pub fn run(args: &DoctorArgs, env: impl IntoIterator<Item = (String, String)>) -> Exit {
    let mut out = anstream::stdout();
    let file = args.config.clone();
    let loaded = match Config::load(LoadArgs { file, env }) {
        Ok(loaded) => loaded,
        Err(error) => return refuse_config(&error, &mut anstream::stderr()),
    };
    let findings = examine(&Subject {
        loaded: &loaded,
        file: args.config.clone(),
        prober: &WorkerProber,
    });
    let exit = match is_fit(&findings) {
        true => Exit::Clean,
        false => Exit::Unhealthy,
    };
    let width = terminal_size::terminal_size_of(std::io::stdout())
        .map(|(terminal_size::Width(columns), _)| usize::from(columns));
    let text = match args.output {
        DoctorOutput::Human => render(&findings, width),
        DoctorOutput::Json => {
            let fit = is_fit(&findings);
            format!(
                "{:#}\n",
                serde_json::json!({"fit": fit, "findings": findings})
            )
        }
    };
    answered(out.write_all(text.as_bytes()), exit)
}

fn render(findings: &[Finding], width: Option<usize>) -> String {
    use Align::Left;
    let mut table = Table::new(&[("CHECK", Left), ("STATE", Left), ("FOUND", Left)]);
    for finding in findings {
        table.row(vec![
            Cell::plain(&finding.check),
            state(finding.state),
            Cell::plain(one_line(&finding.found)),
        ]);
    }
    let mut text = table.render(width);
    let to_do = findings.iter().filter(|one| !one.advice.is_empty());
    for finding in to_do {
        let style = match finding.state {
            State::Failed => bad(),
            _ => warning(),
        };
        let (check, found) = (&finding.check, one_line(&finding.found));
        let line = format!("! {check}: {found}: {}", finding.advice);
        text.push_str(&flow(&[Cell::new(line, style)], None));
    }
    let (words, style) = match is_fit(findings) {
        true => ("● a server of this configuration can run here", good()),
        false => (
            "✖ a server of this configuration cannot do what it is to do",
            bad(),
        ),
    };
    text.push_str(&flow(&[Cell::new(words, style.bold())], None));
    text
}

fn state(state: State) -> Cell {
    let (mark, style) = match state {
        State::Ok => ("●", good()),
        State::Absent => ("○", faint()),
        State::Warning => ("◐", warning()),
        State::Failed => ("✖", bad()),
    };
    Cell::new(format!("{mark} {}", state.as_str()), style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &str, state: State, found: &str, advice: &str) -> Finding {
        Finding {
            check: check.to_owned(),
            state,
            found: found.to_owned(),
            advice: advice.to_owned(),
        }
    }

    #[test]
    fn what_speaks_against_it_is_said_again_in_full_whatever_the_terminal_cuts() {
        let findings = [
            finding("port", State::Ok, "127.0.0.1:8080 is free", ""),
            finding(
                "provider cuda",
                State::Warning,
                "not in this library, which is a long story",
                "models run on cpu instead",
            ),
        ];
        let text = anstream::adapter::strip_str(&render(&findings, Some(48))).to_string();
        insta::assert_snapshot!(text, @r"
        CHECK          STATE      FOUND
        port           ● ok       127.0.0.1:8080 is free
        provider cuda  ◐ warning  not in this library,…
        ! provider cuda: not in this library, which is a long story: models run on cpu instead
        ● a server of this configuration can run here
        ");
    }
}
