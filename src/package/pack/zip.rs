//! The bytes of a canonical zip: everything that a tool may choose is fixed here.
//! `docs/adr/0013-canonical-packages.md` says why, and a vector in the tests holds it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};

use super::PackError;
use super::tree::{Member, Tree};

/// That of zlib's default.
const LEVEL: i32 = 6;
/// No zlib header around the data.
const RAW: i32 = 0;
const DEFAULT_STRATEGY: i32 = 0;
/// What is smaller by more than this is stored: `limit.ratio` would refuse it.
const RATIO: u64 = 200;
/// Read and written at once. The input comes in whole steps, so that its borders are the same everywhere.
const STEP: usize = 64 << 10;

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
/// 2.0: what deflate needs.
const VERSION_NEEDED: u16 = 20;
/// Written on Unix, by version 2.0 of the format.
const MADE_BY: u16 = 3 << 8 | 20;
const FLAG_UTF8: u16 = 1 << 11;
/// 1980-01-01 00:00:00, the first moment that there is.
const TIME: u16 = 0;
const DATE: u16 = 1 << 5 | 1;
const MODE_FILE: u32 = 0o100_644;
const MODE_EXECUTABLE: u32 = 0o100_755;
const LOCAL_LENGTH: usize = 30;
const CENTRAL_LENGTH: usize = 46;

#[derive(Clone, Copy)]
enum Method {
    Stored,
    Deflate,
}

/// What one reading of a file came to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Content {
    size: u64,
    crc32: u32,
}

/// Writes the package of a tree into an empty file.
pub(super) fn write(tree: &Tree, file: &File) -> Result<(), PackError> {
    let mut packer = Packer {
        file,
        end: 0,
        compressor: CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, RAW, DEFAULT_STRATEGY)),
        input: vec![0; STEP].into_boxed_slice(),
        output: vec![0; STEP].into_boxed_slice(),
    };
    let mut directory = Vec::new();
    for member in tree.members() {
        packer.add(tree, member, &mut directory)?;
    }
    packer.finish(tree.members().len(), &directory).map_err(PackError::Zip)
}

struct Packer<'a> {
    file: &'a File,
    /// Where the next entry begins.
    end: u64,
    compressor: CompressorOxide,
    input: Box<[u8]>,
    output: Box<[u8]>,
}

impl Packer<'_> {
    fn add(&mut self, tree: &Tree, member: &Member, directory: &mut Vec<u8>) -> Result<(), PackError> {
        let mut source = Source::open(tree, member)?;
        let start = self.end;
        let data = start + (LOCAL_LENGTH + member.name.len()) as u64;
        let (content, deflated) = self.deflate(&mut source, data)?;
        let worth_it = deflated < content.size && content.size <= deflated.saturating_mul(RATIO);
        let (method, packed) = match worth_it {
            true => (Method::Deflate, deflated),
            false => {
                source.rewind()?;
                if self.store(&mut source, data)? != content {
                    return Err(source.changed());
                }
                (Method::Stored, content.size)
            }
        };
        self.end = data + packed;
        let (local, central) = headers(member, method, content, packed, start).map_err(PackError::Zip)?;
        self.file.write_all_at(&local, start).map_err(PackError::Zip)?;
        directory.extend(central);
        Ok(())
    }

    /// Deflates to an offset; answers what was read, and how many bytes it became.
    fn deflate(&mut self, source: &mut Source, offset: u64) -> Result<(Content, u64), PackError> {
        self.compressor.reset();
        let mut at = offset;
        loop {
            let filled = source.fill(&mut self.input)?;
            let last = filled < self.input.len();
            let flush = if last { TDEFLFlush::Finish } else { TDEFLFlush::None };
            let mut rest = &self.input[..filled];
            loop {
                let (status, taken, given) = compress(&mut self.compressor, rest, &mut self.output, flush);
                self.file.write_all_at(&self.output[..given], at).map_err(PackError::Zip)?;
                at += given as u64;
                rest = &rest[taken..];
                match status {
                    TDEFLStatus::Done => return Ok((source.content()?, at - offset)),
                    // With room left in the output it waits for more.
                    TDEFLStatus::Okay if !last && rest.is_empty() && given < self.output.len() => break,
                    TDEFLStatus::Okay => {}
                    TDEFLStatus::BadParam | TDEFLStatus::PutBufFailed => {
                        return Err(PackError::Zip(io::Error::other("the compressor failed")));
                    }
                }
            }
        }
    }

    fn store(&mut self, source: &mut Source, mut at: u64) -> Result<Content, PackError> {
        loop {
            let filled = source.fill(&mut self.input)?;
            self.file.write_all_at(&self.input[..filled], at).map_err(PackError::Zip)?;
            at += filled as u64;
            if filled < self.input.len() {
                return source.content();
            }
        }
    }

    fn finish(self, entries: usize, directory: &[u8]) -> io::Result<()> {
        let count = u16::try_from(entries).map_err(io::Error::other)?;
        let mut end = Vec::new();
        end.extend(END_SIGNATURE.to_le_bytes());
        // One disk.
        end.extend([0; 4]);
        end.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        end.extend([short(directory.len() as u64)?, short(self.end)?].concat());
        // No comment.
        end.extend([0; 2]);
        self.file.write_all_at(directory, self.end)?;
        self.file.write_all_at(&end, self.end + directory.len() as u64)?;
        // The last entry may have been longer before it was stored.
        self.file.set_len(self.end + (directory.len() + end.len()) as u64)
    }
}

