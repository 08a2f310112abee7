//! A CSV file as blocks of whole lines, plain or gzipped, read ahead by a thread of its own.
//!
//! However large the file, no more than a few blocks of it are in memory, and a line that no block could hold is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::bufread::MultiGzDecoder;

use crate::error::Error;

/// Bytes of a block, and so of the longest line. It fits in a core's second-level cache.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks read ahead.
const BLOCKS_AHEAD: usize = 8;
/// What a gzip stream begins with, RFC 1952.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

type Block = Result<Vec<u8>, Error>;

/// An open file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// The block that was looked at and not yet taken.
    peeked: Option<Vec<u8>>,
    blocks: Receiver<Block>,
}

impl Source {
    /// Opens `path`; a gzip stream is told by its first bytes, whatever its name.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::Absent { path: path.into() },
            _ => Error::Read { path: path.into(), source },
        })?;
        Ok(Self::of(path, file))
    }

    /// A file named `f`, for tests.
    #[cfg(test)]
    pub(super) fn in_memory(bytes: &[u8]) -> Self {
        Self::of(Path::new("f"), io::Cursor::new(bytes.to_vec()))
    }

    fn of(path: &Path, file: impl Read + Send + 'static) -> Self {
        let (sender, blocks) = sync_channel(BLOCKS_AHEAD);
        let reader = path.to_path_buf();
        // Not joined: it ends with the file, or with its next block once nobody receives.
        thread::spawn(move || read_ahead(&reader, file, &sender));
        Self { path: path.into(), peeked: None, blocks }
    }

    /// The next lines: each ended, but perhaps the file's last. `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self.peeked.take() {
            Some(block) => Ok(Some(block)),
            None => self.blocks.recv().ok().transpose(),
        }
    }

    /// The same, which stays to be taken; empty at the end.
    pub(crate) fn peek(&mut self) -> Result<&[u8], Error> {
        if self.peeked.is_none() {
            self.peeked = self.next()?;
        }
        Ok(self.peeked.as_deref().unwrap_or_default())
    }

    /// All that was not taken.
    pub(crate) fn into_bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(block) = self.next()? {
            bytes.extend_from_slice(&block);
        }
        Ok(bytes)
    }
}

fn read_ahead(path: &Path, file: impl Read, sender: &SyncSender<Block>) {
    let mut file = BufReader::with_capacity(BLOCK_BYTES, file);
    let is_gzip = match file.fill_buf() {
        Ok(begin) => begin.starts_with(&GZIP_MAGIC),
        Err(source) => return drop(sender.send(Err(Error::Read { path: path.into(), source }))),
    };
    let failed = |source: io::Error| match source.kind() {
        _ if !is_gzip => Error::Read { path: path.into(), source },
        ErrorKind::UnexpectedEof => Error::GzipCutShort { path: path.into() },
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Error::GzipDamaged { path: path.into(), problem: source.to_string() }
        }
        _ => Error::Read { path: path.into(), source },
    };
    if is_gzip {
        send_lines(path, MultiGzDecoder::new(file), sender, failed);
    } else {
        send_lines(path, file, sender, failed);
    }
}

/// Sends blocks until the end, the first error, or until nobody receives.
fn send_lines(
    path: &Path,
    mut text: impl Read,
    sender: &SyncSender<Block>,
    failed: impl Fn(io::Error) -> Error,
) {
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.append(&mut begun);
        let room = (BLOCK_BYTES - block.len()) as u64;
        let read = match text.by_ref().take(room).read_to_end(&mut block) {
            Ok(read) => read as u64,
            Err(source) => return drop(sender.send(Err(failed(source)))),
        };
        let is_last = read < room;
        if !is_last {
            match block.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => begun = block.split_off(end + 1),
                None => {
                    let error = Error::EndlessLine { path: path.into(), bytes: BLOCK_BYTES };
                    return drop(sender.send(Err(error)));
                }
            }
        }
        if (!block.is_empty() && sender.send(Ok(block)).is_err()) || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn source(bytes: impl AsRef<[u8]>) -> Source {
        Source::in_memory(bytes.as_ref())
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn lines(count: usize) -> Vec<u8> {
        (0..count).flat_map(|i| format!("{i},{}\n", i * 7).into_bytes()).collect()
    }

    #[test]
    fn blocks_are_whole_lines_and_together_the_file() {
        for text in [lines(200_000), lines(0), b"a".to_vec(), [lines(100_000), b"cut".to_vec()].concat()] {
            for bytes in [text.clone(), gzip(&text)] {
                let mut source = source(bytes);
                let mut all = Vec::new();
                while let Some(block) = source.next().unwrap() {
                    assert!(all.is_empty() || all.ends_with(b"\n"));
                    assert!(block.len() <= BLOCK_BYTES && !block.is_empty());
                    all.extend(block);
                }
                assert!(all == text);
            }
        }
    }

    #[test]
    fn gzip_streams_one_after_the_other_are_one_file() {
        let both = [gzip(b"a,b\n"), gzip(b"1,2\n")].concat();
        let mut source = source(both);
        assert_eq!(source.peek().unwrap(), b"a,b\n1,2\n");
        assert_eq!(source.into_bytes().unwrap(), b"a,b\n1,2\n");
    }

    #[test]
    fn gzip_that_is_cut_or_damaged_is_told_apart() {
        let whole = gzip(&lines(10_000));
        let error = |bytes: Vec<u8>| source(bytes).into_bytes().unwrap_err();
        for end in [3, 12, whole.len() / 2, whole.len() - 1] {
            assert!(matches!(error(whole[..end].to_vec()), Error::GzipCutShort { .. }), "{end}");
        }
        for place in [2, whole.len() - 5] {
            let mut damaged = whole.clone();
            damaged[place] ^= 0xff;
            assert!(matches!(error(damaged), Error::GzipDamaged { .. }), "{place}");
        }
    }

    #[test]
    fn a_line_that_does_not_end_is_refused_and_not_kept() {
        let error = source(vec![b'x'; BLOCK_BYTES + 1]).into_bytes().unwrap_err();
        assert!(matches!(error, Error::EndlessLine { .. }));
    }

    #[test]
    fn a_source_that_nobody_reads_to_its_end_stops_its_thread() {
        struct Endless(std::sync::mpsc::Sender<()>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'\n');
                Ok(buffer.len())
            }
        }
        impl Drop for Endless {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (ended, end) = std::sync::mpsc::channel();
        drop(Source::of(Path::new("f"), Endless(ended)));
        end.recv().unwrap();
    }
}
