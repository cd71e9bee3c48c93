//! The page of a lag benchmark: tables and charts in one file that needs no network.

use std::fmt::Write;

use serde_json::Value;

use super::report::PERCENTILES;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 50.0;
const COLOURS: [&str; 5] = ["#4c78a8", "#72b7b2", "#f58518", "#e45756", "#888888"];
const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em auto;max-width:820px;color:#222}\
    table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}\
    td:nth-child(2),th:nth-child(2){text-align:left}svg{display:block}.missed{color:#c00}h2{margin-top:2em}";

/// One line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// The page for the JSON of a report.
pub fn page(report: &Value) -> String {
    let title = escape(report["title"].as_str().unwrap_or_default());
    let mut page = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Lag of {title}</title><style>{STYLE}</style><h1>Lag</h1><p>{title}</p>"
    );
    for verdict in report["slo"].as_array().into_iter().flatten() {
        let reached = verdict["reached"].as_bool() == Some(true);
        let (class, word) = if reached { ("", "reached") } else { ("missed", "missed") };
        let (goal, found) =
            (verdict["goal"].as_str().unwrap_or_default(), verdict["found"].as_str().unwrap_or_default());
        // Writing to a text does not fail.
        let _ = write!(page, "<p class=\"{class}\">{word}: {} ({})</p>", escape(goal), escape(found));
    }
    page.push_str(&table(report));
    let steps: Vec<&Value> = report["steps"].as_array().into_iter().flatten().collect();
    let targets: Vec<&Value> = steps.first().into_iter().flat_map(|step| list(&step["targets"])).collect();
    for (index, target) in targets.iter().enumerate() {
        let _ = write!(page, "<h2>{}</h2>", escape(&name(target)));
        page.push_str("<p>Latency by rate, ms</p>");
        let by_rate = |percentile: &str| {
            let point = |step: &&Value| {
                Some((step["rate"].as_f64()?, step["targets"][index]["latency_ms"][percentile].as_f64()?))
            };
            steps.iter().filter_map(point).collect()
        };
        page.push_str(&chart(&lines(by_rate), "events/s"));
        for step in &steps {
            let seconds: Vec<&Value> = list(&step["targets"][index]["seconds"]).collect();
            let over_time = |percentile: &str| {
                let point =
                    |(second, value): (usize, &&Value)| Some((second as f64, value[percentile].as_f64()?));
                seconds.iter().enumerate().filter_map(point).collect()
            };
            let _ = write!(page, "<p>Latency over time at {} events/s, ms</p>", step["rate"]);
            page.push_str(&chart(&lines(over_time), "s"));
        }
    }
    page
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(target: &Value) -> String {
    format!(
        "{} {}",
        target["place"].as_str().unwrap_or_default(),
        target["name"].as_str().unwrap_or_default()
    )
}

fn lines(points: impl Fn(&str) -> Vec<(f64, f64)>) -> Vec<Line> {
    PERCENTILES.iter().map(|(name, _)| Line { name: (*name).to_owned(), points: points(name) }).collect()
}

fn table(report: &Value) -> String {
    let mut table = "<table><tr><th>events/s<th>seen in".to_owned();
    PERCENTILES.iter().for_each(|(name, _)| table.push_str(&format!("<th>{name}, ms")));
    table.push_str("<th>lost<th>held</tr>");
    for step in list(&report["steps"]) {
        for target in list(&step["targets"]) {
            let _ = write!(table, "<tr><td>{}<td>{}", step["rate"], escape(&name(target)));
            for (percentile, _) in PERCENTILES {
                let _ =
                    write!(table, "<td>{:.1}", target["latency_ms"][percentile].as_f64().unwrap_or(f64::NAN));
            }
            let held = if step["held"].as_bool() == Some(true) { "yes" } else { "no" };
            let _ = write!(table, "<td>{}<td>{held}</tr>", target["lost"]);
        }
    }
    table.push_str("</table>");
    table
}

/// Lines over one axis from 0 and one of powers of ten.
fn chart(lines: &[Line], unit: &str) -> String {
    let points = || lines.iter().flat_map(|line| &line.points);
    let x_max = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let positive = || points().map(|(_, y)| y.max(0.001).log10());
    let (low, high) = (positive().fold(0.0, f64::min).floor(), positive().fold(1.0, f64::max).ceil());
    let x_of = |x: f64| MARGIN + x / x_max * (WIDTH - 2.0 * MARGIN);
    let y_of =
        |y: f64| HEIGHT - MARGIN / 2.0 - (y.max(0.001).log10() - low) / (high - low) * (HEIGHT - MARGIN);
    let mut svg = format!("<svg width=\"{WIDTH}\" height=\"{HEIGHT}\" font-size=\"11\">");
    let (mut power, right) = (low, WIDTH - MARGIN);
    while power <= high {
        let (value, y) = (10_f64.powf(power), y_of(10_f64.powf(power)));
        let _ =
            write!(svg, "<line x1=\"{MARGIN}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>");
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
            MARGIN - 6.0,
            y + 4.0
        );
        power += 1.0;
    }
    let bottom = HEIGHT - 6.0;
    let _ = write!(svg, "<text x=\"{MARGIN}\" y=\"{bottom}\">0</text>");
    let _ = write!(svg, "<text x=\"{right}\" y=\"{bottom}\" text-anchor=\"end\">{x_max} {unit}</text>");
    for (number, (line, colour)) in lines.iter().zip(COLOURS).enumerate() {
        let path: Vec<_> =
            line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y))).collect();
        let _ = write!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", path.join(" "));
        for point in &path {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = write!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"2\" fill=\"{colour}\"/>");
        }
        let y = 14.0 * (number as f64 + 1.0);
        let _ = write!(svg, "<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{}</text>", right + 6.0, line.name);
    }
    svg.push_str("</svg>");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_holds_all_of_it_and_needs_nothing_else() {
        let second = json!({ "p50": 1.0, "p90": 2.0, "p99": 30.0, "p99.9": 40.0, "max": 41.0 });
        let target = json!({
            "name": "latest<1>", "place": "Kafka", "lost": 0, "latency_ms": second, "seconds": [second, second],
        });
        let page = page(&json!({
            "title": "a & b",
            "steps": [{ "rate": 100, "held": true, "targets": [target] }],
            "slo": [{ "goal": "lag_p99<5s", "reached": false, "found": "6s" }],
        }));
        for expected in ["a &amp; b", "Kafka latest&lt;1&gt;", "lag_p99&lt;5s", "<td>30.0", "polyline"] {
            assert!(page.contains(expected), "{expected} in {page}");
        }
        assert_eq!(page.matches("<svg").count(), 2);
        for forbidden in ["http", "src=", "NaN", "inf"] {
            assert!(!page.contains(forbidden), "{forbidden} in {page}");
        }
    }
}