/// The local and the central header of an entry.
fn headers(
    member: &Member,
    method: Method,
    content: Content,
    packed: u64,
    start: u64,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let flags = if member.name.is_ascii() { 0 } else { FLAG_UTF8 };
    let method: u16 = match method {
        Method::Stored => 0,
        Method::Deflate => 8,
    };
    let name_length = u16::try_from(member.name.len()).map_err(io::Error::other)?;
    let mut facts = Vec::with_capacity(LOCAL_LENGTH);
    for field in [VERSION_NEEDED, flags, method, TIME, DATE] {
        facts.extend(field.to_le_bytes());
    }
    for field in [content.crc32.to_le_bytes(), short(packed)?, short(content.size)?] {
        facts.extend(field);
    }
    // No extra field.
    facts.extend([name_length.to_le_bytes(), [0; 2]].concat());

    let mut local = LOCAL_SIGNATURE.to_le_bytes().to_vec();
    local.extend(&facts);
    local.extend(&member.name);

    let mode = if member.executable { MODE_EXECUTABLE } else { MODE_FILE };
    let mut central = Vec::with_capacity(CENTRAL_LENGTH + member.name.len());
    central.extend(CENTRAL_SIGNATURE.to_le_bytes());
    central.extend(MADE_BY.to_le_bytes());
    central.extend(&facts);
    // No comment, the first disk, nothing said about being a text.
    central.extend([0; 6]);
    central.extend((mode << 16).to_le_bytes());
    central.extend(short(start)?);
    central.extend(&member.name);
    Ok((local, central))
}

/// A size or an offset. The limits of a package keep it far below what there is room for.
fn short(value: u64) -> io::Result<[u8; 4]> {
    u32::try_from(value).map(u32::to_le_bytes).map_err(io::Error::other)
}

/// A file that is read once or twice, and has to be the same each time.
struct Source {
    file: File,
    path: PathBuf,
    expected: u64,
    size: u64,
    crc32: crc32fast::Hasher,
}

impl Source {
    fn open(tree: &Tree, member: &Member) -> Result<Self, PackError> {
        let path = tree.path_of(&member.name);
        match tree.open(&member.name) {
            Ok(file) => Ok(Self { file, path, expected: member.size, size: 0, crc32: Default::default() }),
            Err(error) => Err(PackError::File { path, error }),
        }
    }

    /// Fills the buffer; with less only at the end of the file.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, PackError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(error)),
            }
        }
        self.crc32.update(&buffer[..filled]);
        self.size += filled as u64;
        // One that grows without end is left.
        if self.size > self.expected { Err(self.changed()) } else { Ok(filled) }
    }

    fn content(&self) -> Result<Content, PackError> {
        if self.size != self.expected {
            return Err(self.changed());
        }
        Ok(Content { size: self.size, crc32: self.crc32.clone().finalize() })
    }

    fn rewind(&mut self) -> Result<(), PackError> {
        (self.size, self.crc32) = (0, Default::default());
        self.file.rewind().map_err(|error| self.error(error))
    }

    fn changed(&self) -> PackError {
        self.error(io::Error::other("it was changed while it was packed"))
    }

    fn error(&self, error: io::Error) -> PackError {
        PackError::File { path: self.path.clone(), error }
    }
}
