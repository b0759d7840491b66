//! Pictures of what was measured, from lines that are parted by tabs.

use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
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
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut y = 20.0;
    for kind in kinds {
        let _ = writeln!(out, "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">CPU µs for one call, {kind}</text>");
        y += 10.0;
        for bar in &bars[kind] {
            draw(&mut out, bar, y, (WIDTH - LEFT - 150.0) / highest);
            y += BAR + 6.0;
        }
        y += BAR + 6.0;
    }
    out + "</svg>\n"
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

/// Calls that were answered against those that were offered, a line for each edge: edge, offered, answered.
pub fn curve(results: &str) -> String {
    const HEIGHT: f64 = 420.0;
    const BOTTOM: f64 = 370.0;
    const LEFT: f64 = 70.0;
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for line in results.lines() {
        let [edge, offered, answered] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        let (Ok(offered), Ok(answered)) = (offered.parse(), answered.parse()) else { continue };
        match lines.iter_mut().find(|(known, _)| *known == edge) {
            Some((_, points)) => points.push((offered, answered)),
            None => lines.push((edge, vec![(offered, answered)])),
        }
    }
    let most = lines.iter().flat_map(|(_, points)| points).fold(1.0_f64, |most, (offered, _)| most.max(*offered));
    let scale = (WIDTH - LEFT - 30.0) / most;
    let up = (BOTTOM - 30.0) / most;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <path d=\"M{LEFT} 20V{BOTTOM}H{:.0}\" fill=\"none\" stroke=\"black\"/>\n\
         <path d=\"M{LEFT} {BOTTOM}L{:.1} {:.1}\" stroke=\"#ccc\" stroke-dasharray=\"4\"/>\n\
         <text x=\"{LEFT}\" y=\"{:.0}\">calls offered a second, to {most:.0}; upwards: calls answered</text>\n",
        WIDTH - 20.0,
        LEFT + most * scale,
        BOTTOM - most * up,
        BOTTOM + 30.0
    );
    for (number, (edge, points)) in lines.iter().enumerate() {
        let colour = if edge.starts_with("Cordboard") { "#2a6f97" } else { "#8a949c" };
        let at =
            |(offered, answered): &(f64, f64)| format!("{:.1},{:.1}", LEFT + offered * scale, BOTTOM - answered * up);
        let path: Vec<String> = points.iter().map(at).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{edge}</text>",
            path.join(" "),
            LEFT + 20.0,
            40 + number * 18
        );
    }
    out + "</svg>\n"
}
