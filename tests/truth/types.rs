//! Types of parameters: how C spells them, values of them, and how C spells those.

use super::random::Random;
use super::value::Truth;

/// A type of C or C++.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An integer: its name, bits and whether it has a sign.
    Integer(&'static str, u32, bool),
    Bool,
    Color,
    /// `float`, `double` and `long double`.
    Float(&'static str),
    Text,
    Pointer,
    /// One of [`STRUCTS`].
    Struct(usize),
}

use Type::{Bool, Color, Float, Integer, Pointer, Text};

/// What is declared for them in front of each program.
pub const DECLARATIONS: &str = r#"
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include "keep.h"
enum color { RED, GREEN, BLUE = 40 };
struct pair { int a; int b; };
struct mixed { char c; double d; };
struct quad { long a; long b; };
struct odd { signed char a; short b; signed char c; };
struct floats { float x; float y; };
struct doubles { double x; double y; };
struct big { long a; int b; char c; long d; };
struct __attribute__((packed)) packed { signed char a; int b; };
struct array { short v[5]; };
struct three { int a; short b; bool c; };
#ifdef __cplusplus
struct owner {
    long id; int kind;
    owner(long id, int kind) : id(id), kind(kind) {}
    owner(const owner &other) : id(other.id), kind(other.kind) {}
    ~owner() { HAPPENS(); }
};
#endif
volatile uint64_t sink;
KEEP void escape(volatile void *pointer) { __asm__ volatile("" : : "r"(pointer) : "memory"); }
"#;

/// The structs among them with their members. The last one is C++'s.
const STRUCTS: [(&str, &[(&str, Type)]); 11] = [
    ("pair", &[("a", INT), ("b", INT)]),
    ("mixed", &[("c", CHAR), ("d", Float("double"))]),
    ("quad", &[("a", LONG), ("b", LONG)]),
    ("odd", &[("a", Integer("signed char", 8, true)), ("b", SHORT), ("c", Integer("signed char", 8, true))]),
    ("floats", &[("x", Float("float")), ("y", Float("float"))]),
    ("doubles", &[("x", Float("double")), ("y", Float("double"))]),
    ("big", &[("a", LONG), ("b", INT), ("c", CHAR), ("d", LONG)]),
    ("packed", &[("a", Integer("signed char", 8, true)), ("b", INT)]),
    ("array", &[("v", SHORT)]),
    ("three", &[("a", INT), ("b", SHORT), ("c", Bool)]),
    ("owner", &[("id", LONG), ("kind", INT)]),
];
const ARRAY: usize = 8;
const OWNER: usize = 10;

const CHAR: Type = Integer("char", 8, true);
const SHORT: Type = Integer("short", 16, true);
pub const INT: Type = Integer("int", 32, true);
pub const LONG: Type = Integer("long", 64, true);

/// Types without parts; common ones more than once.
const SCALARS: [Type; 21] = [
    INT,
    INT,
    INT,
    LONG,
    LONG,
    LONG,
    CHAR,
    SHORT,
    Integer("signed char", 8, true),
    Integer("unsigned char", 8, false),
    Integer("unsigned short", 16, false),
    Integer("unsigned int", 32, false),
    Integer("unsigned long", 64, false),
    Integer("__int128", 128, true),
    Bool,
    Color,
    Float("float"),
    Float("double"),
    Text,
    Text,
    Pointer,
];

impl Type {
    /// Any type of the language.
    pub fn random(random: &mut Random, is_cpp: bool) -> Self {
        match random.below(20) {
            0..=3 => Self::Struct(random.below(if is_cpp { OWNER + 1 } else { OWNER })),
            4 if random.chance(3) => Float("long double"),
            _ => *random.pick(&SCALARS),
        }
    }

    /// As in the source.
    pub fn name(self) -> String {
        match self {
            Integer(name, ..) | Float(name) => name.to_owned(),
            Bool => "bool".to_owned(),
            Color => "enum color".to_owned(),
            Text => "const char *".to_owned(),
            Pointer => "volatile void *".to_owned(),
            Self::Struct(index) => format!("struct {}", STRUCTS[index].0),
        }
    }

    /// Whether there is arithmetic with it.
    pub fn is_integer(self) -> bool {
        matches!(self, Integer(..))
    }

    /// Two members that can be assigned to each other.
    pub fn like_members(self) -> Option<(&'static str, &'static str)> {
        let Self::Struct(index) = self else { return None };
        let members = STRUCTS[index].1;
        let first =
            members.iter().find(|(name, ty)| members.iter().any(|(other, same)| other != name && same == ty))?;
        let second = members.iter().rfind(|(_, same)| *same == first.1)?;
        Some((first.0, second.0))
    }

    /// Whether it can be assigned to.
    pub fn is_assignable(self) -> bool {
        self != Self::Struct(OWNER)
    }

    /// An expression that reads all of `name`.
    pub fn read(self, name: &str) -> String {
        match self {
            Pointer | Text => format!("(uint64_t)(uintptr_t){name}"),
            Integer(..) | Bool | Color | Float(_) => format!("(uint64_t){name}"),
            Self::Struct(ARRAY) => format!("(uint64_t){name}.v[3]"),
            Self::Struct(index) => {
                let members = STRUCTS[index].1.iter().map(|(member, ty)| ty.read(&format!("{name}.{member}")));
                members.collect::<Vec<_>>().join(" + ")
            }
        }
    }

    /// Some value.
    pub fn value(self, random: &mut Random) -> Truth {
        match self {
            Integer(_, 128, _) => Truth::Number((i128::from(random.next().cast_signed()) << 40) + 5),
            Integer("char", ..) => Truth::Number(i128::from(b'a') + random.below(26) as i128),
            Integer(_, bits, true) => Truth::Number(i128::from(random.next().cast_signed() >> (64 - bits))),
            Integer(_, bits, false) => Truth::Number(i128::from(random.next() >> (64 - bits))),
            Bool => Truth::Bool(random.chance(2)),
            Color => Truth::Name((*random.pick(&["RED", "GREEN", "BLUE"])).to_owned()),
            Float(_) => Truth::Float(random.below(4000) as f64 * 0.25),
            Text => Truth::Text(format!("text {}", random.below(100_000))),
            Pointer => Truth::Address(random.next() >> 17),
            Self::Struct(ARRAY) => {
                Truth::Members(vec![("v".to_owned(), Truth::Elements((0..5).map(|_| SHORT.value(random)).collect()))])
            }
            Self::Struct(index) => {
                let members = STRUCTS[index].1.iter();
                Truth::Members(members.map(|(name, ty)| ((*name).to_owned(), ty.value(random))).collect())
            }
        }
    }

    /// The same value in the source, as an initializer.
    pub fn initializer(self, truth: &Truth) -> String {
        match (self, truth) {
            (Self::Struct(_), Truth::Members(members)) => {
                let types = self.member_types();
                let parts = members.iter().zip(types).map(|((_, truth), ty)| ty.initializer(truth));
                format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
            }
            (_, Truth::Elements(elements)) => {
                let parts = elements.iter().map(|truth| self.initializer(truth));
                format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
            }
            (Integer(_, 128, _), Truth::Number(number)) => {
                format!("((__int128){} * ((__int128)1 << 40) + 5)", decimal(((number - 5) >> 40) as i64))
            }
            (Integer(name, 64, signed), Truth::Number(number)) => match signed {
                true => format!("({name}){}", decimal(*number as i64)),
                false => format!("({name}){number}ull"),
            },
            (_, Truth::Number(number)) => format!("({}){number}", self.name()),
            (_, Truth::Bool(value)) => value.to_string(),
            (Float("float"), Truth::Float(value)) => format!("{value:.2}f"),
            (Float("long double"), Truth::Float(value)) => format!("{value:.2}L"),
            (_, Truth::Float(value)) => format!("{value:.2}"),
            (_, Truth::Name(name)) => name.clone(),
            (_, Truth::Text(text)) => format!("\"{text}\""),
            (_, Truth::Address(address)) => format!("((volatile void *){address:#x})"),
            (_, Truth::Members(_)) => unreachable!("only a struct has members"),
        }
    }

    /// The same value in the source, as an expression.
    pub fn literal(self, truth: &Truth) -> String {
        match self {
            Self::Struct(OWNER) => format!("owner{}", self.initializer(truth)),
            Self::Struct(_) => format!("(({}){})", self.name(), self.initializer(truth)),
            _ => self.initializer(truth),
        }
    }

    fn member_types(self) -> Vec<Self> {
        match self {
            Self::Struct(index) => STRUCTS[index].1.iter().map(|(_, ty)| *ty).collect(),
            _ => vec![],
        }
    }
}

/// C has no literal for the least of all numbers: `-9223372036854775808` is a negated one that is too large.
fn decimal(number: i64) -> String {
    match number {
        i64::MIN => "(-9223372036854775807ll - 1)".to_owned(),
        _ => format!("({number}ll)"),
    }
}
