//! Where probes stand in real programs, as a table for docs/performance.md: how many functions are cheap to record, and why others are not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use xtask::real::Real;

use crate::shell::{self, ChoreError};

/// Arguments of `cargo xtask placement`.
#[derive(clap::Args)]
pub struct Arguments {}

/// One function with 1 to 6 arguments that can be read.
struct Line {
    class: String,
    obstacle: Option<String>,
}

/// Parses `    +0x1 push rbx: push, 0.9 us (OBSTACLE); reads 2 of 2; return ...`.
fn parse(line: &str) -> Option<Line> {
    let (_, rest) = line.strip_prefix("    +0x")?.split_once(": ")?;
    let mut parts = rest.split("; ");
    let (entry, reads) = (parts.next()?, parts.next()?);
    let readable: usize = reads.strip_prefix("reads ")?.split(' ').next()?.parse().ok()?;
    let (class, cost) = entry.split_once(", ")?;
    let obstacle = cost.split_once(" (").map(|(_, obstacle)| obstacle.trim_end_matches(')').to_owned());
    (1..=6).contains(&readable).then(|| Line { class: class.to_owned(), obstacle })
}

/// Builds the programs, asks lastwords about them, prints the table.
pub fn run(_: &Arguments) -> Result<(), ChoreError> {
    let root = shell::root();
    shell::run(shell::cargo().args(["build", "--quiet", "--package", "lastwords"]).current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut columns = Vec::new();
    for program in Real::ALL {
        let path = program.build(&root, &target.join("tmp/real"))?;
        columns.push(lines_of(&target.join("debug/lastwords"), &path)?);
    }
    print_table(&columns);
    Ok(())
}

fn lines_of(lastwords: &Path, program: &Path) -> Result<Vec<Line>, ChoreError> {
    let mut command = Command::new(lastwords);
    command.args(["functions", "--placement", "-f", "*"]).arg(program);
    let listed = shell::output(&mut command)?;
    // What has no debug info has no parameters to read: its line is followed by guesses.
    let mut has_debug_info = true;
    let lines = listed.lines().filter_map(|line| {
        if !line.starts_with(' ') {
            has_debug_info = !line.contains("no debug info");
        }
        parse(line).filter(|_| has_debug_info)
    });
    Ok(lines.collect())
}

fn print_table(columns: &[Vec<Line>]) {
    let names: Vec<&str> = Real::ALL.iter().map(|program| program.name()).collect();
    println!("| first probe | {} | both |", names.join(" | "));
    println!("|{}", " --- |".repeat(columns.len() + 2));
    let row = |name: &str, counts: &[usize]| {
        let texts: Vec<String> = counts.iter().map(usize::to_string).collect();
        println!("| {name} | {} | {} |", texts.join(" | "), counts.iter().sum::<usize>());
    };
    row("functions with 1 to 6 readable arguments", &columns.iter().map(Vec::len).collect::<Vec<_>>());
    let mut rows: BTreeMap<(bool, &str), Vec<usize>> = BTreeMap::new();
    for (column, lines) in columns.iter().enumerate() {
        for Line { class, obstacle } in lines {
            let key = (obstacle.is_some(), obstacle.as_deref().unwrap_or(class));
            rows.entry(key).or_insert_with(|| vec![0; columns.len()])[column] += 1;
        }
    }
    for ((is_expensive, name), counts) in &rows {
        row(&format!("{}: {name}", if *is_expensive { "expensive" } else { "cheap" }), counts);
    }
    let share = |lines: &mut dyn Iterator<Item = &Line>| {
        let (mut cheap, mut all) = (0, 0);
        lines.for_each(|line| {
            all += 1;
            cheap += usize::from(line.obstacle.is_none());
        });
        format!("{:.1} %", 100.0 * cheap as f64 / f64::from(all.max(1)))
    };
    let shares: Vec<String> = columns.iter().map(|lines| share(&mut lines.iter())).collect();
    println!("| cheap | {} | {} |", shares.join(" | "), share(&mut columns.iter().flatten()));
}
