//! Plots as inline SVG. Colours come from the page's style sheet ([`STYLE`](crate::STYLE)) by class, so that one drawing
//! serves light, dark and paper; every series `s0` … `s7` also has its own dash, so that colour is not needed to tell
//! them apart. Points that are not finite are left out; text is escaped.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// A drawing area with its scales: data in, pixels out.
#[derive(Clone, Debug)]
pub struct Frame {
    head: String,
    body: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    /// A frame 760 pixels wide and `height` high over the ranges `x` and `y` (low, high), with the title and description
    /// that a screen reader says. A range without extent is widened by a half on each side; one that runs down turns its
    /// axis around.
    #[must_use]
    pub fn new(title: &str, description: &str, height: f64, x: (f64, f64), y: (f64, f64)) -> Self {
        let head = format!("<title>{}</title><desc>{}</desc>\n", escaped(title), escaped(description));
        let (x, y) = (widened(x), widened(y));
        Self { head, body: String::new(), width: WIDTH, height, left: LEFT, right: RIGHT, bottom: BOTTOM, x, y }
    }

    /// Another width, pixels. To be set before anything is drawn, as the next two.
    #[must_use]
    pub fn width(self, width: f64) -> Self {
        Self { width, ..self }
    }

    /// Room left and right of the plot for tick labels, pixels.
    #[must_use]
    pub fn margins(self, left: f64, right: f64) -> Self {
        Self { left, right, ..self }
    }

    /// Room below the plot for tick labels and the axis title, pixels.
    #[must_use]
    pub fn bottom(self, bottom: f64) -> Self {
        Self { bottom, ..self }
    }

    /// The range of the x axis, low and high.
    #[must_use]
    pub fn x_range(&self) -> (f64, f64) {
        self.x
    }

    /// The range of the y axis, low and high.
    #[must_use]
    pub fn y_range(&self) -> (f64, f64) {
        self.y
    }

    /// The pixel of an x value.
    #[must_use]
    pub fn at_x(&self, value: f64) -> f64 {
        self.left + (value - self.x.0) / (self.x.1 - self.x.0) * (self.width - self.left - self.right)
    }

    /// The pixel of a y value.
    #[must_use]
    pub fn at_y(&self, value: f64) -> f64 {
        let bottom = self.height - self.bottom;
        bottom - (value - self.y.0) / (self.y.1 - self.y.0) * (bottom - TOP)
    }

    /// Markup of the caller's, whose text is escaped already.
    pub fn put(&mut self, markup: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.body.write_fmt(markup).ok();
        self.body.push('\n');
    }

    /// A grid line and its label on the x axis.
    pub fn x_tick(&mut self, value: f64, label: &str) {
        let (x, bottom) = (self.at_x(value), self.height - self.bottom);
        self.put(format_args!("<line class=\"grid\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>"));
        self.text((x, bottom + 18.0), "middle", "tick", label);
    }

    /// A grid line and its label on the y axis.
    pub fn y_tick(&mut self, value: f64, label: &str) {
        let (x, y, end) = (self.left, self.at_y(value), self.width - self.right);
        self.put(format_args!("<line class=\"grid\" x1=\"{x}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{y:.1}\"/>"));
        self.text((x - 7.0, y + 4.0), "end", "tick", label);
    }

    /// Linear ticks with round labels on the x axis, about five.
    pub fn x_ticks(&mut self) {
        for (value, label) in linear_ticks(self.x) {
            self.x_tick(value, &label);
        }
    }

    /// Linear ticks with round labels on the y axis, about five.
    pub fn y_ticks(&mut self) {
        for (value, label) in linear_ticks(self.y) {
            self.y_tick(value, &label);
        }
    }

    /// What the x axis shows, below it.
    pub fn x_title(&mut self, text: &str) {
        let at = ((self.left + self.width - self.right) / 2.0, self.height - 5.0);
        self.text(at, "middle", "axis", text);
    }

    /// What the y axis shows, upright beside it.
    pub fn y_title(&mut self, text: &str) {
        let (y, text) = ((TOP + self.height - self.bottom) / 2.0, escaped(text));
        self.put(format_args!(
            "<text class=\"axis\" x=\"14\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {y:.1})\">{text}</text>"
        ));
    }

