//! One HTTP request in a thread of its own, its answer readable from a descriptor: so that Ctrl-C and a deadline
//! count while the network is silent. A thread that is still blocked when nobody listens any more ends with its
//! own timeout, or with the process.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::interrupt::{Interrupted, Interrupts};
use crate::wait::readable;

const CHUNK_BYTES: usize = 256 << 10;

/// Why a request brought nothing, or no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The connection was not made, or cut.
    #[error("{0}")]
    Connection(String),
    /// The server says no.
    #[error("the server answered {0}")]
    Status(u16),
    /// The server was silent for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// How many bytes follow.
    pub(super) body_bytes: Option<u64>,
    /// Where in the file they begin.
    pub(super) starts_at: u64,
    /// What names this very version of the file: a strong ETag, or the date it was changed.
    pub(super) version: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) url: String,
    /// The first byte wanted; with the version it must be of.
    pub(super) from: u64,
    pub(super) version: Option<String>,
}

/// An answer under way.
pub(super) struct Answer<'a> {
    pub(super) head: Head,
    body: UnixStream,
    end: Receiver<Result<Head, String>>,
    interrupts: &'a Interrupts,
    silence: Duration,
}

/// Asks, and waits for the head of the answer.
pub(super) fn ask(
    request: Request,
    interrupts: &Interrupts,
    silence: Duration,
) -> Result<Answer<'_>, FetchError> {
    let connection = |e: io::Error| FetchError::Connection(e.to_string());
    let (body, far) = UnixStream::pair().map_err(connection)?;
    body.set_nonblocking(true).map_err(connection)?;
    let (tell, end) = mpsc::channel();
    thread::Builder::new()
        .name("fetch".to_owned())
        .spawn(move || carry(&request, silence, &tell, far))
        .map_err(connection)?;
    let head = Head { status: 0, body_bytes: None, starts_at: 0, version: None };
    let mut answer = Answer { head, body, end, interrupts, silence };
    // One byte ahead of the body says that the head is there; an end instead, that it never will be.
    let _ = answer.read(&mut [0])?;
    answer.head = match answer.end.recv() {
        Ok(Ok(head)) => head,
        Ok(Err(said)) => return Err(FetchError::Connection(said)),
        Err(_) => return Err(FetchError::Connection("the connection was lost".to_owned())),
    };
    match answer.head.status {
        200 | 206 | 416 => Ok(answer),
        status => Err(FetchError::Status(status)),
    }
}

impl Answer<'_> {
    /// Reads some of the body; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FetchError> {
        let connection = |e: io::Error| FetchError::Connection(e.to_string());
        let deadline = Instant::now() + self.silence;
        match readable([self.body.as_fd(), self.interrupts.as_fd()], Some(deadline)).map_err(connection)? {
            [_, true] => self.interrupts.check()?,
            [true, _] => {}
            [false, false] => return Err(FetchError::Silent(self.silence)),
        }
        match self.body.read(buffer) {
            Ok(0) if self.head.status != 0 => match self.end.try_recv() {
                Ok(Err(said)) => Err(FetchError::Connection(said)),
                _ => Ok(0),
            },
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(FetchError::Silent(self.silence)),
            other => other.map_err(connection),
        }
    }

    /// The whole body, when it has at most `bytes_max`.
    pub(super) fn text(mut self, bytes_max: usize) -> Result<String, FetchError> {
        let mut all = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match self.read(&mut chunk)? {
                0 => return Ok(String::from_utf8_lossy(&all).into_owned()),
                got => all.extend_from_slice(&chunk[..got]),
            }
            if all.len() > bytes_max {
                return Err(FetchError::Connection(format!("it is longer than {bytes_max} bytes")));
            }
        }
    }
}

/// The thread: request, head, body, and at last what went wrong. It ends early when nobody listens.
fn carry(request: &Request, silence: Duration, tell: &Sender<Result<Head, String>>, mut to: UnixStream) {
    let mut body = match send(request, silence) {
        Ok((head, body)) => {
            if tell.send(Ok(head)).is_err() || to.write_all(&[0]).is_err() {
                return;
            }
            body
        }
        Err(e) => {
            let _ = tell.send(Err(e.to_string()));
            return;
        }
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match body.read(&mut chunk) {
            Ok(0) => return,
            Ok(got) if to.write_all(&chunk[..got]).is_ok() => {}
            Ok(_) => return,
            // Told before the socket closes: whoever sees the end finds the reason.
            Err(e) => return drop(tell.send(Err(e.to_string()))),
        }
    }
}

fn send(request: &Request, silence: Duration) -> Result<(Head, impl Read), ureq::Error> {
    // The certificates this machine trusts, which may include those of a company's own mirror.
    let tls =
        TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .timeout_connect(Some(silence))
        .timeout_per_read(Some(silence))
        .timeout_per_write(Some(silence))
        .build()
        .into();
    let mut get = agent.get(&request.url).header("Accept-Encoding", "identity");
    if request.from > 0 {
        get = get.header("Range", format!("bytes={}-", request.from));
        if let Some(version) = &request.version {
            get = get.header("If-Range", version);
        }
    }
    let answer = get.call()?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let head = Head {
        status: answer.status().as_u16(),
        body_bytes: header("content-length").and_then(|text| text.parse().ok()),
        starts_at: header("content-range").and_then(range_start).unwrap_or_default(),
        version: header("etag")
            .filter(|tag| !tag.starts_with("W/"))
            .or_else(|| header("last-modified"))
            .map(ToOwned::to_owned),
    };
    Ok((head, answer.into_body().into_reader()))
}

/// The start in `bytes 100-199/200` (RFC 9110, section 14.4).
fn range_start(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_servers_write_them() {
        assert_eq!(range_start("bytes 100-199/200"), Some(100));
        assert_eq!(range_start("bytes 100-199/*"), Some(100));
        assert_eq!(range_start("bytes */200"), None);
    }

    #[test]
    fn a_closed_port_is_said_at_once() {
        let interrupts = Interrupts::catch().unwrap();
        let request = Request { url: "http://127.0.0.1:9/x".into(), from: 0, version: None };
        let error = ask(request, &interrupts, Duration::from_secs(30)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
