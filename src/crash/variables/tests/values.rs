//! Values as their authors wrote them, beside what is expected of them.

use super::*;

/// Checks the locals of the function that crashes against the comments in its source: `int x = 1; //= x = 1`. `0x*` stands for any address.
fn check(compiler: &str, options: &[&str], source: &str, function: &str) {
    let (right, wrong) = compare(compiler, options, source, function);
    assert!(wrong.is_empty(), "{compiler} {options:?}\n{}", wrong.join("\n"));
    assert!(right > 0);
}

/// How many values are as expected, and those that are not.
fn compare(compiler: &str, options: &[&str], source: &str, function: &str) -> (usize, Vec<String>) {
    let fixture = Fixture::compile(compiler, options, source);
    let dead = Dead::with_memory(&fixture.program(), 1, &["[heap]"]);
    let frames = frames_of_dead(&dead);
    let found = shown(frame(&frames, function));
    let (mut right, mut wrong) = (0, Vec::new());
    for expected in source.lines().filter_map(|line| Some(line.split_once("//= ")?.1)) {
        let name = expected.split(" = ").next().unwrap_or_default();
        let value = found.iter().find(|value| value.split(" = ").next() == Some(name));
        let value = value.map(|value| without_addresses(value)).unwrap_or_else(|| format!("no `{name}`"));
        if value == expected {
            right += 1;
        } else {
            wrong.push(format!("  is       {value}\n  expected {expected}"));
        }
    }
    (right, wrong)
}

/// With `0x*` for numbers that change from run to run.
fn without_addresses(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("0x") {
        let digits = rest[at + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&rest[..at]);
        out.push_str(if digits > 8 { "0x*" } else { &rest[at..at + 2 + digits] });
        rest = &rest[at + 2 + digits..];
    }
    out + rest
}

const C: &str = r#"
#include <stdint.h>
#include <stddef.h>
typedef unsigned int word;
struct flags { unsigned ready : 1; int level : 5; word kind : 12; _Bool last : 1; unsigned long long wide : 40; };
union number { int whole; float part; unsigned char bytes[4]; };
struct node { int id; struct node *next; };
struct ops { int (*open)(const char *); void *data; };
struct deep { struct { int x; struct { int y; } inner; }; int z; };
enum mode { OFF, ON };
struct packed { enum mode mode : 2; signed char small : 3; } __attribute__((packed));
int table[4];
volatile int *volatile nowhere;
int opener(const char *path) { return path[0]; }
__attribute__((noinline)) int crash(void) {
    struct flags flags = {1, -3, 4000, 1, 1ull << 39}; //= flags = flags {ready: 1, level: -3, kind: 4000, last: true, wide: 549755813888}
    union number number = {.whole = 1}; //= number = number {whole: 1, part: 1e-45, bytes: [1, 0, 0, 0]}
    struct packed packed = {ON, -2}; //= packed = packed {mode: ON, small: -2}
    struct ops ops = {opener, &table[1]}; //= ops = ops {open: 0x* <opener>, data: 0x* <table+0x4>}
    struct node second = {2, NULL};
    struct node first = {1, &second}; //= first = node {id: 1, next: 0x* \u{2192} node {id: 2, next: NULL}}
    struct node circle = {9, NULL}; //= circle = node {id: 9, next: 0x* \u{2192} node {id: 9, next: 0x* (it leads back to what it is in)}}
    circle.next = &circle;
    struct deep deep = {{1, {2}}, 3}; //= deep = deep {{x: 1, inner: {y: 2}}, z: 3}
    const char *names[3] = {"a", "b, c", NULL}; //= names = ["a", "b, c", NULL]
    struct node pair[2] = {{1, NULL}, {2, NULL}}; //= pair = [node {id: 1, next: NULL}, node {id: 2, next: NULL}]
    uint8_t buffer[32] = {1, 2}; //= buffer = <32 bytes: 01 02 00 00 00 00 00 00 \u{2026}>
    int many[80] = {7};
    void *code = (void *)opener; //= code = 0x* <opener>
    __int128 huge = (__int128)1 << 100; //= huge = 1267650600228229401496703205376
    return *nowhere + first.id + flags.level + number.whole + ops.open("x") + circle.id + deep.z + names[0][0] + pair[0].id
        + buffer[0] + many[0] + (code != NULL) + (int)huge + packed.small;
}
int main(void) { return crash(); }
"#;

