//! The `logboom` command. Everything it does is in the library beside it, so that it can be tested.

use std::process::ExitCode;

fn main() -> ExitCode {
    logboom_cli::main()
}
