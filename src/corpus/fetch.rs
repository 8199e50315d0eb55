//! Downloads: one public file to one path, resumable and checked. The file appears there only when it is complete. Python packages
//! come through pip.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use indicatif::ProgressBar;

use super::{CorpusError, cache};
use crate::checksum::sha256_of_file;
use crate::terminal;

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How many attempts in a row may receive nothing new.
    pub attempts: u32,
    /// The pause after the first of them; each further pause is twice as long.
    pub pause: Duration,
    /// How long to wait for a connection, or for the next bytes.
    pub timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            attempts: 4,
            pause: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Downloads `url` to `target`, checking it against `sha256` if that is given. With `progress`, a bar on a terminal.
///
/// An interrupted download stays beside `target` as `.part`, and the next call continues it, if the server can.
pub fn download(
    url: &str,
    sha256: Option<&str>,
    target: &Path,
    patience: &Patience,
    progress: bool,
) -> Result<(), CorpusError> {
    let part = with_suffix(target, ".part");
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)
            .map_err(|err| cache::disk("make a folder for the download", folder, err))?;
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(patience.timeout))
        .timeout_connect(Some(patience.timeout))
        .timeout_recv_response(Some(patience.timeout))
        .timeout_per_read(Some(patience.timeout))
        .build()
        .into();
    let bar = progress_bar(target, progress);
    // If a file that was downloaded in parts has wrong bytes, it is downloaded once more in one piece.
    let mut resumed = length(&part) > 0;
    let mut second_chance = true;
    let mut fruitless = 0;
    loop {
        let before = length(&part);
        match attempt(&agent, url, &part, &bar) {
            Ok(()) => {}
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Passing(why)) => {
                resumed = true;
                fruitless = if length(&part) > before {
                    0
                } else {
                    fruitless + 1
                };
                if fruitless == patience.attempts {
                    return Err(CorpusError::Unavailable(format!(
                        "failed to download {url}: {why} (after {fruitless} attempts)"
                    )));
                }
                bar.set_message(why);
                std::thread::sleep(patience.pause * 2_u32.pow(fruitless.saturating_sub(1)));
                continue;
            }
        }
        let Some(expected) = sha256 else { break };
        let (found, _) =
            sha256_of_file(&part).map_err(|err| cache::disk("read the download", &part, err))?;
        if found == expected {
            break;
        }
        fs::remove_file(&part).map_err(|err| cache::disk("remove a wrong download", &part, err))?;
        if !(resumed && second_chance) {
            return Err(CorpusError::Integrity(format!(
                "{url} has other bytes than the catalogue expects: SHA-256 {found} instead of {expected}; nothing was kept"
            )));
        }
        second_chance = false;
    }
    bar.finish_and_clear();
    let placed = File::open(&part)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&part, target));
    placed.map_err(|err| cache::disk("put the download in its place", target, err))
}

/// Downloads the wheel of a Python package (`name==version`) into the new folder `folder`, by one `pip download`.
pub fn pip(requirement: &str, folder: &Path) -> Result<PathBuf, CorpusError> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)
        .map_err(|err| cache::disk("make a folder for the download", folder, err))?;
    let shown = format!("python3 -m pip download --no-deps {requirement}");
    let run = |python| {
        let mut command = Command::new(python);
        command.args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-input",
            "--dest",
        ]);
        command.arg(folder).arg(requirement).output()
    };
    let output = run("python3").or_else(|_| run("python"));
    let output = output.map_err(|err| {
        CorpusError::Unavailable(format!("failed to run `{shown}`: {err}; install Python 3"))
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let last = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no output");
        return Err(CorpusError::Unavailable(format!(
            "`{shown}` failed: {}",
            last.trim()
        )));
    }
    let entries =
        fs::read_dir(folder).map_err(|err| cache::disk("read the download", folder, err))?;
    let wheel = entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|it| it == "whl"));
    wheel.ok_or_else(|| CorpusError::Unavailable(format!("`{shown}` left no wheel")))
}

/// Why an attempt ended early.
enum Fault {
    /// Another attempt may succeed.
    Passing(String),
    /// No attempt can succeed.
    Final(CorpusError),
}

/// One request, from where `part` ends. On success `part` is as long as the server says the file is.
fn attempt(agent: &ureq::Agent, url: &str, part: &Path, bar: &ProgressBar) -> Result<(), Fault> {
    let passing = |err: &dyn std::fmt::Display| Fault::Passing(err.to_string());
    let on_disk = |err| Fault::Final(cache::disk("write the download", part, err));
    let have = length(part);
    let mut request = agent.get(url);
    if have > 0 {
        request = request.header("range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|err| match err {
        ureq::Error::HostNotFound => unavailable(url, "the host was not found (no network?)"),
        ureq::Error::BadUri(why) => unavailable(url, &why),
        err => passing(&err),
    })?;
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let start = match response.status().as_u16() {
        200 => 0,
        206 if header("content-range")
            .is_some_and(|it| it.starts_with(&format!("bytes {have}-"))) =>
        {
            have
        }
        // The partial file does not match the server's: start again.
        206 | 416 => {
            fs::remove_file(part).map_err(on_disk)?;
            return Err(Fault::Passing(
                "the server could not continue the partial download".into(),
            ));
        }
        status @ (408 | 429 | 500..) => {
            return Err(Fault::Passing(format!("the server answered {status}")));
        }
        status => return Err(unavailable(url, &format!("the server answered {status}"))),
    };
    let total = response.body().content_length().map(|rest| start + rest);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part)
        .map_err(on_disk)?;
    file.set_len(start)
        .and_then(|()| io::Seek::seek(&mut file, io::SeekFrom::End(0)))
        .map_err(on_disk)?;
    bar.set_length(total.unwrap_or(0));
    bar.set_position(start);
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut got = start;
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(err) => {
                return Err(Fault::Passing(format!(
                    "the connection broke after {got} bytes: {err}"
                )));
            }
        };
        file.write_all(&buffer[..count]).map_err(on_disk)?;
        got += count as u64;
        bar.set_position(got);
    }
    match total {
        Some(total) if got != total => Err(Fault::Passing(format!(
            "the connection ended after {got} of {total} bytes"
        ))),
        _ => Ok(()),
    }
}

fn unavailable(url: &str, why: &str) -> Fault {
    Fault::Final(CorpusError::Unavailable(format!(
        "failed to download {url}: {why}"
    )))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |it| it.len())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn progress_bar(target: &Path, progress: bool) -> ProgressBar {
    let template = "{prefix} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";
    let shown = progress.then(|| terminal::bar(template)).flatten();
    let bar = shown.unwrap_or_else(ProgressBar::hidden);
    bar.set_prefix(
        target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    );
    bar
}

#[cfg(test)]
pub(super) mod tests;
