//! A picture of what calls cost, from lines that are parted by tabs.

use std::collections::BTreeMap;
use std::fmt::Write;

pub const WIDTH: f64 = 760.0;
const LEFT: f64 = 248.0;
/// Room for the numbers behind a bar.
const NUMBERS: f64 = 170.0;
const BAR: f64 = 20.0;

/// One edge's cost.
struct Bar<'a> {
    edge: &'a str,
    median: f64,
    lowest: f64,
    highest: f64,
}

/// Bars of what a call costs, a group for each kind: kind, edge, median, lowest, highest.
pub fn bars(results: &str) -> String {
    let (mut kinds, mut bars) = (Vec::new(), BTreeMap::<&str, Vec<Bar<'_>>>::new());
    for line in results.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, edge, numbers @ ..] = &fields[..] else { continue };
        let numbers: Vec<f64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
        let [median, lowest, highest] = numbers[..] else { continue };
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
        bars.entry(*kind).or_default().push(Bar { edge, median, lowest, highest });
    }
    let highest = bars.values().flatten().fold(1.0_f64, |most, bar| most.max(bar.highest));
    let rows: usize = bars.values().map(|group| group.len() + 2).sum();
    let height = 20.0 + rows as f64 * (BAR + 6.0);
    let mut out = page(height);
    let mut y = 20.0;
    for kind in kinds {
        let _ = writeln!(out, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">CPU µs for one call, {kind}</text>");
        y += 10.0;
        for bar in &bars[kind] {
            draw(&mut out, bar, y, (WIDTH - LEFT - NUMBERS) / highest);
            y += BAR + 6.0;
        }
        y += BAR + 6.0;
    }
    out + "</svg>\n"
}

/// How every picture begins.
pub fn page(height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    )
}

fn draw(out: &mut String, bar: &Bar<'_>, y: f64, scale: f64) {
    let Bar { edge, median, lowest, highest } = bar;
    let (middle, end) = (y + BAR / 2.0, LEFT + median * scale);
    let colour = if edge.starts_with("Cordboard") { "#2a6f97" } else { "#a9b4bd" };
    let _ = writeln!(
        out,
        "<text x=\"8\" y=\"{:.0}\">{edge}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
         <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"black\"/>\
         <text x=\"{:.1}\" y=\"{:.0}\">{median:.1} ({lowest:.1} to {highest:.1})</text>",
        middle + 5.0,
        median * scale,
        LEFT + lowest * scale,
        LEFT + highest * scale,
        end.max(LEFT + highest * scale) + 8.0,
        middle + 5.0
    );
}
