//! Languages with names of their own.

use super::*;

pub const CPP: &str = "\
static volatile int *volatile nowhere;
namespace shop {
struct Item {
    virtual ~Item() = default;
    virtual int price(int n) const = 0;
};
namespace {
struct Book : Item {
    int price(int n) const override {
        *nowhere = n; // writes
        return n;
    }
};
__attribute__((noinline)) int ask(const Item &item) {
    return item.price(3) + 1; // asks
}
}
template <typename T> __attribute__((noinline)) T twice(const Item &item) {
    return ask(item) * 2; // calls ask
}
}
int main() {
    shop::Book book;
    auto sum = [&](int n) __attribute__((noinline)) {
        return shop::twice<long>(book) + n; // calls twice
    };
    return sum(1) + 1; // calls the lambda
}
";

/// Guards against mangled names, and against methods without their class.
#[test]
fn cpp_frames_have_the_names_of_the_source() {
    for level in ["-O0", "-O1"] {
        let crash = Crash::of("g++", &["-g", level, "-fno-devirtualize", "-fno-ipa-sra"], CPP);

        let shown = crash.shown(0, "main");
        let expected = [
            "shop::(anonymous namespace)::Book::price: writes",
            "shop::(anonymous namespace)::ask: asks",
            "shop::twice<long>: calls ask",
        ];
        assert_eq!(shown[..3], expected, "{level}");
        assert!(shown[3].starts_with("main::") && shown[3].ends_with(": calls twice"), "{shown:?}");
        assert_eq!(shown[4..], ["main: calls the lambda"]);
    }
}

pub const RUST: &str = "\
use std::hint::black_box;
struct Account(*mut i32);
impl Account {
    #[inline(never)]
    fn add(&self, amount: i32) {
        unsafe { self.0.write_volatile(amount) } // writes
    }
}
#[inline(never)]
fn pay<T: Into<i32>>(account: &Account, amount: T) -> i32 {
    account.add(amount.into()); // calls add
    black_box(1)
}
fn main() {
    let account = Account(black_box(8 as *mut i32));
    std::process::exit(pay(&account, 3i16)); // calls pay
}
";

/// Guards against hashes in names, and against a Rust program that ends at its own `main`.
#[test]
fn rust_frames_have_the_names_of_the_source() {
    for level in ["-Copt-level=0", "-Copt-level=2"] {
        let crash = Crash::of("rustc", &["-g", level], RUST);

        let shown = crash.shown(0, "main");
        let ours: Vec<&str> = shown.iter().map(String::as_str).filter(|frame| frame.starts_with("program::")).collect();
        let expected = ["program::Account::add: writes", "program::pay: calls add", "program::main: calls pay"];
        assert_eq!(ours, expected, "{level}: {shown:#?}");
        assert!(shown.iter().any(|frame| frame.starts_with("std::rt::lang_start")), "{shown:#?}");
        assert_eq!(crash.dead.backtrace(0).end, End::Outermost);
    }
}
