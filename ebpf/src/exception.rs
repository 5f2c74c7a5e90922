//! What the runtimes of C++ put in front of an exception object: `struct __cxa_exception` (Itanium C++ ABI: Exception Handling, 2.2.1).
//!
//! Libraries have different fields in front of it, so distances are counted from the object backwards, where they agree (64 bits).

/// Distances of fields in front of the object, in bytes.
pub mod before {
    /// `_Unwind_Exception unwindHeader`, whose first word is `exception_class`.
    pub const UNWIND_HEADER: u64 = 32;
    /// `int handlerCount`: handlers that have it caught; negative while it is thrown again.
    pub const HANDLER_COUNT: u64 = 72;
    /// `__cxa_exception *nextException`: the one whose handler was running when this one was caught.
    pub const NEXT: u64 = 80;
    /// `std::type_info *exceptionType`
    pub const TYPE: u64 = 112;
}

/// Which runtime threw it: `exception_class` without its lowest byte.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug, PartialEq, Eq))]
pub struct Class {
    /// As a number.
    pub number: u64,
    /// What pointers to a `__cxa_exception` are in front of the object.
    pub header_bytes: u64,
    /// Where in front of a dependent exception's end the pointer to the object is that it refers to (`std::rethrow_exception`).
    pub primary: u64,
    /// Where in front of the object it is counted who refers to it: a word for the number, or its lower half and padding.
    pub references: u64,
}

/// libstdc++ (unwind-cxx.h), and libc++abi (cxa_exception.h).
pub const CLASSES: [Class; 2] = [
    Class { number: u64::from_be_bytes(*b"GNUCC++\0"), header_bytes: 112, primary: 112, references: 128 },
    Class { number: u64::from_be_bytes(*b"CLNGC++\0"), header_bytes: 128, primary: 120, references: 120 },
];

/// The lowest byte of the class of an exception that refers to another one's object.
pub const DEPENDENT: u64 = 1;

/// From what a pointer may lead to, to the exception object: the object itself, `unwindHeader`, and the beginnings of the headers of both libraries.
pub const POINTERS: [u64; 4] = [0, before::UNWIND_HEADER, CLASSES[0].header_bytes, CLASSES[1].header_bytes];

/// Words of the stack that are looked at: the frames of `abort`, of the handler of `std::terminate` and of the unwinder.
pub const STACK_WORDS: u32 = 1024;
/// Words below the stack pointer that are looked at: what the unwinder's frames have left there when it went into a handler. A signal that
/// nobody handles has no frame, and overwrites nothing of it.
pub const STACK_WORDS_BELOW: u32 = 1024;

/// Exceptions that are looked at, at the most.
pub const MAX_EXCEPTIONS: usize = 6;
/// Words of an exception object whose targets are copied.
pub const OBJECT_WORDS: u64 = 4;
/// Types that are copied: that of the object, and what it inherits from first.
pub const TYPES: u32 = 5;
