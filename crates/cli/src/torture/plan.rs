//! Which cases are run: the short default set, the full run, or the product of what was asked for.

use super::scenario::{Case, Rotation, SCENARIOS, Scenario, Start, Strain, Victim, named};

/// What the command line asks for; `None` = not said.
#[derive(Debug, Default, Clone)]
pub struct Wish {
    /// Scenarios by name; none = a set.
    pub scenarios: Vec<&'static Scenario>,
    /// The full run.
    pub full: bool,
    /// Ways to start; none = what the set says.
    pub starts: Vec<Start>,
    /// Handler made before the fork.
    pub preload: Option<bool>,
    /// Worker processes.
    pub process_count: Option<u32>,
    /// Threads of each.
    pub thread_count: Option<u32>,
    /// Smallest and largest record.
    pub size: Option<(u32, u32)>,
    /// Records of each thread.
    pub record_count: Option<u64>,
    /// Time of a round in milliseconds.
    pub duration_ms: Option<u64>,
    /// Bytes of a round.
    pub budget: Option<u64>,
    /// Kills in each case that kills, or, in the full run, in all of them together.
    pub kills: Option<u32>,
    /// Whom they hit, where the scenario does not say.
    pub victim: Option<Victim>,
}

/// Kills of the full run.
pub const FULL_KILLS: u32 = 10_000;

const MIB: u64 = 1 << 20;
/// (scenario, start, preload) of the default set.
const SHORT: [(&str, Start, bool); 16] = [
    ("plain", Start::Fork, false),
    ("size", Start::Fork, false),
    ("size", Start::Fork, true),
    ("size", Start::Spawn, false),
    ("time", Start::Fork, false),
    ("hand", Start::Fork, false),
    ("hand", Start::Fork, true),
    ("rollover-first", Start::Fork, false),
    ("mv", Start::Fork, false),
    ("logrotate", Start::Fork, false),
    ("kill", Start::Fork, false),
    ("kill", Start::Spawn, false),
    ("kill-holder", Start::Fork, true),
    ("kill-group", Start::Fork, false),
    ("stop", Start::Fork, false),
    ("quota", Start::Fork, false),
];

/// The cases of a wish, in the order in which they are run.
#[must_use]
pub fn cases(wish: &Wish) -> Vec<Case> {
    if wish.full {
        return full(wish);
    }
    if wish.scenarios.is_empty() {
        let by_name = |(name, start, preload)| {
            named(name).map(|scenario| case(scenario, start, preload, wish))
        };
        let wanted = |case: &Case| {
            (wish.starts.is_empty() || wish.starts.contains(&case.start))
                && wish.preload.is_none_or(|preload| preload == case.preload)
        };
        return SHORT
            .into_iter()
            .filter_map(by_name)
            .filter(wanted)
            .collect();
    }
    let mut cases = Vec::new();
    for scenario in &wish.scenarios {
        for &start in if wish.starts.is_empty() {
            &[Start::Fork][..]
        } else {
            &wish.starts
        } {
            cases.push(case(
                scenario,
                start,
                wish.preload == Some(true) && start == Start::Fork,
                wish,
            ));
        }
    }
    cases
}

fn case(scenario: &'static Scenario, start: Start, preload: bool, wish: &Wish) -> Case {
    let kills = match (scenario.kills, wish.kills) {
        (Some((victim, count)), wished) => Some((victim, wished.unwrap_or(count))),
        (None, Some(count)) => Some((wish.victim.unwrap_or(Victim::Worker), count)),
        (None, None) => None,
    };
    let slow = [
        Rotation::Time,
        Rotation::LogrotateCreate,
        Rotation::LogrotateCopy,
    ];
    let long = slow.contains(&scenario.rotation) || scenario.strain != Strain::None;
    Case {
        scenario,
        start,
        preload,
        process_count: wish.process_count.unwrap_or(4),
        thread_count: wish.thread_count.unwrap_or(2),
        size: wish.size.unwrap_or((100, 2000)),
        record_count: wish.record_count.unwrap_or(0),
        duration_ms: wish.duration_ms.unwrap_or(match wish.record_count {
            Some(_) => 300_000,
            None if long => 4000,
            None => 2000,
        }),
        budget: wish.budget.unwrap_or(48 * MIB),
        kills: kills.filter(|(_, count)| *count > 0),
    }
}

