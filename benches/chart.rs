//! A small line chart as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;

/// What stands beside the line.
pub struct Chart<'a> {
    pub title: &'a str,
    pub axis: &'a str,
}

impl Chart<'_> {
    /// Draws the points from left to right in equal steps, over zero.
    pub fn draw(&self, points: &[(&str, f64)]) -> String {
        let top = points.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(1.0).ceil();
        let step = (WIDTH - LEFT - RIGHT) / (points.len().max(2) - 1) as f64;
        let x = |at: usize| LEFT + step * at as f64;
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" fill=\"#222\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#222\">{}</text>\n",
            self.title,
            WIDTH / 2.0,
            HEIGHT - 8.0,
            self.axis
        );
        for value in [0.0, top / 2.0, top] {
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\" \
                 fill=\"#666\">{value}</text>",
                y(value),
                WIDTH - RIGHT,
                LEFT - 8.0,
                y(value) + 4.0
            );
        }
        let places: Vec<String> =
            points.iter().enumerate().map(|(at, (_, value))| format!("{:.1},{:.1}", x(at), y(*value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1764ab\" stroke-width=\"2\"/>",
            places.join(" ")
        );
        for (at, (label, value)) in points.iter().enumerate() {
            let _ = writeln!(
                svg,
                "<circle cx=\"{0:.1}\" cy=\"{1:.1}\" r=\"3.5\" fill=\"#1764ab\"/><text x=\"{0:.1}\" y=\"{2:.1}\" \
                 text-anchor=\"middle\" fill=\"#222\">{value:.1}</text><text x=\"{0:.1}\" y=\"{3}\" text-anchor=\"middle\" \
                 fill=\"#666\">{label}</text>",
                x(at),
                y(*value),
                y(*value) - 9.0,
                HEIGHT - BOTTOM + 16.0
            );
        }
        svg + "</svg>\n"
    }
}
