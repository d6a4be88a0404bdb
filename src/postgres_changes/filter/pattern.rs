//! LIKE, and regular expressions as far as both engines agree on them.
//!
//! Only what has exactly PostgreSQL's meaning is accepted; the rest is
//! answered with "unsupported" rather than matched a little differently.

use regex::bytes::{Regex, RegexBuilder};

/// A compiled regular expression may take this much memory.
const SIZE_LIMIT: usize = 256 * 1024;

/// A compiled LIKE pattern. Matching takes time proportional to text times pattern at worst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Like {
    tokens: Box<[Token]>,
    fold: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `_`: one character.
    One,
    /// `%`: any number of characters.
    Many,
}

impl Like {
    /// Compiles a pattern; `fold` ignores the case of ASCII letters. None for
    /// a trailing backslash, and for folding beyond ASCII, which depends on
    /// the database's locale.
    pub fn new(pattern: &str, fold: bool) -> Option<Self> {
        if fold && !pattern.is_ascii() {
            return None;
        }
        let mut tokens = Vec::with_capacity(pattern.len());
        let mut bytes = pattern.bytes();
        while let Some(byte) = bytes.next() {
            let token = match byte {
                b'%' if tokens.last() == Some(&Token::Many) => continue,
                b'%' => Token::Many,
                b'_' => Token::One,
                b'\\' => Token::Byte(bytes.next()?),
                byte => Token::Byte(byte),
            };
            tokens.push(match token {
                Token::Byte(byte) if fold => Token::Byte(byte.to_ascii_lowercase()),
                token => token,
            });
        }
        Some(Self { tokens: tokens.into(), fold })
    }

    /// True if the pattern covers all of `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let (mut rest, mut at) = (text, 0);
        // Where to try again: after the last `%`, one character further on.
        let mut retry: Option<(&[u8], usize)> = None;
        loop {
            match self.tokens.get(at) {
                None if rest.is_empty() => return true,
                Some(Token::Many) => {
                    at += 1;
                    retry = Some((rest, at));
                    continue;
                }
                Some(Token::One) if !rest.is_empty() => {
                    rest = skip_char(rest);
                    at += 1;
                    continue;
                }
                Some(Token::Byte(wanted)) => {
                    if let [byte, tail @ ..] = rest
                        && *wanted == if self.fold { byte.to_ascii_lowercase() } else { *byte }
                    {
                        rest = tail;
                        at += 1;
                        continue;
                    }
                }
                _ => {}
            }
            let Some((from, token)) = retry.filter(|(from, _)| !from.is_empty()) else {
                return false;
            };
            rest = skip_char(from);
            at = token;
            retry = Some((rest, at));
        }
    }
}

fn skip_char(text: &[u8]) -> &[u8] {
    let tail = text.get(1..).unwrap_or_default();
    let more = tail.iter().take_while(|&&byte| byte & 0xC0 == 0x80).count();
    tail.get(more..).unwrap_or_default()
}