/// Guards against bits that are told as the number they are in, a lost sign, unions with one face, and walks in circles.
#[test]
fn c_is_told_as_it_is_written() {
    let source = C.replace("\\u{2192}", "\u{2192}").replace("\\u{2026}", "\u{2026}");
    for (compiler, dwarf) in
        [("gcc", "-gdwarf-5"), ("gcc", "-gdwarf-4"), ("clang", "-gdwarf-5"), ("clang", "-gdwarf-3")]
    {
        check(compiler, &["-g", dwarf, "-O0"], &source, "crash");
    }
}

const RUST: &str = r#"
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
pub enum Shape { Circle { r: i32 }, Pair(u8, i64), Named(String), Dot }
pub enum One { Only(u32) }
#[repr(u128)]
pub enum Wide { Small = 1, Large(u8) = 1 << 100 }
#[repr(i8)]
pub enum Signed { Minus(u8) = -5, Plus = 5 }
pub enum Level { Low, High }
pub struct Metres(f64);
pub struct Tree { id: u32, children: Vec<Tree> }
pub struct Rec<'a> { id: u32, name: &'a str, tags: Vec<String> }
#[inline(never)]
fn crash() -> i32 {
    let some = Some(7); //= some = Some(7)
    let none: Option<i32> = None; //= none = None
    let nested: Option<Option<u8>> = Some(None); //= nested = Some(None)
    let ok: Result<i32, String> = Ok(-1); //= ok = Ok(-1)
    let bad: Result<i32, String> = Err("no \"way\"".into()); //= bad = Err("no \"way\"")
    let circle = Shape::Circle { r: 2 }; //= circle = Shape::Circle {r: 2}
    let pair = Shape::Pair(1, -2); //= pair = Shape::Pair(1, -2)
    let named = Shape::Named("x".into()); //= named = Shape::Named("x")
    let dot = Shape::Dot; //= dot = Shape::Dot
    let one = One::Only(5); //= one = One::Only(5)
    let wide = Wide::Large(9); //= wide = Wide::Large(9)
    let small = Wide::Small; //= small = Wide::Small
    let minus = Signed::Minus(1); //= minus = Signed::Minus(1)
    let level = Level::High; //= level = High
    let metres = Metres(1.5); //= metres = Metres(1.5)
    let tuple = (1, "x", 'c'); //= tuple = (1, "x", 'c')
    let unit = (); //= unit = {}
    let text = "Grüße"; //= text = "Grüße"
    let owned = String::from("owned"); //= owned = "owned"
    let empty = String::new(); //= empty = ""
    let list = vec![1u32, 2, 3]; //= list = [1, 2, 3]
    let texts = vec!["a".to_string(), "b".to_string()]; //= texts = ["a", "b"]
    let nothing: Vec<u64> = Vec::new(); //= nothing = []
    let units = vec![(), ()]; //= units = [{}, {}]
    let slice = &list[1..]; //= slice = [2, 3]
    let boxed = Box::new(5); //= boxed = 0x* → 5
    let absent: Option<Box<i32>> = None; //= absent = None
    let present: Option<Box<i32>> = Some(Box::new(6)); //= present = Some(0x* → 6)
    let boxed_list: Box<[u16]> = vec![1, 2].into(); //= boxed_list = [1, 2]
    let boxed_text: Box<str> = "boxed".into(); //= boxed_text = "boxed"
    let shared = Rc::new(String::from("shared")); //= shared = 0x* → "shared"
    let atomic: Arc<str> = "atomic".into(); //= atomic = "atomic"
    let atoms: Arc<[u8]> = vec![1u8, 2].into(); //= atoms = [1, 2]
    let borrowed: Cow<str> = Cow::Borrowed("cow"); //= borrowed = Cow::Borrowed("cow")
    let cow: Cow<str> = Cow::Owned("calf".into()); //= cow = Cow::Owned("calf")
    let path = PathBuf::from("/tmp/a"); //= path = "/tmp/a"
    let part: &Path = Path::new("b/c"); //= part = "b/c"
    let os = OsString::from("os"); //= os = "os"
    let cell = Cell::new(3); //= cell = 3
    let refcell = RefCell::new(vec![4]); //= refcell = [4]
    let mutex = Mutex::new("inside".to_string()); //= mutex = "inside"
    let mut map = HashMap::new(); //= map = {"k": 11}
    map.insert("k", 11);
    let mut set = HashSet::new(); //= set = [12]
    set.insert(12u16);
    let rec = Rec { id: 1, name: "n", tags: vec!["t".into()] }; //= rec = Rec {id: 1, name: "n", tags: ["t"]}
    let tree = Tree { id: 1, children: vec![Tree { id: 2, children: vec![] }] }; //= tree = Tree {id: 1, children: [Tree {id: 2, children: []}]}
    let to_vec = &texts; //= to_vec = 0x* → ["a", "b"]
    let big = u128::MAX; //= big = 340282366920938463463374607431768211455
    let function: fn() -> i32 = crash; //= function = 0x* <program::crash>
    let long: Vec<u8> = vec![255; 100]; //= long = <64 bytes: ff ff ff ff ff ff ff ff …>
    black_box((&some, &none, &nested, &ok, &bad, &circle, &pair, &named, &dot, &one));
    black_box((&wide, &small, &minus, &level, &metres.0, &tuple, &unit, &text, &owned, &empty, &list));
    black_box((&texts, &nothing, &units, &slice, &boxed, &absent, &present, &boxed_list, &boxed_text, &shared, &atomic));
    black_box((&atoms, &borrowed, &cow, &path, &part, &os, &cell, &refcell, &mutex, &map, &set));
    black_box((&rec.id, &rec.name, &rec.tags, &tree.id, &tree.children, &to_vec, &big, &function, &long));
    let nowhere = black_box(std::ptr::null::<i32>());
    unsafe { nowhere.read_volatile() }
}
fn main() { black_box(crash()); }
"#;

