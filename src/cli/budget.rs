//! The options that bound what the probes cost.

use clap::Args;

use super::page;
use crate::plan::Plan;
use crate::probe::{Budget, Dropped};

/// How much of the time the probes may take.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cost")]
pub struct BudgetArgs {
    /// Time of the watched threads that probes may take: percent, or `off` for any amount
    ///
    /// It is estimated from the calls of each function and what a probe costs. Where it was more over a second, the functions that cost most
    /// lose their probes within 50 ms, and the report lists them: until then it has all of their calls. 100 is the same as `off`.
    #[arg(long, value_name = "PCT", default_value = "10", value_parser = parse_share)]
    max_overhead: Share,
    /// Whether a function that was too hot is probed again when it has cooled down
    #[arg(long, value_enum, default_value_t = ProbeHot::Retry, value_name = "WHEN")]
    probe_hot: ProbeHot,
}

/// Whether functions that were dropped are taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ProbeHot {
    /// It is not: what is in its history is the time before.
    Never,
    /// After a second, and after twice as long each time that it is still too hot.
    Retry,
}

/// A part of the time; `None` for any amount.
type Share = Option<f64>;

impl BudgetArgs {
    /// The budget, if there is one.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        let retry = self.probe_hot == ProbeHot::Retry;
        self.max_overhead.map(|share| Budget { share, retry })
    }
}

fn parse_share(text: &str) -> Result<Share, String> {
    if text == "off" {
        return Ok(None);
    }
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(0.0) => Err("with 0 nothing could be watched: expected a percentage, or `off` for no limit".to_owned()),
        Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(Some(percent / 100.0)),
        Ok(100.0) => Ok(None),
        _ => Err(format!("expected a percentage or `off`, found `{text}`")),
    }
}

/// Says that a function was dropped or taken back.
pub fn tell(change: &Dropped, plan: &Plan) {
    let name = &plan.functions[change.function].name;
    let what = if change.only_returns { "the returns of " } else { "" };
    match change.back_ns {
        None => page::note(format_args!(
            "not watching {what}`{name}` any more: {} calls a second cost too much (--max-overhead)",
            change.per_second
        )),
        Some(_) => page::note(format_args!("watching {what}`{name}` again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a limit that is another one than was meant.
    #[test]
    fn a_share_is_a_percentage_or_off() {
        let shares = ["10", "0.5", "99%", "100", "off"].map(parse_share);
        assert_eq!(shares, [Ok(Some(0.1)), Ok(Some(0.005)), Ok(Some(0.99)), Ok(None), Ok(None)]);

        let refused = ["0", "-1", "101", "NaN", "ten", ""].map(|text| parse_share(text).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"), @r"
        with 0 nothing could be watched: expected a percentage, or `off` for no limit
        expected a percentage or `off`, found `-1`
        expected a percentage or `off`, found `101`
        expected a percentage or `off`, found `NaN`
        expected a percentage or `off`, found `ten`
        expected a percentage or `off`, found ``
        ");
    }
}
