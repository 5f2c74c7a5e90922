//! Debug info that was cut off or overwritten: less, or an error, but never a panic or an endless loop.

use crate::address::{Avma, LoadBias, Svma};
use crate::binary::fixture::Fixture;
use crate::dwarf::variables::{CallerFrame, FrameState};
use crate::dwarf::*;

const SOURCE: &str = "
    struct rec { int a; struct rec *next; enum { RED, GREEN } color; char name[16]; };
    __attribute__((noinline)) int visit(struct rec *r, int (*f)(const struct rec *, int), long n) { return f(r, n) + r->a; }
    static int one(const struct rec *r, int n) { return r->a + n; }
    int main(int argc, char **argv) { struct rec r = { argc, 0, RED, \"\" }; return visit(&r, one, (long)argv); }
";

/// A frame that knows everything, and has itself for a caller.
#[derive(Clone, Copy)]
struct Anything<'i, 'a> {
    info: &'i DebugInfo<'a>,
    return_address: Svma,
}

impl<'a> FrameState<'a> for Anything<'_, 'a> {
    fn register(&self, number: u16) -> Option<u64> {
        Some(number.into())
    }

    fn memory(&self, at: Avma, _: u8) -> Result<u64, String> {
        Ok(at.0)
    }

    fn cfa(&self) -> Option<Avma> {
        Some(Avma(0x1000))
    }

    fn bias(&self) -> LoadBias {
        LoadBias(0)
    }

    fn caller(&self) -> Option<CallerFrame<'_, 'a>> {
        Some(CallerFrame { info: self.info, return_address: self.return_address, state: Box::new(*self) })
    }
}

/// Everything that reads debug info.
fn look_at(path: &std::path::Path) -> usize {
    let Ok(binary) = Binary::open(path) else { return 0 };
    let sections = DebugSections::load(&binary).unwrap_or_else(|_| DebugSections::without_debug_info(&binary));
    let info = DebugInfo::parse(&binary, &sections);
    let mut types = TypeTable::default();
    let functions = info.describe(info.functions(), &mut types);
    for function in &functions {
        let range = &function.ranges[0];
        let _ = info.source_line(range.start);
        for address in [range.start.0, range.start.0 / 2 + range.end.0 / 2, range.end.0.saturating_sub(1)].map(Svma) {
            let frame = Anything { info: &info, return_address: address };
            for variable in info.variables_at(address, &mut types) {
                assert_ne!(info.locate(&variable, address, &frame), []);
            }
        }
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