/// Guards against enums without their variant, containers told by what they are made of, and `Some(None)` that becomes `None`.
#[test]
fn rust_is_told_as_it_is_written() {
    check("rustc", &["-g"], RUST, "program::crash");
}

const CPP: &str = r#"
#include <array>
#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
namespace geometry {
struct Point { int x; int y; };
struct Named : Point { std::string name; };
struct Base { virtual ~Base() {} int id = 1; };
struct Derived : Base { int more = 2; };
}
volatile int *volatile nowhere;
int twice(int x) { return 2 * x; }
__attribute__((noinline)) int crash() {
    std::string text = "short"; //= text = "short"
    std::string heap(30, 'x'); //= heap = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    std::string empty; //= empty = ""
    std::string_view view = "view"; //= view = "view"
    std::vector<int> list{1, 2, 3}; //= list = [1, 2, 3]
    std::vector<std::string> texts{"a", "b"}; //= texts = ["a", "b"]
    std::vector<int> none; //= none = []
    std::vector<geometry::Point> points{{1, 2}}; //= points = [Point {x: 1, y: 2}]
    std::array<int, 2> array{4, 5}; //= array = [4, 5]
    std::span<int> span(list); //= span = [1, 2, 3]
    std::optional<int> some = 3; //= some = 3
    std::optional<std::string> no; //= no = nullopt
    std::variant<int, std::string> either = "or"; //= either = std::string("or")
    std::variant<int, std::string> number = 4; //= number = int(4)
    std::unique_ptr<geometry::Point> owner(new geometry::Point{1, 2}); //= owner = 0x* → Point {x: 1, y: 2}
    std::unique_ptr<int> nobody; //= nobody = NULL
    std::shared_ptr<int> shared = std::make_shared<int>(6); //= shared = 0x* → 6
    std::pair<int, std::string> pair{1, "p"}; //= pair = (1, "p")
    std::tuple<int, char, std::string> tuple{1, 'c', "t"}; //= tuple = (1, 99 'c', "t")
    std::map<std::string, int> map{{"one", 1}, {"two", 2}}; //= map = {"one": 1, "two": 2}
    std::map<int, std::vector<int>> lists{{3, {1}}, {1, {}}}; //= lists = {1: [], 3: [1]}
    std::set<long> set{5, 4, 6}; //= set = [4, 5, 6]
    std::unordered_map<int, double> hash{{1, 0.5}}; //= hash = {1: 0.5}
    std::unordered_map<std::string, int> words{{"w", 1}}; //= words = {"w": 1}
    std::list<int> nodes{7, 8}; //= nodes = [7, 8]
    std::atomic<int> atomic{9}; //= atomic = 9
    std::function<int(int)> function = twice; //= function = 0x* <twice>
    std::function<int(int)> missing; //= missing = empty
    geometry::Named named; //= named = Named {geometry::Point: Point {x: 3, y: 4}, name: "n"}
    named.x = 3; named.y = 4; named.name = "n";
    geometry::Derived derived; //= derived = Derived {geometry::Base: Base {_vptr.Base: 0x* <vtable for geometry::Derived+0x10>, id: 1}, more: 2}
    int &reference = named.x; //= reference = 0x* → 3
    int sum = *nowhere;
    return sum + text.size() + heap.size() + empty.size() + view.size() + list.size() + texts.size() + points.size() + array[0]
        + span[0] + *some + no.has_value() + either.index() + number.index() + owner->x + *shared + pair.first + std::get<0>(tuple)
        + map.size() + lists.size() + set.size() + hash.size() + words.size() + nodes.size() + atomic + function(1) + reference
        + none.size() + (nobody == nullptr) + derived.id + !missing;
}
int main() { return crash(); }
"#;

