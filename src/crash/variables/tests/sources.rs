//! What the programs are made from. They crash in the function `innermost` or what stands for it.

pub const C: &str = r#"#include <string.h>
#if defined(__clang__)
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noipa))
#endif
struct rec { const char *name; int id; struct rec *next; double weight; };
enum color { RED, GREEN };
volatile int sink;
volatile int *volatile nowhere;
KEEP int innermost(struct rec *r, int depth, const char *text) {
    long shadow = 10;
    char buffer[16];
    strcpy(buffer, text);
    {
        long other = 30;
        sink = other;
    }
    {
        int shadow = 20;
        long big = -5000000000;
        sink = *nowhere + shadow + depth + (int)big + buffer[depth];
        int late = shadow;
        sink = late;
    }
    return sink + shadow + r->id;
}
KEEP int middle(struct rec r, enum color color, double ratio, char letter) {
    int numbers[3] = {3, 1, 4};
    int result = innermost(&r, numbers[0], "some text");
    return result + numbers[1] + color + ratio + letter + r.id;
}
int main(void) {
    struct rec r = {"alice", 7, NULL, -1.5};
    char key[16] = "some text";
    sink = strlen(key);
    return middle(r, GREEN, 0.25, 'x') + key[sink];
}
"#;

/// Arguments that optimized code drops, values in callee-saved registers, and values that only the call site knows.
pub const KEPT: &str = r#"
#if defined(__clang__)
#define KEEP __attribute__((noinline, used))
#else
#define KEEP __attribute__((noipa))
#endif
volatile int sink;
volatile int *volatile nowhere;
KEEP int leaf(int given, int dropped) {
    sink = given + dropped;
    __asm__ volatile("" ::: "rdi", "rsi");
    return *nowhere;
}
static inline int inlined(int inner) {
    int twice = inner * 2;
    return leaf(twice, 9) + twice;
}
KEEP int branch(int kept, int dropped) {
    int sum = kept + dropped;
    int result = inlined(sum);
    return result + kept;
}
KEEP int hop(int hopped) { return leaf(hopped + 1, 5); }
KEEP int pointed(int (*function)(int, int), int more) {
    int result = function(more + 1, 6);
    return result + more;
}
int main(int argc, char **argv) {
    int local = argc + 41;
#if defined(HOP)
    int result = hop(local);
#elif defined(POINTED)
    int result = pointed(leaf, local);
#else
    int result = branch(local, 7);
#endif
    return result + local;
}
"#;

pub const CPP: &str = r#"#include <string>
struct Base { int number; virtual ~Base() {} };
struct Shape : Base {
    double width;
    int &counter;
    Shape(int number, double width, int &counter) : width(width), counter(counter) { this->number = number; }
    __attribute__((noinline)) int area(const char *name, bool exact) const {
        int scaled = number * 3;
        auto add = [&](int more) { int total = scaled + more; volatile int *volatile nowhere = nullptr; return *nowhere + total; };
        return add(5) + exact + name[0];
    }
};
int main() {
    int counter = 4;
    Shape shape(2, 1.5, counter);
    try {
        int inside = 11;
        return shape.area("square", true) + inside;
    } catch (...) {
        return 1;
    }
}
"#;

pub const RUST: &str = r#"use std::hint::black_box;
#[derive(Clone, Copy)]
struct Point { x: i32, y: i32 }
#[inline(never)]
fn crash_here(point: Point, name: &str, flag: bool) -> i32 {
    let doubled = point.x * 2;
    let tuple = (7u8, -8i64);
    let nowhere = black_box(std::ptr::null::<i32>());
    unsafe { nowhere.read_volatile() + doubled + i32::from(tuple.0) + name.len() as i32 + i32::from(flag) + tuple.1 as i32 }
}
fn main() {
    let letter = 'é';
    let total = crash_here(Point { x: black_box(3), y: 4 }, black_box("slice"), black_box(true));
    println!("{total}{letter}");
}
"#;
