//! What a person sees: the colours, and the progress bar of long work.
//!
//! Always holds: colour is never the only carrier of a message (anstream strips it where there is no terminal or `NO_COLOR`
//! is set), and the bar is drawn on standard error only when that is a terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Something is wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Something was checked and is right.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something a reader should know.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// A heading.
pub const HEADING: Style = Style::new().bold();

/// A bar over `step_count` steps on standard error; invisible unless that is a terminal.
#[must_use]
pub fn progress(step_count: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(10)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(step_count), target);
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed_precise} {wide_msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A flag that SIGINT and SIGTERM set, for work that has to clean up; a second signal ends the process at once.
///
/// # Errors
/// The signals cannot be caught.
pub fn interrupted() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 3, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}
