//! How fast numbers in JSON become a tensor, against serde_json into a `Vec<f32>`.
//!
//! As many numbers as a request to the demo model has, in lists as clients write them. Both read in
//! turn, on one thread; ours reads the whole request around the list as well. The fastest of many
//! runs counts, because whatever else the machine does only makes one slower.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

use anyhow::ensure;
use impetus::oip::json;

use crate::report::{Report, Table, Verdict};
use crate::server::Places;
use crate::stats::Spread;

const NUMBERS: usize = 3072;
/// Lists read in one run.
const LISTS: usize = 50;
const RUNS: usize = 100;
/// How many times faster than serde_json.
const AT_LEAST: f64 = 3.0;

/// A list, and whether the promise is about it.
struct List {
    name: &'static str,
    text: String,
    is_promised: bool,
}

/// What a list is called, whether the promise is about it, and how it writes a number.
type Kind = (&'static str, bool, fn(u64) -> String);

pub(super) fn run(_: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("numbers");
    let title = format!("{NUMBERS} numbers of JSON, nanoseconds for each");
    let mut table = Table::new(title, ["list", "serde_json", "impetus", "times faster"]);
    for list in lists() {
        let (theirs, ours) = measure(&list.text)?;
        let ratio = report.figure(format!("{} times", list.name), Spread::of([theirs / ours])?);
        table.row([
            list.name.to_owned(),
            format!("{theirs:.1}"),
            format!("{ours:.1}"),
            ratio.text(2),
        ]);
        if list.is_promised {
            report.verdict(Verdict::new(
                &format!("{}: {AT_LEAST} times as fast as serde_json", list.name),
                Some(format!("{:.2}", theirs / ours)),
                Some(theirs / ours >= AT_LEAST),
            ));
        }
    }
    report.table(table);
    Ok(report)
}

fn lists() -> Vec<List> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let kinds: [Kind; 4] = [
        ("short, 0.5", true, |n| format!("0.{}", n % 10)),
        ("as Python writes them, 0.30000001192092896", true, |n| {
            f64::from((n % (1 << 24)) as f32 / (1 << 24) as f32).to_string()
        }),
        ("shortest of binary32, 0.3", false, |n| {
            ((n % (1 << 24)) as f32 / (1 << 24) as f32).to_string()
        }),
        ("whole, 0 to 255", false, |n| (n % 256).to_string()),
    ];
    kinds
        .map(|(name, is_promised, number)| {
            let mut text = String::new();
            for index in 0..NUMBERS {
                let comma = if index > 0 { ", " } else { "" };
                let number = number(next());
                write!(text, "{comma}{number}").expect("memory takes whatever is written");
            }
            List {
                name,
                text: format!("[{text}]"),
                is_promised,
            }
        })
        .into()
}

/// Returns how many nanoseconds a number takes by serde_json, and by the server's reader.
fn measure(list: &str) -> anyhow::Result<(f64, f64)> {
    let request = format!(
        r#"{{"inputs":[{{"name":"x","shape":[{NUMBERS}],"datatype":"FP32","data":{list}}}]}}"#
    );
    let expected: Vec<f32> = serde_json::from_str(list)?;
    ensure!(expected.len() == NUMBERS, "{} numbers", expected.len());
    let (mut theirs, mut ours) = (f64::MAX, f64::MAX);
    for _ in 0..RUNS {
        theirs = theirs.min(fastest(|| {
            serde_json::from_str::<Vec<f32>>(black_box(list)).is_ok()
        })?);
        ours = ours.min(fastest(|| {
            json::read(black_box(request.as_bytes())).is_ok()
        })?);
    }
    Ok((theirs, ours))
}

fn fastest(read: impl Fn() -> bool) -> anyhow::Result<f64> {
    let began = Instant::now();
    for _ in 0..LISTS {
        ensure!(read(), "the list is not read");
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / (LISTS * NUMBERS) as f64)
}
