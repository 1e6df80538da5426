//! The points at which dying leaves a state with a name, for tests: `LOGBOOM_CRASH_AT=name[:count]` kills this process there,
//! as in `logboom::crash`. `SPOOL.md` says of each what is left and how it is mended.

/// The names of all points, in the order in which a settled record passes them.
pub const POINTS: [&str; 6] = [
    "cursor-created",
    "settled",
    "cursor-written",
    "cursor-synced",
    "segment-deleted",
    "cursor-copied",
];