/// Guards against containers that are told by what they are made of, in the order of the heap, or with what is left behind their ends.
#[test]
fn cpp_is_told_as_it_is_written() {
    check("g++", &["-g", "-O0", "-std=c++20"], CPP, "crash");
    check("g++", &["-gdwarf-4", "-O0", "-std=c++20"], CPP, "crash");
    let clang = CPP.replace("_vptr.Base", "_vptr$Base");
    check("clang++", &["-g", "-O0", "-std=c++20", "-fstandalone-debug"], &clang, "crash");
}

const DAMAGED_CPP: &str = r#"
#include <cstring>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>
struct Words { unsigned long word[8]; };
volatile int *volatile nowhere;
template <typename T> unsigned long *words(T &of) { return reinterpret_cast<unsigned long *>(&of); }
__attribute__((noinline)) int crash() {
    std::vector<int> list{1, 2, 3}; //= list = <unavailable: its elements lie from 0x* to 0x10, with room to 0x*: it is damaged, or not set yet>
    words(list)[1] = 0x10;
    std::vector<char> wide(1); //= wide = <unavailable: 9223372036854775807 elements of 1 bytes fit into no memory: it is damaged, or not set yet>
    words(wide)[0] = 0; words(wide)[1] = words(wide)[2] = ~0ul >> 1;
    std::string text = "text"; //= text = <unavailable: 9223372036854775808 bytes where there is room for 1954047348: it is damaged, or not set yet>
    words(text)[1] = 1ul << 63;
    std::string lost = "lost"; //= lost = <unavailable: the memory at 0xdead0000 was not captured>
    words(lost)[0] = 0xdead0000;
    std::map<int, int> cyclic{{1, 2}, {3, 4}, {5, 6}};
    unsigned long root = words(cyclic)[2];
    reinterpret_cast<unsigned long *>(root)[3] = root; //= cyclic = {1: 2, 3: 4, …}
    std::map<int, int> cut{{1, 2}, {3, 4}}; //= cut = {1: 2, …}
    reinterpret_cast<unsigned long *>(words(cut)[2])[3] = 0xdead0000;
    std::map<int, int> many{{1, 2}}; //= many = {1: 2, …}
    words(many)[5] = 1ul << 60;
    std::list<int> circle{1, 2}; //= circle = [1, 2, …]
    unsigned long *first = reinterpret_cast<unsigned long *>(words(circle)[0]);
    reinterpret_cast<unsigned long *>(first[0])[0] = reinterpret_cast<unsigned long>(first);
    words(circle)[2] = 1ul << 40;
    std::unordered_map<int, int> hash{{1, 2}}; //= hash = <unavailable: the node at 0xdead0000 was not captured>
    words(hash)[2] = 0xdead0000;
    int sum = *nowhere;
    std::_Exit(sum);
}
int main() { return crash(); }
"#;

