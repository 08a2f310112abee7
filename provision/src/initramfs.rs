//! The micro guest's whole root file system: an uncompressed newc cpio with one program in it, and the kernel modules
//! it may load. Uncompressed, because unpacking costs an emulated guest more than reading a megabyte more.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use cpio::NewcBuilder;
use cpio::newc::{ModeFileType, trailer};

use crate::kernel::KernelModule;

/// Writes the archive to `path`, with `init` as `/init` and the modules, in loading order, as `/modules/NN-name.ko`.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, init: &[u8], modules: &[KernelModule]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    archive(&mut file, init, modules)?;
    file.flush()
}

fn archive<W: Write>(out: W, init: &[u8], modules: &[KernelModule]) -> io::Result<W> {
    let directory =
        |name: &str| NewcBuilder::new(name).nlink(2).mode(0o755).set_mode_file_type(ModeFileType::Directory);
    let file = |name: &str, mode| NewcBuilder::new(name).mode(mode).set_mode_file_type(ModeFileType::Regular);
    // The kernel opens /dev/console as standard input, output and error of /init before that can mount anything.
    let console = NewcBuilder::new("dev/console")
        .ino(2)
        .mode(0o600)
        .set_mode_file_type(ModeFileType::Char)
        .rdev_major(5)
        .rdev_minor(1);
    let mut out = entry(directory("dev").ino(1), out, &[])?;
    out = entry(console, out, &[])?;
    out = entry(file("init", 0o755).ino(3), out, init)?;
    if !modules.is_empty() {
        out = entry(directory("modules").ino(4), out, &[])?;
    }
    for (number, module) in (0..).zip(modules) {
        let name = format!("modules/{number:02}-{}.ko", module.name);
        out = entry(file(&name, 0o644).ino(5 + number), out, &module.image)?;
    }
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

    /// Name, mode, device numbers and content.
    type Seen = (String, u32, (u32, u32), Vec<u8>);

    fn entries(mut archive: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let mut reader = NewcReader::new(archive).unwrap();
            if reader.entry().is_trailer() {
                return seen;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            let entry = reader.entry();
            let device = (entry.rdev_major(), entry.rdev_minor());
            seen.push((entry.name().to_owned(), entry.mode(), device, content));
            archive = reader.finish().unwrap();
        }
    }

    #[test]
    fn it_holds_the_console_and_the_program_and_nothing_else() {
        let init = vec![7_u8; 12_345];
        let expected = [
            ("dev".to_owned(), 0o040_755, (0, 0), vec![]),
            ("dev/console".to_owned(), 0o020_600, (5, 1), vec![]),
            ("init".to_owned(), 0o100_755, (0, 0), init.clone()),
        ];
        assert_eq!(entries(&archive(Vec::new(), &init, &[]).unwrap()), expected);
    }

    #[test]
    fn modules_are_numbered_in_the_order_given() {
        let module = |name: &str| KernelModule { name: name.to_owned(), image: name.as_bytes().to_vec() };
        let modules = ["vfio", "vfio-pci"].map(module);
        let expected = [
            ("modules".to_owned(), 0o040_755, (0, 0), vec![]),
            ("modules/00-vfio.ko".to_owned(), 0o100_644, (0, 0), b"vfio".to_vec()),
            ("modules/01-vfio-pci.ko".to_owned(), 0o100_644, (0, 0), b"vfio-pci".to_vec()),
        ];
        assert_eq!(entries(&archive(Vec::new(), b"", &modules).unwrap())[3..], expected);
    }
}
