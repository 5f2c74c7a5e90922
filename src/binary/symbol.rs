//! Symbol tables: sections in, functions by name and address out.

use goblin::container::{Container, Ctx};
use goblin::elf::sym::{STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT, Sym};
use scroll::Pread;
use scroll::ctx::SizeWith;

use crate::address::Svma;

/// `SHN_UNDEF`: the symbol is defined in another file.
const SHN_UNDEF: usize = 0;

/// All files that we read are 64-bit and little-endian.
pub(super) const CTX: Ctx = Ctx { container: Container::Big, le: scroll::Endian::Little };

/// A function in a symbol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionSymbol<'a> {
    /// The linker's name for it, without a version.
    pub name: &'a str,
    /// `st_value`; of an `STT_GNU_IFUNC` symbol, the address of its resolver.
    pub address: Svma,
    /// `st_size`; 0 where it is not known.
    pub size: u64,
    /// Other files can see it.
    pub is_global: bool,
    /// Another definition would take its place: mostly a second name for what has a better one.
    pub is_weak: bool,
    /// It is in `.dynsym`: the dynamic linker can find it.
    pub is_exported: bool,
    /// `STT_GNU_IFUNC`: its code is chosen when the program starts.
    pub is_indirect: bool,
}

/// A symbol table and its names.
pub(super) struct Table<'a> {
    pub(super) symbols: &'a [u8],
    pub(super) names: &'a [u8],
    pub(super) is_dynamic: bool,
}

impl<'a> Table<'a> {
    fn iter(&self) -> impl Iterator<Item = Sym> + use<'a> {
        self.symbols.chunks_exact(Sym::size_with(&CTX)).filter_map(|bytes| bytes.pread_with(0, CTX).ok())
    }

    /// Functions that are defined here.
    pub(super) fn functions(&self) -> impl Iterator<Item = FunctionSymbol<'a>> {
        self.iter()
            .filter(|symbol| matches!(symbol.st_type(), STT_FUNC | STT_GNU_IFUNC) && symbol.st_shndx != SHN_UNDEF)
            .filter_map(|symbol| {
                Some(FunctionSymbol {
                    name: without_version(name_at(self.names, symbol.st_name)?),
                    address: Svma(symbol.st_value),
                    size: symbol.st_size,
                    is_global: symbol.st_bind() != STB_LOCAL,
                    is_weak: symbol.st_bind() == STB_WEAK,
                    is_exported: self.is_dynamic,
                    is_indirect: symbol.st_type() == STT_GNU_IFUNC,
                })
            })
    }

    /// Where a variable that is defined here lies.
    pub(super) fn variable(&self, name: &str) -> Option<Svma> {
        let is_it = |symbol: &Sym| {
            symbol.st_type() == STT_OBJECT
                && symbol.st_shndx != SHN_UNDEF
                && name_at(self.names, symbol.st_name).map(without_version) == Some(name)
        };
        self.iter().find(is_it).map(|symbol| Svma(symbol.st_value))
    }

    /// The variable around `address`, and how far into it that is.
    pub(super) fn variable_around(&self, address: Svma) -> Option<(&'a str, u64)> {
        let distance =
            |symbol: &Sym| address.0.checked_sub(symbol.st_value).filter(|distance| *distance < symbol.st_size);
        self.iter()
            .filter(|symbol| symbol.st_type() == STT_OBJECT && symbol.st_shndx != SHN_UNDEF)
            .filter_map(|symbol| Some((without_version(name_at(self.names, symbol.st_name)?), distance(&symbol)?)))
            .min_by_key(|(_, distance)| *distance)
    }

    /// Names of functions that another file must define.
    pub(super) fn imports(&self) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(|symbol| matches!(symbol.st_type(), STT_FUNC | STT_NOTYPE) && symbol.st_shndx == SHN_UNDEF)
            .filter_map(|symbol| name_at(self.names, symbol.st_name))
            .map(without_version)
            .filter(|name| !name.is_empty())
    }
}

/// The NUL-terminated string at `offset`; `None` outside of the table, and for what is not UTF-8.
pub(super) fn name_at(names: &[u8], offset: usize) -> Option<&str> {
    let rest = names.get(offset..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Some linkers write `name@VERSION` and `name@@VERSION` into the table itself.
fn without_version(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}
