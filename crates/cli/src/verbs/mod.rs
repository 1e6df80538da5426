//! The verbs of the command line. A new verb is one new file here and one line in the list below.
//!
//! Each verb's file has a struct `Args` (clap derive, with help, examples and exit codes) and a function
//! `run(args) -> Result<Ending, Failure>`. It holds no logic that another crate or module could test.

use crate::exit::{Ending, Failure};

macro_rules! verbs {
    ($($module:ident => $Verb:ident,)+) => {
        $(pub mod $module;)+

        /// One verb with its arguments.
        #[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, parsed once")]
        pub enum Verb {
            $(#[allow(missing_docs, reason = "each verb is documented by its Args")] $Verb($module::Args),)+
        }

        impl Verb {
            /// Does what the verb says.
            ///
            /// # Errors
            /// What kept the verb from doing its work, as text for a person.
            pub fn run(self) -> Result<Ending, Failure> {
                match self {
                    $(Self::$Verb(args) => $module::run(args),)+
                }
            }
        }
    };
}

verbs! {
    check => Check,
    status => Status,
    rotate => Rotate,
    verify => Verify,
    recover => Recover,
    blackbox => Blackbox,
    debug => Debug,
    level => Level,
    tail => Tail,
    rewind => Rewind,
    top => Top,
    relay => Relay,
    ship => Ship,
    pipe => Pipe,
    doctor => Doctor,
    torture => Torture,
}
