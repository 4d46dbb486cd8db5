//! "Did you mean": the known name that a mistyped one is nearest to.

use crate::domain::names::printable;

/// More names than this are no help in one line.
const MOST_LISTED: usize = 12;

/// The candidate nearest to `text`, if one is near enough to be meant. Case doesn't count.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = text.to_lowercase();
    // One slip in a short name, two from five characters on, at most three: beyond that a guess is noise.
    let slips = (1 + typed.chars().count() / 5).min(3);
    candidates
        .into_iter()
        .map(|name| (strsim::osa_distance(&typed, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= slips && *distance < name.chars().count())
        .min()
        .map(|(_, name)| name)
}

/// The end of an error message about an unknown name: `; did you mean `antisocial`?`, or nothing.
pub fn did_you_mean<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(text, candidates).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The end of an error message about an unknown name: the nearest one, or else all of them, where those are few.
pub fn hint<'a, I: Iterator<Item = &'a str> + Clone>(text: &str, candidates: impl IntoIterator<IntoIter = I>) -> String {
    let candidates = candidates.into_iter();
    match (did_you_mean(text, candidates.clone()), candidates.clone().take(MOST_LISTED + 1).count()) {
        (guess, 1) if guess.is_empty() => format!("; there is {}", listed(candidates)),
        (guess, 2..=MOST_LISTED) if guess.is_empty() => format!("; there are {}", listed(candidates)),
        (guess, _) => guess,
    }
}

/// Names as people read them: `` `a`, `b` and `c` ``.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", printable(name, 40))).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{did_you_mean, hint, listed, nearest};

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["antisocial", "blog", "shop"];
        assert_eq!(nearest("antisocal", names), Some("antisocial"));
        assert_eq!(nearest("Antisoical", names), Some("antisocial"));
        assert_eq!(nearest("blgo", names), Some("blog"));
    }

    #[test]
    fn something_else_finds_nothing() {
        let names = ["antisocial", "blog", "x"];
        assert_eq!(nearest("wordpress", names), None);
        assert_eq!(nearest("y", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("blog", []), None);
    }

    #[test]
    fn a_guess_ends_the_message_and_no_guess_leaves_it_alone() {
        assert_eq!(did_you_mean("blgo", ["blog"]), "; did you mean `blog`?");
        assert_eq!(did_you_mean("wordpress", ["blog"]), "");
    }

    #[test]
    fn where_nothing_is_near_the_names_are_listed() {
        assert_eq!(hint("blgo", ["blog", "shop"]), "; did you mean `blog`?");
        assert_eq!(hint("wordpress", ["blog", "shop"]), "; there are `blog` and `shop`");
        assert_eq!(hint("wordpress", ["blog"]), "; there is `blog`");
        assert_eq!(hint("wordpress", []), "");
        assert_eq!(hint("wordpress", ["x"; 13]), "");
        assert_eq!(listed(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
