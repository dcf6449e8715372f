//! Rules for new passwords.

use super::error::PasswordWeakness;
use crate::secret::Secret;

/// Fewest characters of a password.
const LEAST_CHARACTERS: usize = 8;

/// Longest password in bytes.
const MOST_BYTES: usize = 256;

/// Common passwords and the words that they are made from, in lower case, one a line, sorted.
const COMMON: &str = include_str!("common_passwords.txt");

/// Letters that digits and special characters often stand for. `1` and `!` also stand for `l`.
const SUBSTITUTES: [(char, char); 11] = [
    ('0', 'o'),
    ('1', 'i'),
    ('!', 'i'),
    ('3', 'e'),
    ('4', 'a'),
    ('@', 'a'),
    ('5', 's'),
    ('$', 's'),
    ('7', 't'),
    ('8', 'b'),
    ('9', 'g'),
];

/// Refuse a password that violates a rule.
pub(super) fn check(password: &Secret, user: &str) -> Result<(), PasswordWeakness> {
    let text = std::str::from_utf8(password.expose()).map_err(|_| PasswordWeakness::Control)?;
    if text.chars().any(char::is_control) {
        return Err(PasswordWeakness::Control);
    }
    if text.len() > MOST_BYTES {
        return Err(PasswordWeakness::Long);
    }
    if text.chars().count() < LEAST_CHARACTERS {
        return Err(PasswordWeakness::Short);
    }
    if !text.chars().any(char::is_uppercase) {
        return Err(PasswordWeakness::NoUpperCase);
    }
    if !text.chars().any(char::is_lowercase) {
        return Err(PasswordWeakness::NoLowerCase);
    }
    if text.chars().all(char::is_alphabetic) {
        return Err(PasswordWeakness::NoDigitOrSpecial);
    }
    if contains_name(text, user) {
        return Err(PasswordWeakness::UserName);
    }
    if is_common(text) {
        return Err(PasswordWeakness::Common);
    }
    Ok(())
}

/// True if the password is made from the user name. A name of one to three characters counts only as the whole.
fn contains_name(text: &str, user: &str) -> bool {
    let lower = text.to_lowercase();
    let word = trimmed(&lower);
    word == user || lower == user || (user.len() > 3 && lower.contains(user))
}

fn is_common(text: &str) -> bool {
    let lower = text.to_lowercase();
    let is_listed = |word: &str| COMMON.lines().any(|common| common == word);
    let word = trimmed(&lower);
    let letters = |one: char| {
        let replaced = |c: char| match c {
            '1' | '!' => one,
            c => SUBSTITUTES.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to),
        };
        word.chars().map(replaced).collect::<String>()
    };
    is_listed(&lower) || is_listed(word) || is_listed(&letters('i')) || is_listed(&letters('l'))
}

/// The password without digits and special characters at its ends.
fn trimmed(lower: &str) -> &str {
    lower.trim_matches(|c: char| !c.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weakness(password: &str) -> Option<PasswordWeakness> {
        check(&Secret::new(password.as_bytes().to_vec()), "alice").err()
    }

    #[test]
    fn a_password_needs_length_case_and_a_digit_or_special_character() {
        for (password, expected) in [
            ("", PasswordWeakness::Short),
            ("Vq7!x", PasswordWeakness::Short),
            ("Vq7!xäö", PasswordWeakness::Short),
            ("tulip-hedge-9", PasswordWeakness::NoUpperCase),
            ("TULIP-HEDGE-9", PasswordWeakness::NoLowerCase),
            ("TulipHedge", PasswordWeakness::NoDigitOrSpecial),
            ("Tulip\u{0}hedge9", PasswordWeakness::Control),
        ] {
            assert_eq!(weakness(password), Some(expected), "{password:?}");
        }
        assert_eq!(weakness(&format!("Ab1{}", "x".repeat(254))), Some(PasswordWeakness::Long));
        assert_eq!(check(&Secret::new(vec![0xff; 12]), "alice"), Err(PasswordWeakness::Control));
        for password in ["Tulip-hedge-9", "Tulip hedge", "Übergröße7", "aB3$efgh"] {
            assert_eq!(weakness(password), None, "{password:?}");
        }
    }

    #[test]
    fn a_password_made_from_the_user_name_is_refused() {
        for password in ["Alice123!", "xXalice99", "ALICE-alice-1"] {
            assert_eq!(weakness(password), Some(PasswordWeakness::UserName), "{password:?}");
        }
        let short = |password: &str| check(&Secret::new(password.as_bytes().to_vec()), "al").err();
        assert_eq!(short("Tidal-wave-7"), None, "a short name is part of many words");
        assert_eq!(short("Al1234567"), Some(PasswordWeakness::UserName));
    }

    #[test]
    fn common_passwords_are_refused_in_their_usual_disguises() {
        for password in [
            "Password1",
            "P@ssw0rd1!",
            "Qwerty123!",
            "1qaz@WSX",
            "Summer2026!",
            "Welcome1",
            "Adm1n123!",
            "!!Letmein99",
        ] {
            assert_eq!(weakness(password), Some(PasswordWeakness::Common), "{password:?}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_in_lower_case() {
        let words: Vec<&str> = COMMON.lines().collect();
        assert!(words.len() > 400, "{}", words.len());
        assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "sorted, each once");
        assert!(words.iter().all(|word| !word.is_empty() && *word == word.to_lowercase()));
    }
}
