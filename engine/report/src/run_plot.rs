//! The plots of a run: latency by percentile and its histograms, profit and exposure, throughput.

use peregrine_types::Notional;

use crate::{
    EquityPoint, LatencyRow, ThroughputPoint,
    format::{count, nanos, short_count, time_of_day},
    latency::precise,
    plot::{Frame, axis_label},
};

/// More stages than this have no colour and dash of their own.
const SERIES_COUNT_MAX: usize = 8;

/// Where a quantile lies: each further nine takes the same room.
fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

fn log10(value_ns: u64) -> f64 {
    precise(value_ns.max(1)).log10()
}

/// Whole decades around all values.
fn decades(values: impl Iterator<Item = u64> + Clone) -> (f64, f64) {
    let low = values.clone().map(log10).fold(f64::INFINITY, f64::min);
    let high = values.map(log10).fold(f64::NEG_INFINITY, f64::max);
    if low > high { (0.0, 1.0) } else { (low.floor(), high.ceil().max(low.floor() + 1.0)) }
}

/// The whole decades of a range, as exponents with their labels.
fn decade_ticks((low, high): (f64, f64)) -> impl Iterator<Item = (f64, String)> {
    (0..20_u32).filter(move |exponent| (low..=high).contains(&f64::from(*exponent))).map(|exponent| {
        let label = nanos(10_u64.saturating_pow(exponent));
        (f64::from(exponent), label.replace(".00", "").replace("0.0 ", "0 "))
    })
}

/// Class and name of each stage that the percentile plot shows.
pub(crate) fn legend(rows: &[LatencyRow]) -> Vec<(String, String)> {
    let shown = rows.iter().filter(|row| row.count > 0).take(SERIES_COUNT_MAX);
    shown.enumerate().map(|(index, row)| (format!("s{index}"), row.name.clone())).collect()
}