/// True for a LIKE pattern whose last backslash escapes nothing.
pub fn has_open_escape(pattern: &str) -> bool {
    pattern.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

/// A PostgreSQL regular expression, if it means the same here. `fold` is `~*`.
pub fn regex(pattern: &str, fold: bool) -> Option<Regex> {
    if fold && !pattern.is_ascii() {
        return None;
    }
    let translated = translate(pattern, fold)?;
    // `.` matches a newline too; `^` and `$` are the ends of the text only.
    RegexBuilder::new(&translated).dot_matches_new_line(true).size_limit(SIZE_LIMIT).build().ok()
}

/// None for whatever the two engines might read differently.
fn translate(pattern: &str, fold: bool) -> Option<String> {
    if pattern.starts_with("***") {
        return None;
    }
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    // What a quantifier would apply to: nothing, an atom, or a quantified atom.
    let mut quantifiable = false;
    while let Some(char) = chars.next() {
        let was_atom = quantifiable;
        quantifiable = true;
        match char {
            '(' => {
                out.push('(');
                if chars.next_if_eq(&'?').is_some() {
                    // Only `(?:`; look-around and embedded options differ.
                    chars.next_if_eq(&':')?;
                    out.push('?');
                    out.push(':');
                } else {
                    out.push_str("?:");
                }
                quantifiable = false;
            }
            ')' | '.' => out.push(char),
            '^' | '$' | '|' => {
                out.push(char);
                quantifiable = false;
            }
            '*' | '+' | '?' | '{' => {
                if !was_atom {
                    return None;
                }
                out.push(char);
                if char == '{' {
                    bound(&mut chars, &mut out)?;
                }
                // A lazy quantifier changes what is matched, not whether.
                if chars.next_if_eq(&'?').is_some() {
                    out.push('?');
                }
                quantifiable = false;
            }
            '[' => bracket(&mut chars, &mut out, fold)?,
            '\\' => {
                // Escaped punctuation is itself; letters and digits are classes and back references.
                let escaped = chars.next().filter(char::is_ascii_punctuation)?;
                literal(escaped, fold, &mut out);
            }
            char => literal(char, fold, &mut out),
        }
    }
    Some(out)
}

fn literal(char: char, fold: bool, out: &mut String) {
    if fold && char.is_ascii_alphabetic() {
        out.extend(['[', char.to_ascii_lowercase(), char.to_ascii_uppercase(), ']']);
    } else {
        out.push_str(&regex::escape(char.encode_utf8(&mut [0; 4])));
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// `m}`, `m,}` or `m,n}` up to 255, PostgreSQL's limit.
fn bound(chars: &mut Chars<'_>, out: &mut String) -> Option<()> {
    let mut text = String::new();
    while let Some(char) = chars.next_if(|&char| char != '}') {
        text.push(char);
    }
    chars.next()?;
    let (from, to) = text.split_once(',').unwrap_or((&text, &text));
    let small = |text: &str| {
        let digits =
            !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten().filter(|&n| n <= 255)
    };
    let from = small(from)?;
    if !to.is_empty() && small(to)? < from {
        return None;
    }
    out.push_str(&text);
    out.push('}');
    Some(())
}

/// A bracket expression of plain characters and ranges.
fn bracket(chars: &mut Chars<'_>, out: &mut String, fold: bool) -> Option<()> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let char = chars.next()?;
        match char {
            ']' if !first => break,
            // Named classes, escapes, and a dash at an edge: read differently or easily misread.
            '[' | '\\' | '-' | ']' => return None,
            char => {
                let mut range = vec![char];
                if chars.next_if_eq(&'-').is_some() {
                    let end = chars.next().filter(|end| !"]-[\\".contains(*end))?;
                    if fold && !(char.is_ascii_digit() && end.is_ascii_digit()) {
                        return None;
                    }
                    range.push(end);
                } else if fold && char.is_ascii_alphabetic() {
                    out.push(char.to_ascii_lowercase());
                    range = vec![char.to_ascii_uppercase()];
                }
                let parts: Vec<_> = range.iter().map(|part| class_member(*part)).collect();
                out.push_str(&parts.join("-"));
            }
        }
        first = false;
    }
    out.push(']');
    Some(())
}

fn class_member(char: char) -> String {
    if char.is_ascii_punctuation() { format!("\\{char}") } else { char.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn like(pattern: &str, text: &str) -> bool {
        Like::new(pattern, false).unwrap().is_match(text.as_bytes())
    }

    #[test]
    fn like_covers_the_whole_text() {
        for (pattern, text, expected) in [
            ("ap%", "apple", true),
            ("%ana%", "banana", true),
            ("_pple", "apple", true),
            ("_pple", "épple", true),
            ("a", "ab", false),
            ("", "", true),
            ("%", "", true),
            ("_", "", false),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("%)%", "a) b", true),
            ("%a%b%c", "xaxbxcxc", true),
            ("%aab", "aaab", true),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
        assert!(Like::new("x\\", false).is_none());
        assert!(Like::new("É%", true).is_none());
        assert!(Like::new("AP%", true).unwrap().is_match(b"apple"));
    }

    #[test]
    fn plain_expressions_mean_the_same() {
        let is =
            |pattern: &str, text: &str| regex(pattern, false).unwrap().is_match(text.as_bytes());
        assert!(is("^a.p", "apple") && !is("^a.p", "snap"));
        assert!(is("(an){2}", "banana"));
        assert!(is("e$", "pear e") && !is("e$", "e\n"));
        assert!(is("a.b", "a\nb"));
        assert!(is("[a-c]+x", "abcx") && is("[^x&&]", "y"));
        assert!(regex("^A.P", true).unwrap().is_match(b"apple"));
        assert!(regex("^$", true).unwrap().is_match(b""));
    }

    #[test]
    fn what_might_differ_is_refused() {
        for pattern in [
            "(",
            "\\d",
            "(?=x)",
            "(?i)x",
            "[[:alpha:]]",
            "***=x",
            "*a",
            "a**",
            "a{2",
            "a{300}",
            "\\1",
            "(?<n>x)",
            "é\\",
        ] {
            assert!(regex(pattern, false).is_none(), "{pattern}");
        }
        assert!(regex("É", true).is_none());
        assert!(regex("[a-z]", true).is_none());
    }

    proptest! {
        #[test]
        fn no_pattern_breaks_anything(pattern: String, odd in "[-a^$.|*+?(){}\\[\\]\\\\:=1,%_]{0,30}", text: String) {
            for pattern in [&pattern, &odd] {
                for fold in [false, true] {
                    if let Some(like) = Like::new(pattern, fold) { like.is_match(text.as_bytes()); }
                    if let Some(regex) = regex(pattern, fold) { regex.is_match(text.as_bytes()); }
                }
            }
        }
    }
}
