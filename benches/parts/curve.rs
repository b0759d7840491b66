//! What is answered, and how long those who are up wait, against what is offered: a picture from lines that are parted by tabs.

use std::fmt::Write;

use crate::plot::{WIDTH, page};

const LEFT: f64 = 80.0;
const RIGHT: f64 = WIDTH - 30.0;
/// Where the upper part and the lower one begin and end.
const UPPER: (f64, f64) = (30.0, 330.0);
const LOWER: (f64, f64) = (390.0, 570.0);
const HEIGHT: f64 = 620.0;
/// Milliseconds at the lower part's bottom and top, which are so many powers of ten apart.
const LEAST: f64 = 0.1;
const TENS: f64 = 5.0;

/// One edge under one load.
#[derive(Clone, Copy)]
struct Point {
    offered: f64,
    answered: f64,
    wait_millis: f64,
}

/// A line for each edge, from: edge, calls offered a second, calls answered, microseconds from a BYE to its 200.
pub fn curve(results: &str) -> String {
    let mut edges: Vec<(&str, Vec<Point>)> = Vec::new();
    for line in results.lines() {
        let Some((edge, point)) = point(line) else { continue };
        match edges.iter_mut().find(|(known, _)| *known == edge) {
            Some((_, points)) => points.push(point),
            None => edges.push((edge, vec![point])),
        }
    }
    edges.iter_mut().for_each(|(_, points)| points.sort_by(|a, b| a.offered.total_cmp(&b.offered)));
    let most = edges.iter().flat_map(|(_, points)| points).fold(1.0_f64, |most, point| most.max(point.offered));
    let most = 4.0 * round_step(most / 4.0);
    let mut out = frame(most);
    for (number, (edge, points)) in edges.iter().enumerate() {
        let colour = ["#2a6f97", "#8a949c", "#b5651d"][number % 3];
        let x = |point: &Point| LEFT + point.offered / most * (RIGHT - LEFT);
        let answered = |point: &Point| UPPER.1 - point.answered / most * (UPPER.1 - UPPER.0);
        let tens = |point: &Point| (point.wait_millis / LEAST).log10().clamp(0.0, TENS);
        let wait = |point: &Point| LOWER.1 - tens(point) / TENS * (LOWER.1 - LOWER.0);
        let path = |y: &dyn Fn(&Point) -> f64| {
            let at: Vec<String> = points.iter().map(|point| format!("{:.1},{:.1}", x(point), y(point))).collect();
            format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", at.join(" "))
        };
        let name_at = UPPER.0 + 14.0 + number as f64 * 18.0;
        let _ = writeln!(
            out,
            "{}{}<text x=\"{}\" y=\"{name_at}\" fill=\"{colour}\">{edge}</text>",
            path(&answered),
            path(&wait),
            LEFT + 12.0
        );
    }
    out + "</svg>\n"
}

fn point(line: &str) -> Option<(&str, Point)> {
    let (edge, numbers) = line.split_once('\t')?;
    let numbers: Vec<f64> = numbers.split('\t').filter_map(|number| number.parse().ok()).collect();
    let [offered, answered, wait] = numbers[..] else { return None };
    Some((edge, Point { offered, answered, wait_millis: wait / 1e3 }))
}

/// The least round number that is not less.
fn round_step(least: f64) -> f64 {
    let ten = 10f64.powf(least.log10().floor());
    let step = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5].into_iter().find(|step| step * ten >= least);
    step.unwrap_or(10.0) * ten
}

/// Both parts with their scales, and what would be if all were answered.
fn frame(most: f64) -> String {
    let mut out = page(HEIGHT);
    let _ = write!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.0}\">calls answered a second, by calls offered</text>\n\
         <text x=\"{LEFT}\" y=\"{:.0}\">of calls that are up: from a BYE to its 200, 99th percentile, ms</text>\n\
         <path d=\"M{LEFT} {:.0}L{RIGHT} {:.0}\" stroke=\"#ccc\" stroke-dasharray=\"4\"/>\n",
        UPPER.0 - 12.0,
        LOWER.0 - 12.0,
        UPPER.1,
        UPPER.0
    );
    for (top, bottom) in [UPPER, LOWER] {
        let _ = writeln!(out, "<path d=\"M{LEFT} {top}V{bottom}H{RIGHT}\" fill=\"none\" stroke=\"black\"/>");
    }
    let mut label = |x: f64, y: f64, anchor: &str, text: f64| {
        let _ = writeln!(out, "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{text}</text>");
    };
    for quarter in 0..=4 {
        let (part, value) = (f64::from(quarter) / 4.0, (most * f64::from(quarter) / 4.0).round());
        label(LEFT - 6.0, UPPER.1 - part * (UPPER.1 - UPPER.0) + 4.0, "end", value);
        label(LEFT + part * (RIGHT - LEFT), UPPER.1 + 18.0, "middle", value);
        label(LEFT + part * (RIGHT - LEFT), LOWER.1 + 18.0, "middle", value);
    }
    for tens in 0..=TENS as i32 {
        let y = LOWER.1 - f64::from(tens) / TENS * (LOWER.1 - LOWER.0) + 4.0;
        label(LEFT - 6.0, y, "end", (LEAST * 10f64.powi(tens) * 10.0).round() / 10.0);
    }
    out
}
