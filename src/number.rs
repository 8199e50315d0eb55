//! How numbers are written for a reader.

/// A whole number with a comma between groups of three digits.
pub fn grouped<N: Into<i128>>(value: N) -> String {
    let value = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 {
        format!("−{text}")
    } else {
        text
    }
}

/// A number without trailing zeros, to six decimals at most.
pub fn trimmed(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(
            [0, 999, 1000, 24_654_390, -1234].map(grouped::<i64>),
            ["0", "999", "1,000", "24,654,390", "−1,234"]
        );
    }

    #[test]
    fn zeros_at_the_end_are_not_written() {
        assert_eq!([2.0, 0.05, 130.0].map(trimmed), ["2", "0.05", "130"]);
    }
}