/// Every scenario at 1 to 16 processes, forked, forked after preload and spawned, with records of 100 B to 64 kB; then the kills,
/// spread over all ways of rotating.
fn full(wish: &Wish) -> Vec<Case> {
    let starts = [
        (Start::Fork, false),
        (Start::Fork, true),
        (Start::Spawn, false),
    ];
    let starts: Vec<_> = starts
        .into_iter()
        .filter(|(start, _)| wish.starts.is_empty() || wish.starts.contains(start))
        .collect();
    let counts = wish
        .process_count
        .map_or(vec![1, 2, 4, 8, 16], |count| vec![count]);
    let mut cases = Vec::new();
    for &process_count in &counts {
        for &(start, preload) in &starts {
            let wish = Wish {
                process_count: Some(process_count),
                thread_count: wish.thread_count.or(Some(if preload { 1 } else { 3 })),
                size: wish.size.or(Some((100, 65_536))),
                duration_ms: wish.duration_ms.or(Some(5000)),
                budget: wish.budget.or(Some(256 * MIB)),
                kills: None,
                ..wish.clone()
            };
            let asked = |scenario: &&Scenario| {
                wish.scenarios.is_empty() || wish.scenarios.iter().any(|s| s.name == scenario.name)
            };
            cases.extend(
                SCENARIOS
                    .iter()
                    .filter(asked)
                    .map(|scenario| case(scenario, start, preload, &wish)),
            );
            let also_killed =
                |scenario: &&Scenario| ["time", "hand", "mv", "logrotate"].contains(&scenario.name);
            let with_kills = Wish {
                kills: Some(1),
                ..wish.clone()
            };
            let killed = SCENARIOS.iter().filter(asked).filter(also_killed);
            cases.extend(killed.map(|scenario| case(scenario, start, preload, &with_kills)));
        }
    }
    share_kills(&mut cases, wish.kills.unwrap_or(FULL_KILLS));
    cases
}

/// Spreads `total` kills: a case that kills groups, or whose workers start slowly, gets a tenth of the others' share.
fn share_kills(cases: &mut [Case], total: u32) {
    let weight = |case: &Case| match (case.kills, case.start) {
        (None, _) => 0,
        (Some((Victim::Group, _)), _) | (_, Start::Spawn) => 1,
        _ => 10,
    };
    let mut weights: u32 = cases.iter().map(weight).sum();
    let mut left = total;
    for case in cases {
        let weight = weight(case);
        if weight > 0 {
            let share = u32::try_from(u64::from(left) * u64::from(weight) / u64::from(weights))
                .unwrap_or(left);
            case.kills = case
                .kills
                .map(|(victim, _)| (victim, share))
                .filter(|_| share > 0);
            left -= share;
            weights -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The full run is what it says: all the kills, every scenario, 1 to 16 processes, 100 B to 64 kB.
    #[test]
    fn the_full_run_is_full() {
        let cases = cases(&Wish {
            full: true,
            ..Wish::default()
        });
        let kills: u32 = cases
            .iter()
            .filter_map(|case| case.kills)
            .map(|(_, count)| count)
            .sum();
        assert_eq!(kills, FULL_KILLS);
        for scenario in &SCENARIOS {
            for process_count in [1, 2, 4, 8, 16] {
                let there = |case: &&Case| {
                    case.scenario.name == scenario.name && case.process_count == process_count
                };
                assert!(
                    cases.iter().filter(there).count() >= 3,
                    "{} at {process_count}",
                    scenario.name
                );
            }
        }
        assert!(cases.iter().all(|case| case.size == (100, 65_536)));
    }

    #[test]
    fn the_default_set_has_every_judged_scenario() {
        let cases = cases(&Wish::default());
        for scenario in SCENARIOS.iter().filter(|scenario| scenario.judged) {
            assert!(
                cases.iter().any(|case| case.scenario.name == scenario.name),
                "{}",
                scenario.name
            );
        }
        assert_eq!(cases.len(), SHORT.len());
    }

    /// A round that was over before the clock had rotated the log would prove nothing.
    #[test]
    fn the_budget_of_a_round_lasts_until_the_clock_has_rotated() {
        let wish = Wish {
            full: true,
            ..Wish::default()
        };
        let is_by_clock = |case: &&Case| {
            let rotation = case.scenario.rotation;
            rotation != Rotation::Size && rotation != Rotation::Never
        };
        for case in cases(&wish).iter().filter(is_by_clock) {
            let (bytes_per_s, burst) = case.pace().expect("paced");
            let threads = u64::from(case.process_count * case.thread_count);
            let runs = 1 + case.kills.map_or(0, |(_, count)| u64::from(count.min(100)));
            let head_start = burst * runs * u64::from(case.thread_count);
            assert!(
                3 * bytes_per_s * threads / 2 + head_start <= case.budget,
                "{}",
                case.label()
            );
        }
    }

    #[test]
    fn kills_can_be_added_to_any_scenario() {
        let wish = Wish {
            scenarios: vec![&SCENARIOS[0]],
            kills: Some(7),
            starts: vec![Start::Fork, Start::Spawn],
            ..Wish::default()
        };
        let kills: Vec<_> = cases(&wish).iter().map(|case| case.kills).collect();
        assert_eq!(kills, [Some((Victim::Worker, 7)); 2]);
    }
}
