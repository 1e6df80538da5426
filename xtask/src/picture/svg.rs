//! Panes of a terminal as a picture: an SVG without scripts, whose rows appear when they were written. Where nothing moves
//! (print, a reader who asks for less motion, a viewer without animation), the end is shown. Characters stand in a grid,
//! whatever the font.

use super::cells::{Cells, Look, Row};
use std::fmt::Write;

const CHAR_WIDTH: f64 = 7.4;
const ROW_HEIGHT: f64 = 17.0;
const FONT_SIZE: f64 = 12.3;
const MARGIN: f64 = 12.0;
const TITLE_HEIGHT: f64 = 26.0;
const GAP: f64 = 8.0;
/// A terminal's eight colours, on the dark ground.
const COLOURS: [&str; 8] = [
    "#6e7681", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#ffffff",
];
const STYLE: &str = "\
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:FONTpx;fill:#c9d1d9}
.title{fill:#8b949e}.bold{font-weight:bold}
.row{animation:appear .01s linear both}@keyframes appear{from{opacity:0}to{opacity:1}}
@media (prefers-reduced-motion:reduce){.row{animation:none}}";

/// A pane of the picture.
pub struct Pane {
    /// What stands above it.
    pub title: &'static str,
    /// What it shows.
    pub cells: Cells,
    /// Its height in rows.
    pub rows: usize,
}

/// The panes below each other; `alt` says in words what is to be seen.
pub fn draw(panes: &[Pane], columns: usize, alt: &str) -> String {
    let width = columns as f64 * CHAR_WIDTH + 2.0 * MARGIN;
    let height_of = |pane: &Pane| TITLE_HEIGHT + pane.rows as f64 * ROW_HEIGHT + 1.5 * MARGIN;
    let height = panes.iter().map(height_of).sum::<f64>() + GAP * (panes.len() as f64 - 1.0);
    let style = STYLE.replace("FONT", &FONT_SIZE.to_string());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} \
         {height:.0}\" role=\"img\">\n<title>{}</title>\n<style>{style}</style>\n",
        escaped(alt)
    );
    let mut top = 0.0;
    for pane in panes {
        let _ = writeln!(
            svg,
            "<rect y=\"{top:.1}\" width=\"{width:.0}\" height=\"{:.1}\" rx=\"6\" fill=\"#0d1117\"/>",
            height_of(pane)
        );
        let _ = writeln!(
            svg,
            "<text class=\"title\" x=\"{MARGIN}\" y=\"{:.1}\">{}</text>",
            top + TITLE_HEIGHT - 8.0,
            escaped(pane.title)
        );
        for (index, row) in pane.cells.rows.iter().enumerate() {
            let y = top + TITLE_HEIGHT + MARGIN / 2.0 + (index as f64 + 0.75) * ROW_HEIGHT;
            push_row(&mut svg, row, y);
        }
        top += height_of(pane) + GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

fn push_row(svg: &mut String, row: &Row, y: f64) {
    if row.text().is_empty() {
        return;
    }
    let _ = write!(
        svg,
        "<g class=\"row\" style=\"animation-delay:{:.2}s\">",
        row.at.as_secs_f64()
    );
    let mut column = 0;
    for run in row.cells.chunk_by(|a, b| a.1 == b.1) {
        push_run(svg, run, column, y);
        column += run.len();
    }
    svg.push_str("</g>\n");
}

fn push_run(svg: &mut String, run: &[(char, Look)], column: usize, y: f64) {
    let text: String = run.iter().map(|cell| cell.0).collect();
    let shown = text.trim_end();
    if shown.trim_start().is_empty() {
        return;
    }
    let look = run[0].1;
    let (x, length) = (
        MARGIN + column as f64 * CHAR_WIDTH,
        shown.chars().count() as f64 * CHAR_WIDTH,
    );
    let fill = look
        .colour
        .map(|colour| format!(" style=\"fill:{}\"", COLOURS[usize::from(colour & 7)]));
    let bold = if look.is_bold { " class=\"bold\"" } else { "" };
    let _ = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\"{bold}{}>{}</text>",
        fill.unwrap_or_default(),
        escaped(shown)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Each run of characters of one look stands at its column, and nothing that was shown can be mark-up.
    #[test]
    fn runs_stand_in_the_grid() {
        let mut cells = Cells::new(40, 4);
        cells.feed(b"ab \x1b[31m<c>\x1b[0m\r\n", Duration::from_millis(1500));
        let pane = Pane {
            title: "one",
            cells,
            rows: 3,
        };
        let svg = draw(&[pane], 40, "a & b");
        assert!(svg.contains("<title>a &amp; b</title>"), "{svg}");
        assert!(svg.contains("animation-delay:1.50s"), "{svg}");
        assert!(
            svg.contains(
                "x=\"12.0\" y=\"44.8\" textLength=\"14.8\" xml:space=\"preserve\">ab</text>"
            ),
            "{svg}"
        );
        assert!(
            svg.contains(
                "x=\"34.2\" y=\"44.8\" textLength=\"22.2\" xml:space=\"preserve\" style=\"fill:#ff7b72\">&lt;c&gt;</text>"
            ),
            "{svg}"
        );
    }
}
