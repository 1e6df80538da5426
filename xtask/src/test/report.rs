//! What a step found: how many tests passed, failed and were skipped, why, and its output. Here are also the readers
//! of the summaries that the test runners print.

use std::fmt;

/// The outcome of one step, or of all.
#[derive(Debug, Default, PartialEq)]
pub struct Report {
    /// Tests that passed; a check counts as one.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// The reason of each skipped test.
    pub skipped: Vec<String>,
    /// What the step's programs printed.
    pub output: String,
}

impl Report {
    /// One check that passed or failed.
    pub fn check(ok: bool, output: String) -> Report {
        Report {
            passed: usize::from(ok),
            failed: usize::from(!ok),
            skipped: Vec::new(),
            output,
        }
    }

    /// One failure.
    pub fn failure(output: String) -> Report {
        Report::check(false, output)
    }

    /// One skipped check.
    pub fn skip(reason: &str) -> Report {
        Report {
            skipped: vec![reason.to_owned()],
            ..Report::default()
        }
    }

    /// A runner's report: its counts, unless its exit code says more. A runner that ran nothing has failed.
    pub fn of_runner(ok: bool, counts: Counts, skipped: Vec<String>, output: String) -> Report {
        let Counts {
            passed,
            mut failed,
            skipped: skipped_count,
        } = counts;
        let mut output = output;
        if failed == 0 && !ok {
            failed = 1;
            output.push_str("\nthe runner failed without naming a failing test\n");
        } else if passed + failed + skipped_count == 0 {
            failed = 1;
            output.push_str("\nno test ran\n");
        }
        let mut reasons = skipped;
        reasons.resize(
            reasons.len().max(skipped_count),
            "no reason given".to_owned(),
        );
        Report {
            passed,
            failed,
            skipped: reasons,
            output,
        }
    }

    /// Adds another step's counts and output.
    pub fn add(&mut self, other: &Report) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped.extend(other.skipped.iter().cloned());
        self.output.push_str(&other.output);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            self.skipped.len()
        )
    }
}

/// What a runner's summary says.
#[derive(Debug, Default, PartialEq, Clone, Copy)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed, or ended by an error.
    pub failed: usize,
    /// Skipped, ignored, or expected to fail.
    pub skipped: usize,
}

impl Counts {
    /// Reads `3 passed, 1 failed; 2 skipped`: a number and a word, again and again.
    pub fn read(text: &str) -> Counts {
        let mut counts = Counts::default();
        let words: Vec<&str> = text.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].trim_start_matches('(').parse::<usize>() else {
                continue;
            };
            match pair[1].trim_matches([',', ';', '.', ':', '(', ')']) {
                "passed" | "xpassed" => counts.passed += number,
                "failed" | "error" | "errors" | "timed" => counts.failed += number,
                "skipped" | "ignored" | "xfailed" => counts.skipped += number,
                _ => (),
            }
        }
        counts
    }

    /// The sum over the lines of `output` that contain `sign`.
    pub fn of_lines(output: &str, sign: &str) -> Counts {
        let lines = output
            .lines()
            .filter(|line| line.contains(sign))
            .map(Counts::read);
        lines.fold(Counts::default(), |a, b| Counts {
            passed: a.passed + b.passed,
            failed: a.failed + b.failed,
            skipped: a.skipped + b.skipped,
        })
    }

    /// The last line that counts anything.
    pub fn of_last_line(output: &str) -> Counts {
        let lines = output.lines().rev().map(Counts::read);
        lines
            .into_iter()
            .find(|counts| *counts != Counts::default())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The summary of each runner is read as it stands in that runner's output.
    #[test]
    fn summaries() {
        let counts = |passed, failed, skipped| Counts {
            passed,
            failed,
            skipped,
        };
        let cases = [
            (
                "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; ...",
                counts(5, 2, 1),
            ),
            (
                "Summary [   0.5s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 3 skipped",
                counts(9, 3, 3),
            ),
            (
                "== 3 failed, 40 passed, 2 skipped, 1 xfailed, 2 errors in 3.21s ==",
                counts(40, 5, 3),
            ),
            ("118 passed, 0 failed, 4 skipped", counts(118, 0, 4)),
            ("nothing here", counts(0, 0, 0)),
        ];
        for (line, expected) in cases {
            assert_eq!(Counts::read(line), expected, "{line}");
        }
    }

    /// A runner that ran nothing, or that failed without a failing test, is a failure.
    #[test]
    fn silence_is_no_success() {
        assert_eq!(
            Report::of_runner(true, Counts::default(), vec![], String::new()).failed,
            1
        );
        let passed = Counts {
            passed: 3,
            ..Counts::default()
        };
        assert_eq!(
            Report::of_runner(false, passed, vec![], String::new()).failed,
            1
        );
        assert_eq!(
            Report::of_runner(true, passed, vec![], String::new()).failed,
            0
        );
    }
}
