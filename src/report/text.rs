//! How numbers, notes and times read in tables and figures: the same everywhere.

use crate::number::grouped;

/// A number for a reader: whole numbers with thin groups of three, others to four significant digits; `–` if not finite.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == value.trunc() && value.abs() < 1e15 {
        return grouped(value as i64);
    }
    let magnitude = value.abs().log10().floor() as i32;
    if magnitude >= 4 {
        return grouped(value.round() as i64);
    }
    if magnitude < -4 {
        return format!("{value:.1e}").replace('-', "−");
    }
    let decimals = match magnitude {
        -4 => 5,
        _ => (3 - magnitude).clamp(0, 4) as usize,
    };
    format!("{value:.decimals$}").replace('-', "−")
}

/// A number short enough for an axis: `250`, `1.5k`, `2M`.
pub fn axis_number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let text = if text == "-0" { "0" } else { text };
    format!("{}{unit}", text.replace('-', "−"))
}

/// The name of a MIDI pitch, 60 being `C4`.
pub fn note_name(pitch: u8) -> String {
    const NAMES: [&str; 12] = [
        "C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B",
    ];
    format!(
        "{}{}",
        NAMES[usize::from(pitch % 12)],
        i32::from(pitch / 12) - 1
    )
}

/// A length of time in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() || s < 0.0 => "–".to_owned(),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The first `length` characters of a checksum or version: enough to tell two apart by eye.
pub fn short(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let read: Vec<String> = [
            1_663_576.0,
            0.0,
            -1234.0,
            0.05,
            4.521_234,
            12_345.6,
            0.000_012,
            f64::NAN,
        ]
        .map(number)
        .to_vec();
        assert_eq!(
            read,
            [
                "1,663,576",
                "0",
                "−1,234",
                "0.0500",
                "4.521",
                "12,346",
                "1.2e−5",
                "–"
            ]
        );
    }

    #[test]
    fn axis_numbers_are_short() {
        assert_eq!(
            [0.5, 250.0, 15_000.0, 2e6].map(axis_number),
            ["0.5", "250", "15k", "2M"]
        );
    }

    #[test]
    fn middle_c_is_c4() {
        assert_eq!([60, 61, 21, 127].map(note_name), ["C4", "C♯4", "A0", "G9"]);
    }

    #[test]
    fn times_take_a_fitting_unit() {
        assert_eq!(
            [5.0, 90.0, 7200.0].map(duration),
            ["5.0 s", "1.5 min", "2.0 h"]
        );
    }
}
