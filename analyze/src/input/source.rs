//! A CSV file as blocks of whole lines, plain or gzipped, read ahead by a thread of its own.
//!
//! However large the file, no more than a few blocks of it are in memory, and a line that no block could hold is refused.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
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
    spent: Sender<Vec<u8>>,
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
        let (spent, spare) = channel();
        let reader = Reader { path: path.into(), sender, spare };
        // Not joined: it ends with the file, or with its next block once nobody receives.
        thread::spawn(move || reader.read_ahead(file));
        Self { path: path.into(), peeked: None, blocks, spent }
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

    /// Takes the first bytes away, which are no more than the next block.
    pub(crate) fn skip(&mut self, bytes: usize) -> Result<(), Error> {
        self.peeked = self.next()?.map(|mut block| block.split_off(bytes));
        Ok(())
    }

    /// Returns a block that is done with, to be filled again: its memory is mapped and in the cache.
    pub(crate) fn give_back(&self, block: Vec<u8>) {
        // Where the reader has come to the end, nobody needs it.
        let _ = self.spent.send(block);
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

/// The thread that reads ahead.
struct Reader {
    path: PathBuf,
    sender: SyncSender<Block>,
    spare: Receiver<Vec<u8>>,
}

impl Reader {
    fn read_ahead(&self, file: impl Read) {
        let mut file = BufReader::with_capacity(BLOCK_BYTES, file);
        let is_gzip = match file.fill_buf() {
            Ok(begin) => begin.starts_with(&GZIP_MAGIC),
            Err(source) => return self.fail(Error::Read { path: self.path.clone(), source }),
        };
        let read = if is_gzip { self.send_lines(MultiGzDecoder::new(file)) } else { self.send_lines(file) };
        let Err(source) = read else { return };
        let path = self.path.clone();
        self.fail(match source.kind() {
            _ if !is_gzip => Error::Read { path, source },
            ErrorKind::UnexpectedEof => Error::GzipCutShort { path },
            ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                Error::GzipDamaged { path, problem: source.to_string() }
            }
            _ => Error::Read { path, source },
        });
    }

    /// Sends blocks until the end, the first error, or until nobody receives.
    fn send_lines(&self, mut text: impl Read) -> io::Result<()> {
        let mut begun: Vec<u8> = Vec::new();
        loop {
            let mut block = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK_BYTES));
            block.clear();
            block.append(&mut begun);
            let room = (BLOCK_BYTES - block.len()) as u64;
            let is_last = (text.by_ref().take(room).read_to_end(&mut block)? as u64) < room;
            if !is_last {
                let Some(end) = block.iter().rposition(|byte| *byte == b'\n') else {
                    self.fail(Error::EndlessLine { path: self.path.clone(), bytes: BLOCK_BYTES });
                    return Ok(());
                };
                begun.extend_from_slice(&block[end + 1..]);
                block.truncate(end + 1);
            }
            if (!block.is_empty() && self.sender.send(Ok(block)).is_err()) || is_last {
                return Ok(());
            }
        }
    }

    fn fail(&self, error: Error) {
        // Where nobody receives, nobody asks why.
        let _ = self.sender.send(Err(error));
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
        struct Endless(Sender<()>);
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
        let (ended, end) = channel();
        drop(Source::of(Path::new("f"), Endless(ended)));
        end.recv().unwrap();
    }
}
