//! How fast a model is fetched, against curl.
//!
//! Both fetch the same gigabyte from a server on this machine that does nothing but send a file. curl
//! writes it and is done; `impetus models download` computes its SHA-256 as it comes, holds it against the
//! digest that lies beside the file, syncs it and makes an entry of the cache of it. Both write into a
//! folder in memory, so that the disk is no part of it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::machine::{Noise, Watch};
use crate::process::Cpu;
use crate::report::{Report, Table, Verdict};
use crate::rounds::Plan;
use crate::server::Places;
use crate::stats::Spread;

const BYTES: u64 = 1 << 30;
/// A folder in memory.
const MEMORY: &str = "/dev/shm";
/// The promise: speed as a share of curl's.
const LEAST_RATIO: f64 = 0.9;
const PLAN: Plan = Plan {
    wanted: 6,
    within: Duration::from_secs(90),
};

/// Seconds of one round.
#[derive(Debug, Clone, Copy)]
struct Times {
    curl: f64,
    impetus: f64,
}

pub(super) fn run(places: &Places) -> anyhow::Result<Report> {
    let mut report = Report::new("download");
    let folder = tempfile::tempdir_in(MEMORY).context("there is no folder in memory")?;
    let file = folder.path().join("model.onnx");
    let digest = make(&file)?;
    fs::write(
        folder.path().join("model.onnx.sha256"),
        format!("{digest}  model.onnx\n"),
    )?;
    let url = serve(folder.path().to_owned())?;
    let mut curl_first = false;
    let rounds = PLAN.take(&mut report, "pair", &[], || {
        curl_first = !curl_first;
        let watch = Watch::begin(&[])?;
        let times = if curl_first {
            let curl = curl(&url, folder.path())?;
            let impetus = impetus(places, &url, folder.path())?;
            Times { curl, impetus }
        } else {
            let impetus = impetus(places, &url, folder.path())?;
            let curl = curl(&url, folder.path())?;
            Times { curl, impetus }
        };
        // What both took is the round itself.
        let noise: Noise = watch.end(&[], Cpu::default())?;
        Ok((times, noise))
    })?;
    let gigabytes = |seconds: f64| BYTES as f64 / seconds / 1e9;
    let speed = |report: &mut Report, name: &str, of: fn(&Times) -> f64| {
        let spread = Spread::of(rounds.taken.iter().map(|times| gigabytes(of(times))))?;
        anyhow::Ok(report.figure(format!("{name}.gigabytes_per_second"), spread))
    };
    let curl = speed(&mut report, "curl", |times| times.curl)?;
    let own = speed(&mut report, "impetus", |times| times.impetus)?;
    let ratio = Spread::of(rounds.taken.iter().map(|times| times.curl / times.impetus))?;
    let ratio = report.figure("ratio", ratio);
    let mut table = Table::new(
        format!("{BYTES} bytes from this machine into memory: GB/s, median (min–max)"),
        ["who", "GB/s"],
    );
    table.row(["curl".to_owned(), curl.text(2)]);
    table.row([
        "impetus models download, with SHA-256".to_owned(),
        own.text(2),
    ]);
    report.table(table);
    report.verdict(Verdict::new(
        "download with checksum: at least 0.9 of curl's speed",
        Some(ratio.text(3)),
        rounds.quiet.then_some(ratio.median >= LEAST_RATIO),
    ));
    Ok(report)
}

/// Makes a file of bytes that repeat after a mebibyte, and returns its digest.
fn make(file: &Path) -> anyhow::Result<String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let block: Vec<u8> = (0..(1 << 17)).flat_map(|_| next().to_le_bytes()).collect();
    let mut out = File::create(file)?;
    for _ in 0..BYTES / block.len() as u64 {
        out.write_all(&block)?;
    }
    let told = Command::new("sha256sum").arg(file).output()?;
    ensure!(told.status.success(), "sha256sum failed");
    let text = String::from_utf8(told.stdout)?;
    Ok(text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

fn curl(url: &str, folder: &Path) -> anyhow::Result<f64> {
    let out = folder.join("curl.out");
    let began = Instant::now();
    let ended = Command::new("curl")
        .args(["--silent", "--fail", "--noproxy", "*", "--output"])
        .arg(&out)
        .arg(url)
        .status()
        .context("curl is not installed")?;
    let took = began.elapsed().as_secs_f64();
    ensure!(ended.success(), "curl: {ended}");
    ensure!(
        fs::metadata(&out)?.len() == BYTES,
        "curl brought another size"
    );
    fs::remove_file(out)?;
    Ok(took)
}

fn impetus(places: &Places, url: &str, folder: &Path) -> anyhow::Result<f64> {
    let data = folder.join("data");
    let config = folder.join("impetus.toml");
    fs::write(
        &config,
        format!("data.dir = {:?}\n", data.display().to_string()),
    )?;
    let began = Instant::now();
    let ended = Command::new(&places.impetus)
        .args(["models", "download", url, "--config"])
        .arg(&config)
        .env_clear()
        .stdout(Stdio::null())
        .status()?;
    let took = began.elapsed().as_secs_f64();
    ensure!(ended.success(), "impetus models download: {ended}");
    fs::remove_dir_all(data)?;
    Ok(took)
}

/// Sends the files of a folder to whoever asks, each connection on a thread of its own, until the program
/// ends; returns the address of the model.
fn serve(folder: PathBuf) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/model.onnx", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            // A client that goes away ends its connection, and nothing else.
            std::thread::spawn(move || answer(stream, &folder));
        }
    });
    Ok(url)
}

fn answer(stream: TcpStream, folder: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        let mut from = 0;
        while reader.read_line(&mut line)? > 2 {
            let range = line.to_ascii_lowercase();
            if let Some(range) = range.strip_prefix("range: bytes=") {
                from = range
                    .split('-')
                    .next()
                    .and_then(|from| from.parse().ok())
                    .unwrap_or(0);
            }
            line.clear();
        }
        let mut words = request.split_whitespace();
        let method = words.next().unwrap_or_default();
        let name = words.next().unwrap_or_default().trim_start_matches('/');
        let Ok(mut file) = File::open(folder.join(name)) else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        };
        let size = file.metadata()?.len();
        let (status, rest) = match from {
            0 => ("200 OK".to_owned(), size),
            from => {
                let range = format!(
                    "206 Partial Content\r\ncontent-range: bytes {from}-{}/{size}",
                    size - 1
                );
                (range, size.saturating_sub(from))
            }
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {rest}\r\naccept-ranges: bytes\r\netag: \"{size}\"\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        if method == "GET" {
            io::copy(&mut (&mut file).take(from), &mut io::sink())?;
            io::copy(&mut file, &mut stream)?;
        }
    }
}
