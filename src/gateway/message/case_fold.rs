//! Case folding of texts and request paths, at least as coarse as full case folding (Unicode, section 3.13).
//!
//! A service may compare in lower case, in upper case, or by folding: `ß` is `ss` to the last two, `ı` is `i` to the
//! second alone. So a text is converted to lower, upper and lower case again, which none of them can tell apart.
//! `İ` is `i` in the simple conversion of Go and Java, and `i` with a dot above in the full one: so the dot is left out.

use std::borrow::Cow;

use super::path;

/// Combining dot above, the second character of `İ` in lower case.
const DOT_ABOVE: char = '\u{307}';

/// Text that is equal for all texts that a service without regard to case could treat alike.
#[must_use]
pub(in crate::gateway) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    text.chars().for_each(|char| fold_char(char, &mut folded));
    folded
}

/// Fold the letters of a path, escaped ones included. Escapes of letters are decoded, all others are kept, so that
/// [`path::decoded`] of the result is the folded decoded path.
#[must_use]
pub(in crate::gateway) fn fold_path(path: &str) -> Cow<'_, str> {
    if path.bytes().all(|byte| !byte.is_ascii_uppercase() && byte != b'%') {
        return Cow::Borrowed(path);
    }
    let mut folded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(char) = rest.chars().next() {
        let length = match char {
            '%' => escaped_length(rest),
            _ => char.len_utf8(),
        };
        let (part, tail) = rest.split_at_checked(length).unwrap_or((rest, ""));
        match decoded_letters(part) {
            Some(letters) => letters.chars().for_each(|char| fold_char(char, &mut folded)),
            None => folded.push_str(part),
        }
        rest = tail;
    }
    Cow::Owned(folded)
}

/// Length of the escapes at the start of `text` that together encode one character.
fn escaped_length(text: &str) -> usize {
    let lead = path::decoded(text).next().unwrap_or_default();
    let bytes = match lead {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xFF => 4,
        _ => 1,
    };
    3 * bytes
}

/// Characters that `part` of a path stands for; `None` for an escape of an ASCII character, which is no letter.
fn decoded_letters(part: &str) -> Option<Cow<'_, str>> {
    if !part.starts_with('%') {
        return Some(Cow::Borrowed(part));
    }
    let text = String::from_utf8(path::decoded(part).collect()).ok()?;
    (!text.is_ascii()).then_some(Cow::Owned(text))
}

fn fold_char(char: char, folded: &mut String) {
    if char.is_ascii() {
        folded.push(char.to_ascii_lowercase());
    } else {
        let upper = char.to_lowercase().flat_map(char::to_uppercase);
        for lower in upper.flat_map(char::to_lowercase) {
            if lower != DOT_ABOVE || !folded.ends_with('i') {
                folded.push(lower);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_conversion_of_case_changes_a_folded_text() {
        for char in char::MIN..=char::MAX {
            let (lower, upper) = (char.to_lowercase(), char.to_uppercase());
            if lower.clone().eq([char]) && upper.clone().eq([char]) {
                continue;
            }
            let folded = fold(&char.to_string());
            for other in [folded.clone(), lower.collect(), upper.collect()] {
                assert_eq!(fold(&other), folded, "{char}");
            }
        }
    }

    #[test]
    fn letters_that_a_service_could_take_for_another_are_folded() {
        for (one, other) in [
            ("Admin", "aDMIN"),
            ("\u{c9}tat", "\u{e9}TAT"),
            ("\u{212a}ey", "key"),
            ("\u{17f}ecret", "Secret"),
            ("stra\u{df}e", "STRASSE"),
            ("stra\u{1e9e}e", "strasse"),
            ("\u{3a3}", "\u{3c2}"),
            ("\u{fb01}le", "FILE"),
            ("\u{131}d", "ID"),
            ("adm\u{130}n", "admin"),
            ("adm\u{130}n", "ADMI\u{307}N"),
            ("\u{2126}", "\u{3c9}"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        assert_ne!(fold("\u{e9}"), fold("e"));
    }

    #[test]
    fn a_path_is_folded_as_its_decoded_text() {
        let folded_text = |path: &str| fold(&String::from_utf8(path::decoded(path).collect()).unwrap());
        for path in [
            "",
            "v1/a-b_c/",
            "V1/Admin",
            "%C3%89tat/%E2%84%AAey/stra%C3%9Fe",
            "100%25/%25/%20A%7B/%40Me",
            "%F0%90%90%80/x",
            "%EF%AC%81le",
            "adm%C4%B0n/i%CC%87",
        ] {
            let folded = fold_path(path);
            let decoded = String::from_utf8(path::decoded(&folded).collect()).unwrap();
            assert_eq!(decoded, folded_text(path), "{path}");
            assert_eq!(folded.matches('/').count(), path.matches('/').count(), "{path}");
        }
        assert!(matches!(fold_path("v1/volumes"), Cow::Borrowed(_)), "nothing is allocated");
        assert_eq!(fold_path("%25AB/%20"), "%25ab/%20", "an escape that is no letter stays");
    }
}
