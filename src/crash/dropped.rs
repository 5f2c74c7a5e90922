//! Functions that lost their probes in, because they were called too often; what that means for the calls that were recorded out.

use std::borrow::Cow;

use lastwords_abi::Record;
use lastwords_abi::record::{LEFT_BY_TAIL_CALL, RETURNED};

use super::RawCall;
use crate::plan::Plan;
use crate::probe::Dropped;
use crate::report::{self, ReturnState};

/// What became of a call whose function was not watched any more.
const CALL_MISSED: (ReturnState, &str) = (
    ReturnState::Unknown,
    "its function was called too often and lost its probes (probes.dropped): it may have returned since",
);
/// What became of a call whose return was not watched any more.
const RETURN_MISSED: (ReturnState, &str) =
    (ReturnState::Unseen, "the returns of its function cost too much and lost their probes (probes.dropped)");

/// Whether the call may have returned without being seen: what it is then, and why.
#[must_use]
pub fn missed_return(record: &Record, dropped: &[Dropped]) -> Option<(ReturnState, &'static str)> {
    if record.flags & (RETURNED | LEFT_BY_TAIL_CALL) != 0 {
        return None;
    }
    let of_call = |it: &&Dropped| it.function == record.function as usize;
    let missed = dropped.iter().filter(of_call).filter(|it| it.may_have_missed_return(record.entered_ns));
    missed.map(|it| it.only_returns).min().map(|only_returns| if only_returns { RETURN_MISSED } else { CALL_MISSED })
}

/// The calls that a frame can belong to. One whose return may have been missed could have been followed by others at the same place, which
/// were not recorded: no frame is told to be its.
#[must_use]
pub fn with_known_end<'a>(calls: &'a [RawCall], dropped: &[Dropped]) -> Cow<'a, [RawCall]> {
    if dropped.is_empty() {
        return calls.into();
    }
    calls.iter().filter(|call| missed_return(&call.record, dropped) != Some(CALL_MISSED)).cloned().collect()
}

/// The functions as a report lists them, in the order in which they were dropped first.
#[must_use]
pub fn listed(dropped: &[Dropped], plan: &Plan, started_ns: u64) -> Vec<report::DroppedFunction> {
    let mut dropped: Vec<&Dropped> = dropped.iter().collect();
    dropped.sort_by_key(|it| it.at_ns);
    let listed = dropped.into_iter().filter_map(|it| {
        let function = plan.functions.get(it.function)?;
        Some(report::DroppedFunction {
            function: function.name.clone(),
            symbol: function.symbol.clone(),
            only_returns: it.only_returns,
            at_ns: it.at_ns.saturating_sub(started_ns),
            hits: it.hits,
            per_second: it.per_second,
            times: it.times,
            back_ns: it.back_ns.map(|back_ns| back_ns.saturating_sub(started_ns)),
        })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crash::tests::function;

    const DROPPED: Dropped = Dropped {
        function: 0,
        only_returns: false,
        at_ns: 5_000,
        hits: 70,
        per_second: 900,
        times: 2,
        last_ns: 7_000,
        back_ns: None,
    };

    fn call(function: u32, entered_ns: u64, flags: u32) -> RawCall {
        RawCall { record: Record { function, entered_ns, flags, ..Record::default() }, data: Vec::new() }
    }

    /// Guards against a call that looks as if it still ran, and against a frame with the arguments of an earlier call.
    #[test]
    fn the_end_of_a_call_before_the_drop_is_not_known() {
        let is_missed = |function, entered_ns, flags| {
            missed_return(&call(function, entered_ns, flags).record, &[DROPPED]).is_some()
        };
        assert!(is_missed(0, 6_999, 0));
        assert!(!is_missed(0, 6_999, RETURNED) && !is_missed(0, 6_999, LEFT_BY_TAIL_CALL) && !is_missed(1, 6_999, 0));
        // It was taken back since.
        assert!(!is_missed(0, 1_000_000_000, 0));

        let calls = [call(0, 6_000, 0), call(1, 6_100, 0)];
        assert_eq!(with_known_end(&calls, &[DROPPED]).len(), 1);
        assert_eq!(with_known_end(&calls, &[]).len(), 2);
    }

    /// Guards against a call that looks as if it still ran though nobody watches its return, and against a frame without its call: no call is missing.
    #[test]
    fn calls_without_watched_returns_are_all_there() {
        let only_returns = Dropped { only_returns: true, ..DROPPED };
        let missed = |entered_ns, dropped: &[Dropped]| missed_return(&call(0, entered_ns, 0).record, dropped);
        assert_eq!(missed(1_000_000_000, &[only_returns]), Some(RETURN_MISSED));
        assert_eq!(missed(6_000, &[only_returns, DROPPED]), Some(CALL_MISSED));
        let back = Dropped { back_ns: Some(9_000), ..only_returns };
        assert_eq!((missed(8_000, &[back]), missed(9_001, &[back])), (Some(RETURN_MISSED), None));

        assert_eq!(with_known_end(&[call(0, 6_000, 0)], &[only_returns]).len(), 1);
    }

    /// Guards against times of another clock, and against an order that is that of the plan.
    #[test]
    fn functions_are_listed_as_they_were_dropped() {
        let plan = Plan { functions: vec![function("a"), function("b")], ..Plan::default() };
        let second = Dropped { function: 1, at_ns: 4_000, back_ns: Some(9_000), ..DROPPED };

        let listed = listed(&[DROPPED, second], &plan, 3_000);

        let told = |it: &report::DroppedFunction| {
            (it.function.clone(), it.at_ns, it.hits, it.per_second, it.times, it.back_ns)
        };
        assert_eq!(told(&listed[0]), ("b".into(), 1_000, 70, 900, 2, Some(6_000)));
        assert_eq!(told(&listed[1]), ("a".into(), 2_000, 70, 900, 2, None));
    }
}