    /// Text at a pixel; `anchor` is `start`, `middle` or `end`.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
        let text = escaped(text);
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    /// A line through the points.
    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let path = self.path(points.iter().copied());
        self.put(format_args!("<polyline class=\"line {class}\" points=\"{path}\"/>"));
    }

    /// The area between the points and the value `base`.
    pub fn area(&mut self, class: &str, points: &[(f64, f64)], base: f64) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
        let ends = [(first.0, base), (last.0, base)];
        let path = self.path(ends.iter().take(1).chain(points).chain(ends.iter().skip(1)).copied());
        self.put(format_args!("<polygon class=\"area {class}\" points=\"{path}\"/>"));
    }

    /// The area between a low and a high value at each x, such as a confidence band.
    pub fn band(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let there = points.iter().map(|(x, low, _)| (*x, *low));
        let back = points.iter().rev().map(|(x, _, high)| (*x, *high));
        let path = self.path(there.chain(back));
        self.put(format_args!("<polygon class=\"area {class}\" points=\"{path}\"/>"));
    }

    /// A dot of `radius` pixels at each point.
    pub fn dots(&mut self, class: &str, points: &[(f64, f64)], radius: f64) {
        for (x, y) in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let (x, y) = (self.at_x(*x), self.at_y(*y));
            self.put(format_args!("<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"));
        }
    }

    /// A filled rectangle between two corners in data units, at least one pixel wide and half a pixel high, with a hint.
    pub fn rect(&mut self, class: &str, from: (f64, f64), to: (f64, f64), hint: &str) {
        if ![from.0, from.1, to.0, to.1].iter().all(|value| value.is_finite()) {
            return;
        }
        let (left, right) = (self.at_x(from.0), self.at_x(to.0));
        let (top, bottom) = (self.at_y(from.1), self.at_y(to.1));
        let (x, y) = (left.min(right), top.min(bottom));
        let (width, height) = ((right - left).abs().max(1.0), (bottom - top).abs().max(0.5));
        let hint = escaped(hint);
        self.put(format_args!(
            "<rect class=\"bar {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">\
             <title>{hint}</title></rect>"
        ));
    }

    /// The picture as an `svg` element.
    #[must_use]
    pub fn finish(self) -> String {
        let Self { head, body, width, height, .. } = self;
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">{head}{body}</svg>"
        )
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points.filter(|(x, y)| x.is_finite() && y.is_finite()) {
            write!(path, "{:.1},{:.1} ", self.at_x(x), self.at_y(y)).ok();
        }
        path.truncate(path.trim_end().len());
        path
    }
}

/// A range that can be divided by.
fn widened((low, high): (f64, f64)) -> (f64, f64) {
    if (high - low).abs() > 1e-12 { (low, high) } else { (low - 0.5, low + 0.5) }
}

/// Text that is safe inside an element and inside a quoted attribute.
#[must_use]
pub fn escaped(text: &str) -> String {
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

/// A figure on an axis, in short: `1.25 M`, `-0.5`; six decimals at most.
#[must_use]
pub fn axis_label(value: f64) -> String {
    for (unit, name) in [(1e9, " G"), (1e6, " M"), (1e3, " k")] {
        if value.abs() >= unit {
            return format!("{}{name}", (value / unit * 100.0).round() / 100.0);
        }
    }
    format!("{}", (value * 1e6).round() / 1e6)
}

/// Steps between ticks: 1, 2 or 5 times a power of ten, about five to the range.
fn step(low: f64, high: f64) -> f64 {
    let rough = ((high - low) / 5.0).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let unit = [1.0, 2.0, 5.0].into_iter().find(|unit| unit * power >= rough).unwrap_or(10.0);
    unit * power
}

/// The round values of a range with their labels.
fn linear_ticks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let step = step(low, high);
    let first = (low / step).ceil() * step;
    let values = (0..12_u32).map(|index| first + step * f64::from(index));
    let round = |value: f64| if value.abs() < step * 1e-6 { 0.0 } else { value };
    values.take_while(|value| *value <= high + step * 1e-6).map(|value| (value, axis_label(round(value)))).collect()
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
        let labels: Vec<_> = linear_ticks((-0.3, 0.5)).into_iter().map(|tick| tick.1).collect();
        assert_eq!(labels, ["-0.2", "0", "0.2", "0.4"]);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let mut frame = Frame::new("<t>", "d", 100.0, (0.0, 1.0), (0.0, 0.0));
        frame.line("s0", &[(0.0, 0.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (1.0, 0.25)]);
        frame.band("s0", &[(0.0, 0.0, f64::NAN), (1.0, 0.1, 0.2)]);
        frame.dots("s0", &[(f64::NAN, 0.0)], 2.0);
        frame.rect("s0", (0.0, 0.0), (f64::NAN, 1.0), "hint");
        let svg = frame.finish();
        assert!(svg.contains("&lt;t&gt;") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!svg.contains("<circle") && !svg.contains("<rect"), "{svg}");
        assert!(svg.contains("points=\"72.0,33.0 724.0,22.5\""), "{svg}");
    }

    #[test]
    fn an_axis_may_run_down() {
        let mut frame = Frame::new("t", "d", 146.0, (0.0, 1.0), (2.0, 0.0));
        frame.rect("s0", (0.0, 0.0), (1.0, 1.0), "first row");
        let svg = frame.finish();
        assert!(svg.contains("y=\"12.0\" width=\"652.0\" height=\"44.0\""), "{svg}");
    }
}
