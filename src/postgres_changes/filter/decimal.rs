//! Exact decimals of any size, in PostgreSQL's order.

use std::cmp::Ordering;

/// An exact decimal: sign, digits, and where the point is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decimal {
    /// Below everything.
    NegativeInfinity,
    /// `digits` without leading or trailing zeros, the first one worth `10^exponent`.
    Finite {
        /// False for zero.
        negative: bool,
        /// ASCII digits, empty for zero.
        digits: Box<[u8]>,
        /// Of the first digit.
        exponent: i64,
    },
    /// Above every number.
    Infinity,
    /// Above everything and equal to itself.
    NaN,
}

impl Decimal {
    /// Reads PostgreSQL's output of a numeric.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        match text {
            b"NaN" => return Some(Self::NaN),
            b"Infinity" => return Some(Self::Infinity),
            b"-Infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        let (negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
        let (whole, fraction) = text.split_at(point);
        let fraction = fraction.strip_prefix(b".").unwrap_or(fraction);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let all = [whole, fraction].concat();
        if !all.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let Some(first) = all.iter().position(|&digit| digit != b'0') else {
            return Some(Self::Finite { negative: false, digits: Box::default(), exponent: 0 });
        };
        let last = all.iter().rposition(|&digit| digit != b'0')?;
        let exponent = i64::try_from(whole.len()).ok()? - 1 - i64::try_from(first).ok()?;
        Some(Self::Finite { negative, digits: all.get(first..=last)?.into(), exponent })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |decimal: &Self| match decimal {
            Self::NegativeInfinity => 0,
            Self::Finite { .. } => 1,
            Self::Infinity => 2,
            Self::NaN => 3,
        };
        let sign = |negative: bool, digits: &[u8]| match (negative, digits.is_empty()) {
            (_, true) => 0,
            (true, false) => -1,
            (false, false) => 1,
        };
        let (
            Self::Finite { negative, digits, exponent },
            Self::Finite {
                negative: other_negative,
                digits: other_digits,
                exponent: other_exponent,
            },
        ) = (self, other)
        else {
            return rank(self).cmp(&rank(other));
        };
        let by_sign = sign(*negative, digits).cmp(&sign(*other_negative, other_digits));
        by_sign.then_with(|| {
            // Same sign: the larger exponent is further from zero, then digit by digit.
            let size = exponent.cmp(other_exponent).then_with(|| digits.cmp(other_digits));
            if *negative { size.reverse() } else { size }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
