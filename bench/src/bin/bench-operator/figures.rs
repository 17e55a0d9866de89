//! From what was measured to the figures that are reported. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use bench::report::{Figure, Goal};

use crate::Flags;
use crate::control_plane::Counts;
use crate::phases::{Creator, Measured};

/// Everything that the operator asks for but its lease and the renewals of its watches.
const NOT_RENEWALS: [&str; 5] = ["get", "list", "status", "event", "write"];

/// The figures, in the order of the table.
pub fn of(flags: &Flags, creator: &Creator, measured: &Measured) -> Vec<Figure> {
    let (pools, children) = (count(flags.pools), count(creator.children));
    let seconds = |name: &str, time: Duration| Figure::new(name, "s", time.as_secs_f64());
    let floor = |figure: Figure, time: Duration| figure.against(time.as_secs_f64());
    let cold = &measured.cold_requests;
    let writes_most = children + 3.0;
    // The last status waits for controllers that are held to 20 requests per second each, with the operator and with the
    // creator alike: so it is also compared with the creator's wait for them. The goal stays on the plain comparison.
    let median = measured.edit_one.get(measured.edit_one.len() / 2).copied().unwrap_or_default();
    let worst = measured.edit_one.last().copied().unwrap_or_default();
    vec![
        floor(
            seconds(&format!("{pools} pools, cold, until every status is current"), measured.current),
            creator.cold.time,
        )
        .to_reach(Goal::RatioAtMost(1.5)),
        floor(seconds("the same until the last status changed", measured.cold.time), creator.cold.time)
            .to_reach(Goal::RatioAtMost(1.5)),
        floor(
            seconds("the last status changed, against the controllers after the creator", measured.cold.time),
            creator.cold_controllers,
        ),
        floor(seconds("the controllers were done", measured.cold_controllers), creator.cold_controllers),
        Figure::new("API server CPU until the last status changed", "s", measured.cold.cpu).against(creator.cold.cpu),
        Figure::new("operator CPU until the last status changed", "s", measured.operator_cpu),
        Figure::new("GETs per pool, cold", "", cold.by_operator(&["get"]) / pools)
            .to_reach(Goal::ValueAtMost(children)),
        Figure::new("LISTs, cold", "", cold.by_operator(&["list"])).to_reach(Goal::ValueAtMost(0.0)),
        Figure::new("writes per pool, cold", "", cold.operator_writes() / pools)
            .against(children)
            .to_reach(Goal::ValueAtMost(writes_most)),
        Figure::new("of those, of its status", "", cold.by_operator(&["status"]) / pools),
        Figure::new("of those, Events", "", cold.by_operator(&["event"]) / pools),
        Figure::new("restart when converged: writes", "", measured.restart_requests.operator_writes())
            .to_reach(Goal::ValueAtMost(0.0)),
        Figure::new("restart when converged: GETs", "", measured.restart_requests.by_operator(&["get"])),
        floor(seconds("restart until every pool was looked at", measured.restart.time), creator.again.time),
        Figure::new("API server CPU of a restart", "s", measured.restart.cpu).against(creator.again.cpu),
        Figure::new(
            format!(
                "requests in {} idle, without renewals of lease and watches",
                humantime::format_duration(flags.idle)
            ),
            "",
            measured.idle_requests.by_operator(&NOT_RENEWALS),
        )
        .to_reach(Goal::ValueAtMost(0.0)),
        Figure::new("operator memory (RSS) when settled", "MB", measured.memory.now).to_reach(Goal::ValueAtMost(40.0)),
        Figure::new("operator memory (RSS) after idling", "MB", measured.idle_memory.now)
            .to_reach(Goal::ValueAtMost(40.0)),
        Figure::new("operator memory (RSS) after a restart", "MB", measured.restart_memory.now)
            .to_reach(Goal::ValueAtMost(40.0)),
        Figure::new("operator memory (RSS) after all edits", "MB", measured.last_memory.now)
            .to_reach(Goal::ValueAtMost(40.0)),
        Figure::new("operator memory, most while pools were made", "MB", measured.memory.most),
        Figure::new("operator memory, most in a restart", "MB", measured.restart_memory.most),
        Figure::new("one field of one pool edited until its child is written, median", "ms", milliseconds(median))
            .to_reach(Goal::ValueAtMost(200.0)),
        Figure::new(format!("the same, worst of {}", measured.edit_one.len()), "ms", milliseconds(worst)),
        floor(
            seconds("one field of all pools edited until the last status changed", measured.edit_all.time),
            measured.edit_floor.time,
        )
        .to_reach(Goal::RatioAtMost(1.5)),
        floor(
            seconds("the same against the changed children alone", measured.edit_all.time),
            measured.edit_children.time,
        ),
        Figure::new("API server CPU of that edit", "s", measured.edit_all.cpu).against(measured.edit_floor.cpu),
        Figure::new("writes per pool of that edit", "", measured.edit_all_requests.operator_writes() / pools)
            .against(2.0),
        Figure::new("GETs of that edit", "", measured.edit_all_requests.by_operator(&["get"])),
        seconds(&format!("floor: {children} children per pool made by {} workers", flags.workers), creator.cold.time),
        Figure::new("floor: API server CPU of that", "s", creator.cold.cpu),
        seconds("floor: applied again unchanged", creator.again.time),
        Figure::new("floor: API server CPU of that", "s", creator.again.cpu),
    ]
}

/// Every request that was counted, for the reader of a figure that is too high.
pub fn requests(measured: &Measured) -> String {
    let parts = [
        (format!("cold ({} changes of a status)", measured.status_changes), &measured.cold_requests),
        ("idle".to_owned(), &measured.idle_requests),
        ("restart".to_owned(), &measured.restart_requests),
        ("one field edited on all".to_owned(), &measured.edit_all_requests),
    ];
    let mut text = String::new();
    for (title, Counts { requests, operator, cpu }) in parts {
        // Writing to a String can not fail.
        let _ = writeln!(text, "== {title}: {cpu:.1} s of API server CPU\n-- by the operator, by class");
        operator.iter().for_each(|(class, number)| {
            let _ = writeln!(text, "{number:>8} {class}");
        });
        text.push_str("-- by everybody\n");
        requests.iter().for_each(|(request, number)| {
            let _ = writeln!(text, "{number:>8} {request}");
        });
    }
    text
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[allow(clippy::cast_precision_loss)] // Thousands, not 2^52.
fn count(number: usize) -> f64 {
    number as f64
}