const DAMAGED_RUST: &str = r#"
use std::collections::HashMap;
use std::hint::black_box;
use std::mem::ManuallyDrop;
pub enum Shape { Dot, Line(u8), Square(u8) }
pub struct Tree { id: u32, children: Vec<Tree> }
unsafe fn words<T>(of: &mut T) -> *mut u64 { (of as *mut T).cast() }
#[inline(never)]
fn crash() -> i32 {
    let mut list = ManuallyDrop::new(vec![1u64]); //= list = <unavailable: 9223372036854775808 elements where there is room for 1: it is damaged, or not set yet>
    let mut text: &str = "x"; //= text = <unavailable: 9223372036854775808 elements of 1 bytes fit into no memory: it is damaged, or not set yet>
    let mut shape = Shape::Line(1); //= shape = <bytes c901: its discriminant 201 is that of no variant>
    let mut tree = ManuallyDrop::new(Tree { id: 1, children: vec![Tree { id: 2, children: vec![] }] }); //= tree = Tree {id: 1, children: [Tree {id: 2, children: <unavailable: it leads back to what it is in>}]}
    let mut map = ManuallyDrop::new(HashMap::from([(1u32, 2u32)])); //= map = <unavailable: 9223372036854775808 elements with a mask of 0x3: it is damaged, or not set yet>
    unsafe {
        let at = words(&mut *list);
        (0..3).filter(|i| *at.add(*i) == 1).last().map(|i| *at.add(i) = 1 << 63);
        *words(&mut text).add(1) = 1 << 63;
        *words(&mut shape).cast::<u8>() = 201;
        let inner = &raw mut tree.children[0];
        std::ptr::copy_nonoverlapping(&raw const tree.children, &raw mut (*inner).children, 1);
        *words(&mut *map).add(3) = 1 << 63;
    }
    black_box((&list, &text, &shape, &tree.id, &map, Shape::Dot, Shape::Square(2)));
    let nowhere = black_box(std::ptr::null::<i32>());
    unsafe { nowhere.read_volatile() }
}
fn main() { black_box(crash()); }
"#;

/// Guards against endless walks, gigabytes of nothing, and values that are made up, for objects that were overwritten.
#[test]
fn damaged_objects_say_so() {
    check("g++", &["-g", "-O0", "-std=c++20"], DAMAGED_CPP, "crash");
    check("rustc", &["-g"], DAMAGED_RUST, "program::crash");
}

/// Guards against values that are made up where the compiler has kept only a part of them.
#[test]
fn optimized_code_has_the_same_values_or_none() {
    let ways: [(&str, &[&str], &str, &str); 4] = [
        ("gcc", &["-g", "-O2"], C, "crash"),
        ("clang", &["-g", "-O2"], C, "crash"),
        ("g++", &["-g", "-O2", "-std=c++20"], CPP, "crash"),
        ("rustc", &["-g", "-Copt-level=2"], RUST, "program::crash"),
    ];
    for (compiler, options, source, function) in ways {
        let (right, wrong) = compare(compiler, options, source, function);
        let lies: Vec<_> = wrong.iter().filter(|value| !says_that_it_is_gone(value)).collect();
        println!("{compiler}: {right} of {}", right + wrong.len());
        assert!(lies.is_empty(), "{compiler} {options:?}: {lies:#?}");
        assert!(right >= 3, "{compiler} {options:?}: {right} right, {wrong:#?}");
    }
}

/// Whether a value, or a part of it, is told as one that is not known.
fn says_that_it_is_gone(value: &str) -> bool {
    ["<optimized out>", "<unavailable", "<unreadable", "no `"].iter().any(|mark| value.contains(mark))
}
