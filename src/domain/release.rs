//! Which release is "the one before", seen from the history and not from what some host last had.

use super::plan::{Purpose, Release};

/// A deployment that ended well, as far as going back is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// What was asked for.
    pub purpose: Purpose,
    /// What ran afterwards.
    pub release: Release,
}

/// The releases that one can go back to, the newest last; the last is what should run now. A deploy adds its release; a
/// revert takes away all that came after the release that it went back to, so reverting twice goes back two releases and
/// never forward to the one that was bad.
pub fn trail(landed: impl IntoIterator<Item = Landed>) -> Vec<Release> {
    let mut trail: Vec<Release> = Vec::new();
    for Landed { purpose, release } in landed {
        match purpose {
            Purpose::Deploy => {
                if trail.last() != Some(&release) {
                    trail.push(release);
                }
            }
            Purpose::Revert => match trail.iter().rposition(|known| *known == release) {
                Some(place) => trail.truncate(place + 1),
                None => trail.push(release),
            },
            Purpose::Restart | Purpose::Run { .. } => {}
        }
    }
    trail
}

/// Where a revert goes: back by one when every target runs the newest of the `trail`; when some don't (a host was lost, a
/// deployment got stuck), to that newest one, the last that ended well.
pub fn revert_to(trail: &[Release], all_run_the_newest: bool) -> Option<&Release> {
    if all_run_the_newest { trail.len().checked_sub(2).and_then(|place| trail.get(place)) } else { trail.last() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(number: u8) -> Release {
        let digest = format!("sha256:{}", format!("{number:02x}").repeat(32));
        Release { tag: format!("build-{number}").parse().unwrap(), digest: digest.parse().unwrap() }
    }

    fn deploys(numbers: &[u8]) -> Vec<Landed> {
        numbers.iter().map(|number| Landed { purpose: Purpose::Deploy, release: release(*number) }).collect()
    }

    #[test]
    fn reverting_twice_goes_back_two_releases() {
        let mut history = deploys(&[41, 42, 43]);
        assert_eq!(revert_to(&trail(history.clone()), true), Some(&release(42)));
        history.push(Landed { purpose: Purpose::Revert, release: release(42) });
        assert_eq!(revert_to(&trail(history), true), Some(&release(41)));
    }

    #[test]
    fn two_deploys_of_one_tag_dont_lose_the_release_before() {
        assert_eq!(revert_to(&trail(deploys(&[41, 42, 42])), true), Some(&release(41)));
    }

    #[test]
    fn the_first_release_has_none_before_it() {
        assert_eq!(revert_to(&trail(deploys(&[41])), true), None);
    }

    #[test]
    fn a_fleet_that_is_in_pieces_goes_to_the_last_good_release() {
        assert_eq!(revert_to(&trail(deploys(&[41, 42])), false), Some(&release(42)));
    }
}
