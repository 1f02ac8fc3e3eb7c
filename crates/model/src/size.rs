//! Sizes as the engines write them in settings.

/// Bytes of a whole number and its unit, such as `40mb`; `None` for anything else.
pub fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Bytes a second; 0, as the engines' `0` and `-1`, is without limit.
pub fn rate(text: &str) -> Option<u64> {
    match text {
        "0" | "-1" => Some(0),
        size => bytes(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_rates_may_be_without_limit() {
        assert_eq!(bytes("40mb"), Some(40 << 20));
        assert_eq!(bytes("7B"), Some(7));
        for bad in ["", "40", "mb", "-1", "1.5gb", "99999999999gb"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        assert_eq!(
            [rate("-1"), rate("0"), rate("0b"), rate("1kb")],
            [Some(0), Some(0), Some(0), Some(1_024)]
        );
        assert_eq!(rate("fast"), None);
    }
}
