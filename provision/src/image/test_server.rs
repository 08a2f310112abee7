//! A web server with the bad habits of real ones, for the tests of what downloads.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How it answers.
#[derive(Clone)]
pub(crate) struct Habit {
    /// Closes a connection after so many bytes of the body...
    pub(crate) cut_after: Option<usize>,
    /// ... the first so many times.
    pub(crate) cuts: usize,
    /// Knows ranges.
    pub(crate) ranges: bool,
    /// Answers 404.
    pub(crate) absent: bool,
    /// Says no more after so many bytes, and keeps the connection.
    pub(crate) silent_after: Option<usize>,
    /// What the file is from the second request on.
    pub(crate) then: Option<Vec<u8>>,
}

impl Habit {
    pub(crate) fn good() -> Self {
        Self {
            cut_after: None,
            cuts: usize::MAX,
            ranges: true,
            absent: false,
            silent_after: None,
            then: None,
        }
    }
}

struct Shared {
    files: HashMap<String, Vec<u8>>,
    habit: Habit,
    ranges: Vec<Option<u64>>,
    /// A file that is replaced once the image was asked for.
    later: Option<(String, Vec<u8>)>,
    /// Connections whose client is kept waiting.
    held: Vec<TcpStream>,
}

pub(crate) struct Server {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    /// Serves `disk.qcow2` alone.
    pub(crate) fn start(bytes: &[u8], habit: Habit) -> Self {
        Self::with_files([("/disk.qcow2".to_owned(), bytes.to_owned())], habit)
    }

    pub(crate) fn with_files(files: impl IntoIterator<Item = (String, Vec<u8>)>, habit: Habit) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            files: files.into_iter().collect(),
            habit,
            ranges: Vec::new(),
            later: None,
            held: Vec::new(),
        };
        let shared = Arc::new(Mutex::new(shared));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &theirs);
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Where each request for the image began.
    pub(crate) fn ranges(&self) -> Vec<Option<u64>> {
        self.shared.lock().unwrap().ranges.clone()
    }

    /// Replaces a file as soon as the image was asked for.
    pub(crate) fn once_the_image_was_asked_for(&self, path: &str, bytes: Vec<u8>) {
        self.shared.lock().unwrap().later = Some((path.to_owned(), bytes));
    }
}

fn answer(mut stream: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().unwrap()?.split(' ').nth(1).unwrap().to_owned();
    let headers: HashMap<String, String> = lines
        .map_while(|line| line.ok().filter(|line| !line.is_empty()))
        .filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_ascii_lowercase(), v.to_owned())))
        .collect();
    let mut shared = shared.lock().unwrap();
    let file = shared.files.get(&path).cloned();
    let Some(mut file) = file.filter(|_| !shared.habit.absent) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let is_image = path.ends_with(".qcow2");
    if is_image && !shared.ranges.is_empty() {
        file = shared.habit.then.clone().unwrap_or(file);
    }
    let tag = format!("\"{}-{}\"", file.len(), file.iter().map(|&b| u64::from(b)).sum::<u64>());
    let from = headers
        .get("range")
        .map(|text| text.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    if is_image {
        shared.ranges.push(from.map(|from| from as u64));
        if let Some((path, bytes)) = shared.later.take() {
            shared.files.insert(path, bytes);
        }
    }
    let same = headers.get("if-range").is_none_or(|wanted| *wanted == tag);
    let from = from.filter(|_| shared.habit.ranges && same);
    let total = file.len();
    let (status, body) = match from {
        Some(from) if from >= total => ("416 Range Not Satisfiable".to_owned(), &[][..]),
        Some(from) => {
            let range = format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{total}", total - 1);
            (range, &file[from..])
        }
        None => ("200 OK".to_owned(), &file[..]),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let habit = shared.habit.clone();
    if let Some(bytes) = habit.silent_after.filter(|_| is_image) {
        stream.write_all(&body[..bytes.min(body.len())])?;
        shared.held.push(stream);
        return Ok(());
    }
    let cut = habit.cut_after.filter(|_| is_image && habit.cuts >= shared.ranges.len());
    stream.write_all(&body[..cut.unwrap_or(usize::MAX).min(body.len())])?;
    // Half-closed and read to the end, so that the close is no reset that loses what was sent.
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}
