//! Budgets of functions that cost 1 µs a call, and a clock of its own.

use super::*;

const MS: u64 = 1_000_000;

/// Functions that cost 1 µs a call, and a clock.
struct Program {
    governor: Governor,
    used: Vec<Used>,
    now_ns: u64,
    processors: f64,
}

impl Program {
    fn new(functions: usize, retry: bool) -> Self {
        let weight = Weight { cost_ns: 1_000, entry_ns: 500, exit_ns: 0, turn_ns: 0, is_minor: false };
        Self::with_weights(&vec![weight; functions], retry)
    }

    fn with_weights(weights: &[Weight], retry: bool) -> Self {
        let governor = Governor::new(Budget { share: 0.1, retry }, weights.iter().copied(), 0);
        Self { governor, used: vec![Used::default(); weights.len()], now_ns: 0, processors: 1.0 }
    }

    /// 10 ms in which each function is called so often.
    fn pass(&mut self, calls: &[u64]) -> Verdict {
        self.now_ns += 10 * MS;
        for (used, calls) in self.used.iter_mut().zip(calls) {
            used.hits += calls;
        }
        self.governor.look(self.now_ns, |function| self.used[function], || self.processors)
    }

    /// Passes until something is dropped: when, and what.
    fn pass_until_dropped(&mut self, calls: &[u64], limit_ms: u64) -> Option<(u64, Vec<usize>)> {
        while self.now_ns < limit_ms * MS {
            let dropped: Vec<usize> = self.pass(calls).drop.iter().map(|hot| hot.part).collect();
            if !dropped.is_empty() {
                return Some((self.now_ns / MS, dropped));
            }
        }
        None
    }
}

/// Guards against a budget that lets somebody through, and against one that a burst breaks.
#[test]
fn what_takes_more_than_the_budget_of_a_second_is_dropped() {
    // 80 % of the time: the 100 ms of a second last for 1/0.7 of that.
    assert_eq!(Program::new(2, true).pass_until_dropped(&[8_000, 10], 10_000), Some((150, vec![0])));
    // 11 %, 10 % and 9 %.
    assert_eq!(Program::new(1, true).pass_until_dropped(&[1_100], 60_000), Some((10_010, vec![0])));
    assert_eq!(Program::new(1, true).pass_until_dropped(&[1_000], 60_000), None);
    assert_eq!(Program::new(1, true).pass_until_dropped(&[900], 60_000), None);
    // All of the time for 100 ms, and then nothing for a second.
    let mut program = Program::new(1, true);
    for _ in 0..5 {
        assert_eq!(program.pass_until_dropped(&[10_000], program.now_ns / MS + 100), None);
        assert_eq!(program.pass_until_dropped(&[0], program.now_ns / MS + 1_000), None);
    }
}

/// Guards against a budget of one processor for a program that uses many.
#[test]
fn the_budget_is_one_of_all_processors_that_are_used() {
    let mut program = Program { processors: 4.0, ..Program::new(1, true) };
    assert_eq!(program.pass_until_dropped(&[3_900], 60_000), None);
    let mut program = Program { processors: 4.0, ..Program::new(1, true) };
    assert!(program.pass_until_dropped(&[4_100], 60_000).is_some());
}

/// Guards against dropping what costs little, and against stopping before the rest fits into half of the budget.
#[test]
fn the_most_expensive_ones_go_first() {
    let dropped = Program::new(4, true).pass_until_dropped(&[100, 4_000, 300, 2_000], 10_000);
    assert_eq!(dropped.map(|(_, functions)| functions), Some(vec![1, 3]));
}

/// Guards against a program that nearly stands still for its probes, and calls all others rarely for that, until it is said to be fast again.
#[test]
fn those_that_are_called_more_often_without_the_others_go_at_the_next_look() {
    let mut program = Program::new(2, true);
    let (dropped_ms, dropped) = program.pass_until_dropped(&[100, 9_800], 10_000).expect("it is hot");
    assert_eq!(dropped, [1]);
    assert_eq!(program.pass_until_dropped(&[5_000, 0], 10_000), Some((dropped_ms + 10, vec![0])));
}

/// Guards against a call that counts as much as any other, though it copies a hundred values.
#[test]
fn what_following_pointers_takes_is_charged() {
    let mut program = Program::new(2, true);
    let dropped = (0..100).find_map(|_| {
        program.used[0].extra_ns += 8 * MS;
        let drop = program.pass(&[10, 100]).drop;
        (!drop.is_empty()).then_some(drop)
    });
    assert_eq!(dropped.expect("it is expensive")[0].part, 0);
}

