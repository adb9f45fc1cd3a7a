//! What the model alone allows: sessions that run batch after batch, each on a thread of its own.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, json};

use super::RepeatArgs;
use super::model::{self, Model};

/// Runs before those that count.
const SETTLE: usize = 3;

/// Writes rows a second, of all sessions together, for each size of batch.
pub(super) fn repeat(args: &RepeatArgs) -> anyhow::Result<()> {
    let environment = model::start_runtime(&args.model.library)?;
    let open = |_| Model::open(&environment, &args.model.model);
    let mut models = (0..args.sessions)
        .map(open)
        .collect::<Result<Vec<_>, _>>()?;
    let time = Duration::try_from_secs_f64(args.seconds)?;
    let mut figures = Map::new();
    for rows in &args.batches {
        let per_second = thread::scope(|scope| {
            let runs: Vec<_> = models
                .iter_mut()
                .map(|model| scope.spawn(|| one(model, *rows, time)))
                .collect();
            runs.into_iter()
                .map(|run| run.join().expect("a session's thread does not panic"))
                .sum::<ort::Result<f64>>()
        })?;
        figures.insert(rows.to_string(), json!(per_second));
    }
    let mut stdout = std::io::stdout();
    serde_json::to_writer(&mut stdout, &figures)?;
    stdout.write_all(b"\n")?;
    Ok(())
}

/// Returns the rows a second of one session.
fn one(model: &mut Model, rows: usize, time: Duration) -> ort::Result<f64> {
    let data = vec![0.5; model.numbers() * rows];
    for _ in 0..SETTLE {
        model.run_shaped(model.shape_of(rows), &data)?;
    }
    let began = Instant::now();
    let mut runs = 0;
    while began.elapsed() < time {
        model.run_shaped(model.shape_of(rows), &data)?;
        runs += 1;
    }
    Ok((runs * rows) as f64 / began.elapsed().as_secs_f64())
}
