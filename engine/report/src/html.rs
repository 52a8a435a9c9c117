//! The report as one HTML page that needs nothing else: `report.html`.

use minijinja::{Environment, Value, context, value::Serde};

use crate::{
    LatencyRow, RunReport, SymbolRow,
    format::{bytes, count, money, nanos, percent, short_count, signed, utc},
    plot, run_plot,
    terminal::{books_text, gaps_text, span_text},
};

const TEMPLATE: &str = include_str!("templates/report.html");

/// The style sheet of every page of the project: light, dark and paper, the classes that [`plot`](crate::plot) draws
/// with, cards, tables, tags. Fetches nothing.
pub const STYLE: &str = include_str!("templates/style.css");

/// The report as one self-contained page: style, plots and text inline, nothing fetched, no script. Text from outside
/// (paths, symbols, names) is escaped wherever it stands.
#[must_use]
pub fn to_html(report: &RunReport) -> String {
    render(report).unwrap_or_else(|error| {
        let text = plot::escaped(&format!("{error:#}"));
        format!("<!doctype html><html lang=\"en\"><title>Peregrine</title><p>The page could not be made: {text}</p></html>\n")
    })
}

fn render(report: &RunReport) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_filter("count", |value: u64| count(value));
    environment.add_filter("bytes", |value: u64| bytes(value));
    environment.add_filter("nanos", |value: u64| nanos(value));
    environment.add_template("report.html", TEMPLATE)?;
    environment.get_template("report.html")?.render(context! {
        report => Serde(report),
        style => STYLE,
        version => env!("CARGO_PKG_VERSION"),
        started => utc(report.started_utc),
        cards => cards(report),
        plots => plots(report),
        stages => report.latencies.iter().map(stage).collect::<Vec<_>>(),
        messages => messages(report),
        span => report.feed.first_exch_time.zip(report.feed.last_exch_time).map(span_text),
        gaps => gaps_text(report),
        books => books_text(report),
        pacing => report.throughput.pacing.text(),
        denied_count => report.risk.denied_count(),
        fill_share => percent(report.orders.filled_qty, report.orders.submitted_qty),
        money => money_texts(report),
        symbols => report.pnl.symbols.iter().map(symbol).collect::<Vec<_>>(),
        paper => report.paper.as_ref().map(|paper| Serde(paper.parts())),
        groups => groups(report),
    })
}

/// The figures that a reader looks for first.
fn cards(report: &RunReport) -> Vec<Value> {
    let slowest = report.latencies.iter().find(|row| row.name.contains("event_to_order") && row.count > 0);
    let order = slowest.map_or_else(
        || ("–".to_owned(), "not measured".to_owned()),
        |row| (nanos(row.p99_ns), format!("p50 {}, p99.9 {}", nanos(row.p50_ns), nanos(row.p999_ns))),
    );
    let (speed, orders) = (&report.throughput, &report.orders);
    let card = |name: &str, value: String, note: String| context! { name, value, note };
    vec![
        card(
            "Speed",
            format!("{} events/s", short_count(speed.events_per_second)),
            format!("{} events in {}", count(speed.event_count), nanos(speed.span_ns)),
        ),
        card("Event to order, p99", order.0, order.1),
        card(
            "Orders",
            count(orders.submitted_count),
            format!("{} filled, {} denied by risk", count(orders.filled_count), count(report.risk.denied_count())),
        ),
        card(
            "Net result",
            format!("{} {}", money(report.pnl.net), report.pnl.currency),
            format!("gross {}, fees {}", money(report.pnl.gross), money(report.pnl.fees)),
        ),
        card(
            "Gaps lost",
            count(report.feed.gaps.lost_count),
            format!("{} malformed messages", count(report.feed.malformed_count)),
        ),
        card(
            "Books",
            format!("{} symbols", count(report.book.symbol_count)),
            format!("{} quarantined", report.book.quarantined_symbols.len()),
        ),
    ]
}

fn safe(svg: Option<String>) -> Option<Value> {
    svg.map(Value::from_safe_string)
}

fn plots(report: &RunReport) -> Value {
    let curve = &report.pnl.curve;
    let legend = run_plot::legend(&report.latencies);
    let histograms = legend.iter().filter_map(|(class, name)| {
        let row = report.latencies.iter().find(|row| row.name == *name && row.count > 0)?;
        let svg = safe(run_plot::histogram(row, class))?;
        Some(context! { name, measures => &row.measures, svg })
    });
    context! {
        percentiles => safe(run_plot::percentiles(&report.latencies)),
        histograms => histograms.collect::<Vec<_>>(),
        legend => legend.iter().map(|(class, name)| context! { class, name }).collect::<Vec<_>>(),
        equity => safe(run_plot::over_time("Profit after fees over time", curve, "s0", |point| point.equity)),
        exposure => safe(run_plot::over_time("Gross exposure over time", curve, "s1", |point| point.gross_exposure)),
        throughput => safe(run_plot::throughput(&report.throughput.series)),
    }
}

fn stage(row: &LatencyRow) -> Value {
    let clamped = if row.clamped_count == 0 { String::new() } else { format!("{} clamped", count(row.clamped_count)) };
    let joint = if row.note.is_empty() { "" } else { "; " };
    let measures = format!("{}{joint}{}", row.measures, row.note);
    context! { name => &row.name, measures, count => count(row.count), spans => row.spans().to_vec(), clamped }
}

fn messages(report: &RunReport) -> Vec<Value> {
    let most = report.feed.messages.iter().map(|row| row.count).max().unwrap_or(0);
    let rows = report.feed.messages.iter().map(|row| {
        let width = format!("{:.1}", crate::format::ratio(row.count, most) * 100.0);
        let share = percent(row.count, report.feed.message_count);
        context! { code => &row.code, name => &row.name, count => count(row.count), share, width }
    });
    rows.collect()
}

fn money_texts(report: &RunReport) -> Value {
    let pnl = &report.pnl;
    context! {
        gross => money(pnl.gross), fees => money(pnl.fees), net => money(pnl.net), turnover => money(pnl.turnover),
        exposure => money(pnl.gross_exposure_max),
    }
}

fn symbol(row: &SymbolRow) -> Value {
    let counts = [row.order_count, row.fill_count, row.bought_qty, row.sold_qty];
    let mark = row.mark_price.map_or_else(|| "–".to_owned(), |price| format!("{price:.2}"));
    let values = [signed(row.position), mark, money(row.turnover), money(row.gross), money(row.fees), money(row.net)];
    let cells: Vec<_> = counts.map(count).into_iter().chain(values).collect();
    context! { symbol => &row.symbol, cells, is_loss => row.net.0 < 0 }
}

/// The facts, gathered by group in order of first appearance.
fn groups(report: &RunReport) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for fact in &report.facts {
        if !names.contains(&fact.group.as_str()) {
            names.push(&fact.group);
        }
    }
    let of = |name: &str| report.facts.iter().filter(|fact| fact.group == name).cloned().collect::<Vec<_>>();
    names.into_iter().map(|name| context! { name, facts => Serde(of(name)) }).collect()
}
