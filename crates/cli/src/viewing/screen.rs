//! The full screen of `logboom top`: drawn once a second, and only what has changed crosses the line.
//!
//! Always holds: the terminal is given back as it was, also on a panic, on SIGTERM and on Ctrl-C.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};

use super::picture::{DESTINATIONS, Picture, REQUESTS, WORKERS};

const DRAW_EVERY: Duration = Duration::from_secs(1);
/// A signal is noticed this fast.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws what `look` gives, once a second, until `q`, Escape, Ctrl-C or SIGTERM.
///
/// # Errors
/// The terminal cannot be used.
pub(crate) fn run(mut look: impl FnMut() -> Picture) -> io::Result<()> {
    let stop = crate::terminal::interrupted()?;
    let mut terminal = ratatui::try_init()?;
    let shown = (|| {
        let mut picture = look();
        loop {
            terminal.draw(|frame| draw(frame, &picture))?;
            let next = Instant::now() + DRAW_EVERY;
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if !event::poll(left.min(LOOK_EVERY))? {
                    continue;
                }
                match event::read()? {
                    event if is_end(&event) => return Ok(()),
                    Event::Resize(..) => break,
                    _ => {}
                }
            }
            picture = look();
        }
    })();
    ratatui::try_restore()?;
    shown
}

fn is_end(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Workers get what they need up to half of the screen, then destinations if there are any, requests, and rules.
fn draw(frame: &mut Frame<'_>, picture: &Picture) {
    let lines = |rows: usize| (rows.max(1) + 3) as u16;
    let height = frame.area().height;
    let workers = lines(picture.workers.len()).min(height / 2);
    let rules = lines(picture.rules.len()).min(height / 4);
    let destinations = match picture.destinations.len() {
        0 => 0,
        rows => lines(rows).min(height / 4),
    };
    let [title, first, shipped, second, third, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(workers),
        Constraint::Length(destinations),
        Constraint::Min(4),
        Constraint::Length(rules),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(picture.title.as_str()).style(BOLD), title);
    table(frame, first, "Workers", &WORKERS, &picture.workers);
    if destinations > 0 {
        let rows = &picture.destinations;
        table(frame, shipped, "Destinations", &DESTINATIONS, rows);
    }
    table(
        frame,
        second,
        "Requests in flight",
        &REQUESTS,
        &picture.requests,
    );
    let mut text = vec![Line::styled("Rules", BOLD)];
    match picture.rules.is_empty() {
        true => text.push(Line::from("none")),
        false => text.extend(picture.rules.iter().map(|rule| Line::from(rule.as_str()))),
    }
    frame.render_widget(Paragraph::new(text), third);
    frame.render_widget(Paragraph::new("q ends"), foot);
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    heading: &str,
    columns: &[(&'static str, u16); 6],
    rows: &[[String; 6]],
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let room = usize::from(body.height.saturating_sub(2));
    let more = match rows.len().saturating_sub(room) {
        0 => String::new(),
        number => format!(" ({number} more than fit)"),
    };
    let heading = format!("{heading}{more}");
    frame.render_widget(Paragraph::new(heading).style(BOLD), head);
    if rows.is_empty() {
        frame.render_widget(Paragraph::new("none"), body);
        return;
    }
    let widths = columns.map(|(_, width)| Constraint::Min(width));
    let shown = rows
        .iter()
        .take(room)
        .map(|row| Row::new(row.iter().map(String::as_str)));
    let names = Row::new(columns.map(|(name, _)| name)).style(BOLD);
    frame.render_widget(Table::new(shown, widths).header(names), body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// From one second to the next only the cells that changed are sent, and a small window shows what fits.
    #[test]
    fn a_small_window_shows_what_fits_and_says_what_does_not() {
        let row = |pid: usize| std::array::from_fn(|column| format!("{pid}-{column}"));
        let picture = Picture {
            title: "/var/log/shop: 30 workers".into(),
            workers: (0..30).map(row).collect(),
            destinations: vec![row(77)],
            requests: Vec::new(),
            rules: vec!["3  debug and above of shop.db".into()],
        };
        let mut terminal = Terminal::new(TestBackend::new(100, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &picture)).unwrap();
        let text = terminal.backend().to_string();
        for part in [
            "30 workers",
            "0-5",
            "more than fit",
            "Destinations",
            "77-5",
            "Requests in flight",
            "none",
            "debug and above",
            "q ends",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let mut tiny = Terminal::new(TestBackend::new(3, 2)).unwrap();
        tiny.draw(|frame| draw(frame, &picture)).unwrap();
    }
}
