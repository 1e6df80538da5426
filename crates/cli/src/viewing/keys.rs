//! Keys pressed while records run by, without taking the terminal away from Ctrl-C and Ctrl-Z.
//!
//! Always holds: the terminal is as it was when this is dropped, on a panic too. It is only touched from the foreground,
//! since the kernel stops a background process that does.

use std::io::{IsTerminal, stdin, stdout};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// The keyboard, byte by byte and without echo.
pub(crate) struct Keys {
    before: Termios,
}

impl Keys {
    /// None: there is no terminal, or others are in its foreground.
    pub(crate) fn take() -> Option<Keys> {
        if !stdin().is_terminal() || !stdout().is_terminal() || !is_foreground() {
            return None;
        }
        let keys = Keys {
            before: tcgetattr(stdin()).ok()?,
        };
        keys.apply().then_some(keys)
    }

    /// A shell puts its own settings back when it stops us.
    pub(crate) fn refresh(&self) {
        let changed =
            tcgetattr(stdin()).is_ok_and(|now| now.local_modes.contains(LocalModes::ICANON));
        if changed && is_foreground() {
            self.apply();
        }
    }

    fn apply(&self) -> bool {
        let mut wanted = self.before.clone();
        wanted.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        // A read returns at once.
        wanted.special_codes[SpecialCodeIndex::VMIN] = 0;
        wanted.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &wanted).is_ok()
    }

    /// The keys since the last call.
    pub(crate) fn pressed(&self) -> Vec<u8> {
        let mut bytes = [0; 64];
        match is_foreground() {
            true => rustix::io::read(stdin(), &mut bytes)
                .map_or_else(|_| Vec::new(), |len| bytes[..len].to_vec()),
            false => Vec::new(),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if is_foreground() {
            let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
        }
    }
}

fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}
