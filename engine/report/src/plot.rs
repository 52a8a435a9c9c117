//! Plots as inline SVG. Colours come from the page's style sheet by class, so that one drawing serves light, dark and
//! paper; every series also has its own dash, so that colour is not needed to tell them apart.

use std::fmt::Write;

use peregrine_types::Notional;

use crate::{
    EquityPoint, LatencyRow, ThroughputPoint,
    format::{count, nanos, short_count, time_of_day},
    latency::precise,
};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 72.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// More stages than this have no colour and dash of their own.
const SERIES_COUNT_MAX: usize = 8;

/// A drawing area with its scales.
struct Frame {
    svg: String,
    height: f64,
    right: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    /// A frame over the ranges `x` and `y`, with the title and description that a screen reader says.
    fn new(title: &str, description: &str, height: f64, x: (f64, f64), y: (f64, f64)) -> Self {
        let (title, description) = (escaped(title), escaped(description));
        let svg = format!(
            "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\
             <title>{title}</title><desc>{description}</desc>\n"
        );
        Self { svg, height, right: 36.0, x: widened(x), y: widened(y) }
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0) * (WIDTH - LEFT - self.right)
    }

    fn at_y(&self, value: f64) -> f64 {
        let bottom = self.height - BOTTOM;
        bottom - (value - self.y.0) / (self.y.1 - self.y.0) * (bottom - TOP)
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.svg.write_fmt(text).ok();
        self.svg.push('\n');
    }

    fn x_tick(&mut self, value: f64, label: &str) {
        let (x, bottom) = (self.at_x(value), self.height - BOTTOM);
        self.put(format_args!("<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"));
        let (y, label) = (bottom + 18.0, escaped(label));
        self.put(format_args!("<text class=\"tick\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{label}</text>"));
    }

    fn y_tick(&mut self, value: f64, label: &str) {
        let (y, end) = (self.at_y(value), WIDTH - self.right);
        self.put(format_args!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{y:.1}\"/>"));
        let (x, y, label) = (LEFT - 7.0, y + 4.0, escaped(label));
        self.put(format_args!("<text class=\"tick\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>"));
    }

    fn x_title(&mut self, text: &str) {
        let (x, y, text) = ((LEFT + WIDTH - self.right) / 2.0, self.height - 5.0, escaped(text));
        self.put(format_args!("<text class=\"axis\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>"));
    }

    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (x, y) in points {
            write!(path, "{:.1},{:.1} ", self.at_x(*x), self.at_y(*y)).ok();
        }
        let path = path.trim_end();
        self.put(format_args!("<polyline class=\"line {class}\" points=\"{path}\"/>"));
    }

    fn area(&mut self, class: &str, points: &[(f64, f64)], base: f64) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let base = self.at_y(base);
        let mut path = format!("{:.1},{base:.1} ", self.at_x(first.0));
        for (x, y) in points {
            write!(path, "{:.1},{:.1} ", self.at_x(*x), self.at_y(*y)).ok();
        }
        write!(path, "{:.1},{base:.1}", self.at_x(last.0)).ok();
        self.put(format_args!("<polygon class=\"area {class}\" points=\"{path}\"/>"));
    }

    fn finish(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// A range that can be divided by.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if high - low > 1e-12 { (low, high) } else { (low - 0.5, low + 0.5) }
}

/// Text that is safe inside an element and inside a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

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

/// Steps between ticks: 1, 2 or 5 times a power of ten, about five to the range.
fn step(low: f64, high: f64) -> f64 {
    let rough = ((high - low) / 5.0).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let unit = [1.0, 2.0, 5.0].into_iter().find(|unit| unit * power >= rough).unwrap_or(10.0);
    unit * power
}

/// A figure on an axis, in short.
fn axis_label(value: f64) -> String {
    for (unit, name) in [(1e9, " G"), (1e6, " M"), (1e3, " k")] {
        if value.abs() >= unit {
            return format!("{}{name}", (value / unit * 100.0).round() / 100.0);
        }
    }
    format!("{}", (value * 1e6).round() / 1e6)
}

/// Linear ticks on the y axis.
fn linear_ticks(frame: &mut Frame) {
    let (low, high) = frame.y;
    let step = step(low, high);
    let first = (low / step).ceil() * step;
    for index in 0..12_u32 {
        let value = first + step * f64::from(index);
        if value > high + step * 1e-6 {
            break;
        }
        frame.y_tick(value, &axis_label(if value.abs() < step * 1e-6 { 0.0 } else { value }));
    }
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
    linear_ticks(&mut frame);
    for part in 0..=4_i64 {
        let at = last.time.since(first.time).0 / 4 * part;
        let moment = first.time.plus(peregrine_types::Nanos(at));
        let text = time_of_day(moment);
        frame.x_tick(frame.x.1 / 4.0 * precise(part.unsigned_abs()), text.get(..8).unwrap_or(&text));
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
    linear_ticks(&mut frame);
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
    fn ticks_are_round_and_cover_the_range() {
        assert!((step(0.0, 100.0) - 20.0).abs() < 1e-9);
        assert!((step(-0.3, 0.5) - 0.2).abs() < 1e-9);
        assert_eq!(axis_label(1_250_000.0), "1.25 M");
        assert_eq!(axis_label(-0.5), "-0.5");
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
