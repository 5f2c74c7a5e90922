//! Types as values of their own: what DWARF says of them, free of the file that said it.

use std::collections::HashMap;

use crate::address::Svma;

/// Index of a type in its [`TypeTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// A type as its source spells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// As the source language writes it: `const char *`, `std::vector<int>`, `&str`.
    pub name: String,
    /// Bytes of a value, where the type is complete.
    pub size: Option<u64>,
    /// What it is made of.
    pub kind: TypeKind,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// C's `void`, Rust's `()` has members instead.
    Void,
    /// A two's complement or unsigned number.
    Integer {
        /// Whether the top bit is a sign.
        signed: bool,
    },
    /// One byte, 0 or 1.
    Bool,
    /// A character: C's `char` (`DW_ATE_signed_char` and its like) or a code point (`DW_ATE_UTF`).
    Character {
        /// `true` for a Unicode scalar value, `false` for a byte of unknown encoding.
        unicode: bool,
        /// Whether the number behind it has a sign.
        signed: bool,
    },
    /// IEEE 754 of 2, 4, 8 or 16 bytes, or x87's extended format in 10 to 16 bytes.
    Float,
    /// Named numbers.
    Enumeration {
        /// Whether the number behind it has a sign.
        signed: bool,
        /// Names in the order of their declaration.
        enumerators: Vec<(String, i128)>,
    },
    /// A pointer or a reference.
    Pointer {
        /// What it points to.
        to: TypeId,
        /// `true` for C++'s and Rust's references.
        reference: bool,
    },
    /// Another name.
    Typedef(TypeId),
    /// `const`, `volatile`, `restrict`, `_Atomic`.
    Qualified(TypeId),
    /// A struct, class, union or Rust enum.
    Aggregate(Aggregate),
    /// An array; a dimension of unknown size is `None`.
    Array {
        /// Type of an element.
        of: TypeId,
        /// Elements of each dimension, the outermost first.
        counts: Vec<Option<u64>>,
    },
    /// A part of a number: some bits of the bytes that they touch (`DW_AT_bit_size`).
    BitField {
        /// The type that it is declared with.
        of: TypeId,
        /// Bits before it, from the lowest of the first byte.
        skip: u64,
        /// How many it has.
        bits: u64,
    },
    /// A base class whose place in the object is in the table of methods, to which the object's first word points.
    VirtualBase {
        /// The base class.
        of: TypeId,
        /// Where its offset lies, before what the first word points to.
        before: u64,
    },
    /// Code: only ever pointed to.
    Function,
    /// What we do not understand, and why.
    Unsupported(String),
}

/// Members in the order of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// Members that are data, base classes included.
    pub members: Vec<Member>,
    /// `true` for `DW_TAG_union_type`.
    pub is_union: bool,
    /// `true` where only a declaration is known.
    pub is_declaration: bool,
    /// What `DW_TAG_variant_part` says: which members there are besides, in which case.
    pub variants: Option<VariantPart>,
    /// What a template, or Rust's generic type, was given (`DW_TAG_template_type_parameter`), in the order of the source.
    pub parameters: Vec<TypeId>,
    /// `true` where debug info says that functions are given a pointer to it (`DW_CC_pass_by_reference`); gcc never says so.
    pub is_passed_by_reference: bool,
    /// `true` where debug info says that they are given all of it (`DW_CC_pass_by_value`); gcc never says so either.
    pub is_passed_by_value: bool,
    /// `true` where a destructor of its own is declared, or a table of virtual functions: copying it is more than copying its bytes.
    pub has_destructor: bool,
}

/// Members of which a discriminant says whether they are there (DWARF 5, section 5.7.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariantPart {
    /// Where the discriminant lies; `None` where there is but one variant.
    pub discriminant: Option<Discriminant>,
    /// The variants in the order of the source.
    pub variants: Vec<Variant>,
}

/// The number that tells variants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discriminant {
    /// Bytes from the start of the aggregate.
    pub offset: u64,
    /// Its bytes, at most 16.
    pub size: u64,
}

/// One of several sets of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Values of the discriminant, first and last ones, as its bits are stored; none for the variant that is there in all other cases.
    pub values: Vec<(u128, u128)>,
    /// What is there then: rustc has one member, which has the variant's name.
    pub member: Member,
}

/// One member of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// Bytes from the start of the aggregate.
    pub offset: u64,
    /// Its type.
    pub ty: TypeId,
}

/// All types that the chosen functions need, each once.
#[derive(Clone, Debug, Default)]
pub struct TypeTable {
    types: Vec<Type>,
    heirs: HashMap<TypeId, Vec<Heir>>,
    said_lengths: HashMap<TypeId, String>,
}

/// A type that a value may really be of, which is described as another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heir {
    /// The type.
    pub ty: TypeId,
    /// Where in it lies what is pointed to: 0 but for bases that are not the first.
    pub at: u64,
    /// Rust's table of its methods, in the file that debug info is about. C++'s is known by its name.
    pub table: Option<Svma>,
}

impl TypeTable {
    /// Adds a type.
    pub fn push(&mut self, ty: Type) -> TypeId {
        self.types.push(ty);
        TypeId(u32::try_from(self.types.len() - 1).expect("fewer than 2^32 types"))
    }

    /// Replaces a type: types that refer to themselves are pushed as a placeholder first.
    pub fn set(&mut self, id: TypeId, ty: Type) {
        self.types[id.0 as usize] = ty;
    }

    /// The type with this id.
    #[must_use]
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// Adds a type that values of type `of` may really be of.
    pub fn add_heir(&mut self, of: TypeId, heir: Heir) {
        self.heirs.entry(of).or_default().push(heir);
    }

    /// The types that what a pointer to `of` points to may really be of: classes that inherit from it, or what has the methods of this trait.
    #[must_use]
    pub fn heirs(&self, of: TypeId) -> &[Heir] {
        self.heirs.get(&self.resolve_id(of)).map_or(&[], Vec::as_slice)
    }

    /// Notes what the user knows of a structure that ends in an array without a size: the member that counts its elements.
    pub fn say_length(&mut self, of: TypeId, member: String) {
        self.said_lengths.insert(self.resolve_id(of), member);
    }

    /// The member that counts the elements behind a structure, where the user has said so.
    #[must_use]
    pub fn said_length(&self, of: TypeId) -> Option<&str> {
        self.said_lengths.get(&self.resolve_id(of)).map(String::as_str)
    }

    /// The type behind typedefs and qualifiers. A chain that never ends (damaged DWARF) stops after 64 links.
    #[must_use]
    pub fn resolve(&self, id: TypeId) -> &Type {
        self.get(self.resolve_id(id))
    }

    fn resolve_id(&self, mut id: TypeId) -> TypeId {
        for _ in 0..64 {
            match self.get(id).kind {
                TypeKind::Typedef(to) | TypeKind::Qualified(to) => id = to,
                _ => break,
            }
        }
        id
    }
}
