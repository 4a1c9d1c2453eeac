//! A bar chart as SVG. It is small enough that a plotting library would be more code to read.

use std::fmt::Write;

const WIDTH: f64 = 820.0;
const LABELS: f64 = 250.0;
const BAR: f64 = 380.0;
const ROW: f64 = 28.0;
const TOP: f64 = 58.0;

/// A bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// The text before the bar.
    pub(crate) label: String,
    /// The length.
    pub(crate) value: f64,
    /// The text after the bar.
    pub(crate) text: String,
    /// Whether the bar is one of ours; the others are drawn in grey.
    pub(crate) is_ours: bool,
}

/// Draws horizontal bars from zero. A value below zero has no bar.
pub(crate) fn bars(title: &str, subtitle: &str, bars: &[Bar]) -> String {
    let max = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let height = TOP + ROW * bars.len() as f64 + 10.0;
    // Colors that are legible on a light and on a dark page.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"14\" \
         fill=\"#768390\" role=\"img\" aria-label=\"{0}\">\n\
         <text x=\"0\" y=\"18\" font-size=\"16\" font-weight=\"bold\">{0}</text>\n\
         <text x=\"0\" y=\"40\" font-size=\"12\">{1}</text>\n",
        escape(title),
        escape(subtitle),
    );
    for (index, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let length = if max > 0.0 { (bar.value / max * BAR).max(0.0) } else { 0.0 };
        let color = if bar.is_ours { "#2f81f7" } else { "#8c959f" };
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"18\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LABELS - 10.0,
            y + 14.0,
            escape(&bar.label),
            y,
            LABELS + length + 8.0,
            y + 14.0,
            escape(&bar.text),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::{Bar, bars};

    fn bar(label: &str, value: f64) -> Bar {
        Bar { label: label.to_owned(), value, text: format!("{value} µs"), is_ours: false }
    }

    #[test]
    fn lengths_are_in_proportion_and_never_negative() {
        let svg = bars("t", "s", &[bar("a", 10.0), bar("b", 5.0), bar("c", -1.0)]);
        let widths: Vec<&str> =
            svg.split("<rect ").skip(1).filter_map(|rect| rect.split("width=\"").nth(1)?.split('"').next()).collect();
        assert_eq!(widths, ["380.0", "190.0", "0.0"]);
    }

    #[test]
    fn text_is_escaped() {
        let svg = bars("a < b & \"c\"", "s", &[bar("<script>", 1.0)]);
        assert!(svg.contains("a &lt; b &amp; &quot;c&quot;"));
        assert!(!svg.contains("<script>"));
    }
}
