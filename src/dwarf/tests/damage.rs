//! Debug info that was cut off or overwritten: less, or an error, but never a panic or an endless loop.

use crate::binary::fixture::Fixture;
use crate::dwarf::*;

const SOURCE: &str = "
    struct rec { int a; struct rec *next; enum { RED, GREEN } color; char name[16]; };
    __attribute__((noinline)) int visit(struct rec *r, int (*f)(const struct rec *, int), long n) { return f(r, n) + r->a; }
    static int one(const struct rec *r, int n) { return r->a + n; }
    int main(int argc, char **argv) { struct rec r = { argc, 0, RED, \"\" }; return visit(&r, one, (long)argv); }
";

/// Everything that reads debug info.
fn look_at(path: &std::path::Path) -> usize {
    let Ok(binary) = Binary::open(path) else { return 0 };
    let sections = DebugSections::load(&binary).unwrap_or_else(|_| DebugSections::without_debug_info(&binary));
    let info = DebugInfo::parse(&binary, &sections);
    let mut types = TypeTable::default();
    let functions = info.describe(info.functions(), &mut types);
    for function in &functions {
        let _ = info.source_line(function.ranges[0].start);
    }
    let _ = (info.problems(), info.source_line(Svma(0)), info.source_line(Svma(u64::MAX)));
    functions.len()
}

/// Guards against a panic, an endless loop or endless memory on a hostile file.
#[test]
fn damaged_debug_info_gives_less_and_nothing_worse() {
    for options in [["-O0", "-gdwarf-4"], ["-O2", "-gdwarf-5"]] {
        let fixture = Fixture::compile("gcc", &options, SOURCE);
        let whole = std::fs::read(fixture.program()).unwrap();
        assert!(look_at(&fixture.program()) >= 2);
        let binary = Binary::open(&fixture.program()).unwrap();
        let names = [
            ".debug_info",
            ".debug_abbrev",
            ".debug_line",
            ".debug_str",
            ".debug_line_str",
            ".debug_loc",
            ".debug_loclists",
            ".debug_rnglists",
            ".debug_ranges",
            ".eh_frame",
        ];
        let damaged = fixture.folder().join("damaged");
        for name in names {
            let Some(SectionBytes::Mapped(_, range)) = binary.section(name).unwrap() else { continue };
            for at in range.clone().step_by(3) {
                let mut bytes = whole.clone();
                // A different bit each time; every third byte is enough to meet each kind of field.
                bytes[at] ^= 1 << (at % 8);
                std::fs::write(&damaged, &bytes).unwrap();
                look_at(&damaged);
            }
            for at in range.clone().step_by(17) {
                let mut bytes = whole.clone();
                bytes[at..range.end].fill(0xff);
                std::fs::write(&damaged, &bytes).unwrap();
                look_at(&damaged);
            }
        }
    }
}