/// Latency over percentiles, both axes logarithmic; `None` when nothing was measured.
pub(crate) fn percentiles(rows: &[LatencyRow]) -> Option<String> {
    let rows: Vec<_> = rows.iter().filter(|row| row.count > 0).take(SERIES_COUNT_MAX).collect();
    let points = rows.iter().flat_map(|row| row.percentiles.iter().map(|point| point.value_ns));
    points.clone().next()?;
    let y = decades(points);
    let description = rows.iter().fold(String::from("Median and 99th percentile:"), |text, row| {
        format!("{text} {} {} and {};", row.name, nanos(row.p50_ns), nanos(row.p99_ns))
    });
    let mut frame = Frame::new("Latency by percentile", &description, 340.0, (nines(0.5), 4.0), y);
    for (exponent, label) in decade_ticks(y) {
        frame.y_tick(exponent, &label);
    }
    for (quantile, label) in [(0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"), (0.9999, "99.99")] {
        frame.x_tick(nines(quantile), label);
    }
    frame.x_title("percentile");
    for (index, row) in rows.iter().enumerate() {
        let points: Vec<_> =
            row.percentiles.iter().map(|point| (nines(point.quantile), log10(point.value_ns))).collect();
        frame.line(&format!("s{index}"), &points);
    }
    Some(frame.finish())
}

/// How one stage's latencies are spread, nanoseconds on a logarithmic axis; `None` when nothing was measured.
pub(crate) fn histogram(row: &LatencyRow, class: &str) -> Option<String> {
    let most = row.buckets.iter().map(|bucket| bucket.count).max()?;
    let x = decades(row.buckets.iter().map(|bucket| bucket.up_to_ns));
    let x = (x.0.min(log10(row.min_ns) - 0.1).max(0.0), x.1);
    let title = format!("Latency histogram of {}", row.name);
    let description = format!("{} values from {} to {}", count(row.count), nanos(row.min_ns), nanos(row.max_ns));
    let mut frame = Frame::new(&title, &description, 250.0, x, (0.0, precise(most)));
    for (exponent, label) in decade_ticks(x) {
        frame.x_tick(exponent, &label);
    }
    for part in [0, 1, 2] {
        let value = most / 2 * part;
        frame.y_tick(precise(value), &short_count(value));
    }
    for bucket in &row.buckets {
        let end = log10(bucket.up_to_ns);
        let (left, right) = (frame.at_x((end - 0.1).max(x.0)), frame.at_x(end));
        let (top, bottom) = (frame.at_y(precise(bucket.count)), frame.at_y(0.0));
        let (width, height) = ((right - left - 1.0).max(1.0), (bottom - top).max(0.5));
        let hint = format!("up to {}: {}", nanos(bucket.up_to_ns), count(bucket.count));
        frame.put(format_args!(
            "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{hint}</title></rect>"
        ));
    }
    frame.x_title("latency");
    Some(frame.finish())
}

/// Money as a float, for pixels alone.
#[expect(clippy::cast_precision_loss, reason = "a pixel needs no more than 53 bits")]
fn pixels(value: Notional) -> f64 {
    value.0 as f64 / 1e9
}

/// One value over the time of the input; `None` for fewer than two points.
pub(crate) fn over_time(
    title: &str,
    curve: &[EquityPoint],
    class: &str,
    value: impl Fn(&EquityPoint) -> Notional,
) -> Option<String> {
    let (first, last) = (curve.first()?, curve.last()?);
    if curve.len() < 2 {
        return None;
    }
    let seconds = |point: &EquityPoint| precise(u64::try_from(point.time.since(first.time).0).unwrap_or(0)) / 1e9;
    let points: Vec<_> = curve.iter().map(|point| (seconds(point), pixels(value(point)))).collect();
    let low = points.iter().map(|(_, y)| *y).fold(0.0, f64::min);
    let high = points.iter().map(|(_, y)| *y).fold(0.0, f64::max);
    let ends = (crate::format::money(value(first)), crate::format::money(value(last)));
    let description =
        format!("From {} to {} between {} and {} UTC", ends.0, ends.1, time_of_day(first.time), time_of_day(last.time));
    let mut frame = Frame::new(title, &description, 220.0, (0.0, seconds(last)), (low, high));
    frame.y_ticks();
    for part in 0..=4_i64 {
        let at = last.time.since(first.time).0 / 4 * part;
        let moment = first.time.plus(peregrine_types::Nanos(at));
        let text = time_of_day(moment);
        frame.x_tick(frame.x_range().1 / 4.0 * precise(part.unsigned_abs()), text.get(..8).unwrap_or(&text));
    }
    frame.x_title("time of the input, UTC");
    frame.area(class, &points, 0.0);
    frame.line(class, &points);
    Some(frame.finish())
}

/// Events per second over the time of the run; `None` for fewer than two intervals.
pub(crate) fn throughput(series: &[ThroughputPoint]) -> Option<String> {
    if series.len() < 2 {
        return None;
    }
    let points: Vec<_> =
        series.iter().map(|point| (precise(point.at_ns) / 1e9, precise(point.events_per_second()))).collect();
    let end = points.last()?.0;
    let high = points.iter().map(|(_, y)| *y).fold(1.0, f64::max);
    let least = points.iter().map(|(_, y)| *y).fold(f64::INFINITY, f64::min);
    let description = format!("Between {} and {} events per second", axis_label(least), axis_label(high));
    let mut frame = Frame::new("Throughput over time", &description, 220.0, (0.0, end), (0.0, high));
    frame.y_ticks();
    for part in 0..=4_u32 {
        let at = end / 4.0 * f64::from(part);
        frame.x_tick(at, &format!("{at:.1} s"));
    }
    frame.x_title("time since the start of the run");
    frame.area("s0", &points, 0.0);
    frame.line("s0", &points);
    Some(frame.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decades_have_names() {
        assert_eq!(
            decade_ticks((0.0, 4.0)).map(|tick| tick.1).collect::<Vec<_>>(),
            ["1 ns", "10 ns", "100 ns", "1 µs", "10 µs"]
        );
    }

    #[test]
    fn nothing_measured_gives_no_plot() {
        assert_eq!(percentiles(&[LatencyRow::default()]), None);
        assert_eq!(histogram(&LatencyRow::default(), "s0"), None);
        assert_eq!(throughput(&[]), None);
        assert_eq!(over_time("x", &[], "s0", |point| point.equity), None);
    }

    #[test]
    fn flat_and_extreme_curves_have_finite_pixels() {
        let point = |time, money| EquityPoint {
            time: peregrine_types::EpochNanos(time),
            equity: Notional(money),
            gross_exposure: Notional(0),
        };
        for curve in [[point(5, 0), point(5, 0)], [point(i64::MIN, i128::MIN), point(i64::MAX, i128::MAX)]] {
            let svg = over_time("x", &curve, "s0", |point| point.equity).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
