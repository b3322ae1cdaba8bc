//! "Did you mean …?" for mistyped names.

use strsim::levenshtein;

/// The known name that a mistyped word most likely stands for. Case and punctuation don't count.
pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = normalized(word);
    let candidates = names.map(|name| (levenshtein(&word, &normalized(name)), name));
    let similar = candidates.filter(|(distance, name)| *distance <= max_distance(name));
    Some(similar.min()?.1)
}

fn normalized(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

/// Short names are too similar to each other to allow typing errors.
fn max_distance(name: &str) -> usize {
    match name.len() {
        0..=4 => 0,
        5..=10 => 1,
        _ => 2,
    }
}
