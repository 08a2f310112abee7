//! The micro guest's whole root file system: an uncompressed newc cpio with one program in it. Uncompressed,
//! because unpacking costs an emulated guest more than reading a megabyte more.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

/// Writes the archive to `path`, with `init` as `/init`.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, init: &[u8]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    archive(&mut file, init)?;
    file.flush()
}

fn archive<W: Write>(out: W, init: &[u8]) -> io::Result<W> {
    let directory =
        NewcBuilder::new("dev").ino(1).nlink(2).mode(0o755).set_mode_file_type(ModeFileType::Directory);
    // The kernel opens /dev/console as standard input, output and error of /init before that can mount anything.
    let console = NewcBuilder::new("dev/console")
        .ino(2)
        .mode(0o600)
        .set_mode_file_type(ModeFileType::Char)
        .rdev_major(5)
        .rdev_minor(1);
    let program = NewcBuilder::new("init").ino(3).mode(0o755).set_mode_file_type(ModeFileType::Regular);
    let out = entry(directory, out, &[])?;
    let out = entry(console, out, &[])?;
    let out = entry(program, out, init)?;
    trailer(out)
}

fn entry<W: Write>(builder: NewcBuilder, out: W, content: &[u8]) -> io::Result<W> {
    let bytes = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut entry = builder.write(out, bytes);
    entry.write_all(content)?;
    entry.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::NewcReader;
    use std::io::Read;

    #[test]
    fn it_holds_the_console_and_the_program_and_nothing_else() {
        let init = vec![7_u8; 12_345];
        let bytes = archive(Vec::new(), &init).unwrap();
        let mut seen = Vec::new();
        let mut input = bytes.as_slice();
        loop {
            let mut reader = NewcReader::new(input).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            let entry = reader.entry();
            seen.push((
                entry.name().to_owned(),
                entry.mode(),
                (entry.rdev_major(), entry.rdev_minor()),
                content,
            ));
            input = reader.finish().unwrap();
        }
        let expected = [
            ("dev".to_owned(), 0o040_755, (0, 0), vec![]),
            ("dev/console".to_owned(), 0o020_600, (5, 1), vec![]),
            ("init".to_owned(), 0o100_755, (0, 0), init),
        ];
        assert_eq!(seen, expected);
    }
}
