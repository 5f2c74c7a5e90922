//! Sections: headers in, contents out, decompressed where they are compressed (`SHF_COMPRESSED`).

use std::io::Read;
use std::ops::Range;

use goblin::elf::compression_header::{CompressionHeader, ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};
use goblin::elf::section_header::{SHF_ALLOC, SHF_COMPRESSED, SHT_NOBITS, SectionHeader};
use scroll::Pread;
use scroll::ctx::SizeWith;

use super::symbol::{CTX, name_at};
use crate::address::Svma;

/// Decompressed bytes of a section at the most, whatever its header says.
const MAX_BYTES: u64 = 4 << 30;
/// No section is compressed better than this: zlib's limit is 1,032 to 1.
const MAX_RATIO: u64 = 1100;

/// A section header with its name.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) address: Svma,
    /// `sh_size`: bytes in memory.
    pub(super) size: u64,
    /// It is part of what is loaded (`SHF_ALLOC`).
    pub(super) is_loaded: bool,
    pub(super) kind: u32,
    pub(super) link: u32,
    /// Where its bytes lie in the file; empty for a section without any.
    pub(super) range: Range<usize>,
    is_compressed: bool,
}

impl Section {
    /// All sections, by index. A file without section headers has none; headers that lie outside of the file are an error.
    pub(super) fn parse_all(bytes: &[u8], header: &goblin::elf::Header) -> Result<Vec<Self>, String> {
        let beyond = |_| "its section headers lie outside of it".to_owned();
        let offset = usize::try_from(header.e_shoff).map_err(|error| error.to_string())?;
        if offset == 0 {
            return Ok(Vec::new());
        }
        let headers = SectionHeader::parse(bytes, offset, usize::from(header.e_shnum), CTX).map_err(beyond)?;
        let names = Self::names_of(bytes, header, &headers).unwrap_or_default();
        Ok(headers.iter().map(|header| Self::parse(header, names)).collect())
    }

    /// The section that holds the names; its index is elsewhere where it does not fit 16 bits (`SHN_XINDEX`).
    fn names_of<'a>(bytes: &'a [u8], header: &goblin::elf::Header, headers: &[SectionHeader]) -> Option<&'a [u8]> {
        const SHN_XINDEX: u16 = 0xffff;
        let index =
            if header.e_shstrndx == SHN_XINDEX { headers.first()?.sh_link as usize } else { header.e_shstrndx.into() };
        bytes.get(file_range(headers.get(index)?)?)
    }

    fn parse(header: &SectionHeader, names: &[u8]) -> Self {
        Self {
            name: name_at(names, header.sh_name).unwrap_or_default().to_owned(),
            address: Svma(header.sh_addr),
            size: header.sh_size,
            is_loaded: header.sh_flags & u64::from(SHF_ALLOC) != 0,
            kind: header.sh_type,
            link: header.sh_link,
            range: file_range(header).unwrap_or_default(),
            is_compressed: header.sh_flags & u64::from(SHF_COMPRESSED) != 0,
        }
    }

    /// Its contents, decompressed; `None` where they are in the file as they are.
    pub(super) fn decompress(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let bytes = bytes.get(self.range.clone()).ok_or("it lies outside of the file")?;
        if self.is_compressed { decompress(bytes).map(Some) } else { Ok(None) }
    }
}

fn file_range(header: &SectionHeader) -> Option<Range<usize>> {
    let size = if header.sh_type == SHT_NOBITS { 0 } else { usize::try_from(header.sh_size).ok()? };
    let start = usize::try_from(header.sh_offset).ok()?;
    Some(start..start.checked_add(size)?)
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let header: CompressionHeader = bytes.pread_with(0, CTX).map_err(|_| "its compression header is not complete")?;
    let packed = &bytes[CompressionHeader::size_with(&CTX)..];
    let limit = MAX_BYTES.min((packed.len() as u64).saturating_mul(MAX_RATIO));
    if header.ch_size > limit {
        return Err(format!("expected at most {limit} bytes when decompressed, found {}", header.ch_size));
    }
    let mut unpacked = Vec::new();
    let damaged = |error: std::io::Error| format!("its compressed contents are damaged: {error}");
    match header.ch_type {
        ELFCOMPRESS_ZLIB => flate2::read::ZlibDecoder::new(packed).take(header.ch_size).read_to_end(&mut unpacked),
        ELFCOMPRESS_ZSTD => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(packed)
                .map_err(|error| format!("its compressed contents are damaged: {error}"))?;
            decoder.take(header.ch_size).read_to_end(&mut unpacked)
        }
        kind => return Err(format!("expected compression by zlib (1) or zstd (2), found type {kind}")),
    }
    .map_err(damaged)?;
    if unpacked.len() as u64 != header.ch_size {
        return Err(format!("expected {} bytes when decompressed, found {}", header.ch_size, unpacked.len()));
    }
    Ok(unpacked)
}