/// Guards against a budget that is kept but for the time in which traps are taken away, and against others that are dropped for that: they need
/// little.
#[test]
fn traps_of_dropped_functions_are_charged_until_they_are_gone() {
    let mut program = Program::new(2, false);
    let (dropped_ms, dropped) = program.pass_until_dropped(&[9_000, 20], 1_000).expect("it is hot");
    assert_eq!((dropped_ms, dropped), (130, vec![0]));
    let before = program.governor.account_ns;
    for _ in 0..5 {
        program.used[0].extra_ns += 5 * MS;
        assert_eq!(program.pass(&[0, 20]), Verdict::default());
    }
    // 1 ms of 10 is earned, and 5.02 ms are spent.
    assert_eq!(((before - program.governor.account_ns) / 1e6 * 100.0).round() / 100.0, 20.1);
}

/// Guards against keeping an accessor in the place of a function that tells something.
#[test]
fn of_two_that_cost_about_the_same_the_minor_one_goes() {
    let major = Weight { cost_ns: 1_000, entry_ns: 500, exit_ns: 0, turn_ns: 0, is_minor: false };
    let minor = Weight { is_minor: true, ..major };
    let first = |weights: [Weight; 2], calls: [u64; 2]| {
        Program::with_weights(&weights, true).pass_until_dropped(&calls, 60_000).map(|(_, functions)| functions[0])
    };
    assert_eq!(first([major, minor], [1_000, 900]), Some(1));
    assert_eq!(first([major, minor], [4_000, 900]), Some(0));
    assert_eq!(first([minor, Weight { cost_ns: 14_000, ..major }], [2_000, 900]), Some(1));
}

/// Guards against a function that is lost for good, and against one that is let in again and again at the price of the budget.
#[test]
fn a_function_comes_back_on_trial_after_longer_and_longer_pauses() {
    let mut program = Program::new(1, true);
    let mut back = Vec::new();
    let mut is_in = true;
    while program.now_ns < 20_000 * MS {
        // As hot as ever whenever it is in.
        let verdict = program.pass(&[if is_in { 9_000 } else { 0 }]);
        is_in = (is_in || !verdict.take_back.is_empty()) && verdict.drop.is_empty();
        back.extend(verdict.take_back.iter().map(|_| program.now_ns / 1_000 / MS));
    }
    assert_eq!(back, [1, 3, 7, 15]);

    let mut program = Program::new(1, false);
    program.pass_until_dropped(&[9_000], 1_000).expect("it is hot");
    assert!((0..10_000).all(|_| program.pass(&[0]) == Verdict::default()));
}

/// Guards against functions that come back together and break the budget together, and against one at a time where there is room for many.
#[test]
fn as_many_come_back_as_can_be_expected_to_fit_in() {
    let mut program = Program::new(13, true);
    // 12 functions of 4 %: with what is known of the program's own part, that is 7 % each.
    let calls = [[400; 12].as_slice(), &[1]].concat();
    program.pass_until_dropped(&calls, 10_000).expect("they are hot");
    let mut back = Vec::new();
    while back.is_empty() {
        back = program.pass(&[0; 13]).take_back;
    }
    assert_eq!(back.len(), 1);

    // 60 of 0.2 %: 12 % of the time, in which all others take 88 %. So each would take 0.227 %, of which 22 fit into 5 %.
    let mut program = Program::new(60, true);
    let (_, dropped) = program.pass_until_dropped(&[20; 60], 20_000).expect("together they are too much");
    let mut back = Vec::new();
    while back.is_empty() {
        back = program.pass(&[0; 60]).take_back;
    }
    assert_eq!((dropped.len(), back.len()), (35, 22));
}

/// Guards against a single call that is a million a second, when something else than the clock has woken us.
#[test]
fn looks_that_follow_each_other_at_once_are_one() {
    let mut program = Program::new(1, true);
    program.pass_until_dropped(&[9_000], 1_000).expect("it is hot");
    while program.pass(&[0]).take_back.is_empty() {}
    for microsecond in 1..1_000 {
        let used = |_| Used { hits: program.used[0].hits + 1, extra_ns: 0 };
        let verdict = program.governor.look(program.now_ns + microsecond, used, || 1.0);
        assert_eq!(verdict, Verdict::default());
    }
    assert_eq!(program.pass(&[1]), Verdict::default());
}

/// Guards against a rate that is that of another time.
#[test]
fn the_rate_is_that_of_the_last_while() {
    let mut program = Program::new(1, true);
    program.pass_until_dropped(&[100], 5_000);
    let mut rate = None;
    while rate.is_none() {
        rate = program.pass(&[5_000]).drop.first().map(|hot| hot.per_second);
    }
    assert!((490_000..=500_000).contains(&rate.expect("a rate")), "{rate:?}");
}
