//! Downloads from a local server that truncates, refuses and sends wrong ranges.

use super::*;
use crate::checksum::sha256;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the test's server answers one request.
#[derive(Clone)]
pub enum Answer {
    /// The whole file, or the range asked for.
    Whole,
    /// As `Whole`, but the connection ends after so many bytes.
    Cut(usize),
    /// The whole file from its beginning, whatever was asked, cut after so many bytes.
    NoRange(usize),
    /// An empty answer with this status.
    Status(u16),
}

/// A server on this machine that serves `content` under every path, and the `range` headers that it was sent.
///
/// The answers are given in turn, and the last one is repeated.
pub fn serve(content: Vec<u8>, answers: Vec<Answer>) -> (String, Arc<Mutex<Vec<Option<usize>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/file.bin", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    std::thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let answer = answers[index.min(answers.len() - 1)].clone();
            let _ = respond(stream.unwrap(), &content, answer, &log);
        }
    });
    (address, seen)
}

fn respond(
    mut stream: TcpStream,
    content: &[u8],
    answer: Answer,
    log: &Mutex<Vec<Option<usize>>>,
) -> io::Result<()> {
    let mut range = None;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("range: bytes=") {
            range = rest.trim_end_matches('-').parse().ok();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(range);
    let (start, cut) = match answer {
        Answer::Status(status) => {
            return write!(
                stream,
                "HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
        Answer::NoRange(cut) => (None, cut),
        Answer::Whole => (range, usize::MAX),
        Answer::Cut(cut) => (range, cut),
    };
    let total = content.len();
    match start {
        Some(start) if start >= total => {
            return write!(
                stream,
                "HTTP/1.1 416 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
        Some(start) => write!(
            stream,
            "HTTP/1.1 206 Part\r\ncontent-range: bytes {start}-{}/{total}\r\n",
            total - 1
        )?,
        None => write!(stream, "HTTP/1.1 200 Ok\r\n")?,
    }
    let body = &content[start.unwrap_or(0)..];
    write!(
        stream,
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body[..body.len().min(cut)])
}

const QUICK: Patience = Patience {
    attempts: 3,
    pause: Duration::from_millis(1),
    timeout: Duration::from_secs(5),
};

fn content() -> Vec<u8> {
    (0..300_000_u32).map(|it| (it * 7 % 251) as u8).collect()
}

struct Case {
    folder: tempfile::TempDir,
    target: PathBuf,
    part: PathBuf,
}

fn case() -> Case {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file.bin");
    let part = folder.path().join("file.bin.part");
    Case {
        folder,
        target,
        part,
    }
}

fn sha() -> String {
    sha256(&content())
}

#[test]
fn a_whole_file_arrives() {
    let case = case();
    let (url, _) = serve(content(), vec![Answer::Whole]);
    download(&url, Some(&sha()), &case.target, &QUICK, false).unwrap();
    assert_eq!(fs::read(&case.target).unwrap(), content());
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 1);
}

#[test]
fn a_truncated_download_goes_on_where_it_ended() {
    let case = case();
    let (url, seen) = serve(
        content(),
        vec![Answer::Cut(100_000), Answer::Cut(50_000), Answer::Whole],
    );
    download(&url, Some(&sha()), &case.target, &QUICK, false).unwrap();
    assert_eq!(fs::read(&case.target).unwrap(), content());
    assert_eq!(*seen.lock().unwrap(), [None, Some(100_000), Some(150_000)]);
}

#[test]
fn a_later_call_goes_on_from_the_part_of_an_earlier_one() {
    let case = case();
    fs::write(&case.part, &content()[..200_000]).unwrap();
    let (url, seen) = serve(content(), vec![Answer::Whole]);
    download(&url, Some(&sha()), &case.target, &QUICK, false).unwrap();
    assert_eq!(fs::read(&case.target).unwrap(), content());
    assert_eq!(*seen.lock().unwrap(), [Some(200_000)]);
}

#[test]
fn a_server_without_ranges_begins_again() {
    let case = case();
    let (url, _) = serve(
        content(),
        vec![Answer::NoRange(100_000), Answer::NoRange(usize::MAX)],
    );
    download(&url, Some(&sha()), &case.target, &QUICK, false).unwrap();
    assert_eq!(fs::read(&case.target).unwrap(), content());
}

#[test]
fn a_part_that_is_not_of_this_file_is_thrown_away() {
    for part in [vec![1; 1000], vec![1; 300_000], vec![1; 400_000]] {
        let case = case();
        fs::write(&case.part, part).unwrap();
        let (url, _) = serve(content(), vec![Answer::Whole]);
        download(&url, Some(&sha()), &case.target, &QUICK, false).unwrap();
        assert_eq!(fs::read(&case.target).unwrap(), content());
    }
}

#[test]
fn wrong_bytes_are_an_integrity_error_and_are_not_kept() {
    let case = case();
    let (url, _) = serve(content(), vec![Answer::Whole]);
    let err = download(&url, Some(&"0".repeat(64)), &case.target, &QUICK, false).unwrap_err();
    assert!(matches!(err, CorpusError::Integrity(_)), "{err}");
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 0);
}

#[test]
fn an_endless_truncation_ends_in_an_error_that_tells_how_far_it_came() {
    let case = case();
    let (url, seen) = serve(content(), vec![Answer::NoRange(1000)]);
    let err = download(&url, Some(&sha()), &case.target, &QUICK, false).unwrap_err();
    assert!(matches!(err, CorpusError::Unavailable(_)), "{err}");
    assert!(err.to_string().contains("after 1000"), "{err}");
    assert_eq!(seen.lock().unwrap().len(), 4);
    assert!(!case.target.exists());
}

#[test]
fn not_found_is_final_and_a_busy_server_is_asked_again() {
    let case = case();
    let (url, seen) = serve(content(), vec![Answer::Status(404)]);
    let err = download(&url, None, &case.target, &QUICK, false).unwrap_err();
    assert!(
        err.to_string().ends_with("the server answered 404"),
        "{err}"
    );
    assert_eq!(seen.lock().unwrap().len(), 1);
    let (url, _) = serve(content(), vec![Answer::Status(503), Answer::Whole]);
    download(&url, None, &case.target, &QUICK, false).unwrap();
    assert_eq!(fs::read(&case.target).unwrap(), content());
}

#[test]
fn no_server_at_all_is_an_error_after_some_attempts() {
    let case = case();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("http://127.0.0.1:{port}/file.bin");
    let err = download(&url, None, &case.target, &QUICK, false).unwrap_err();
    assert!(err.to_string().contains("after 3 attempts"), "{err}");
}
