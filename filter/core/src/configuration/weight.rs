//! A backend's weight, as an exact number.

use crate::configuration::reader::quote;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// The weight 1, in billionths.
const ONE: u64 = 1_000_000_000;
/// The maximum weight. It keeps sums far from overflow.
const MAX_WEIGHT: u64 = 1_000_000_000;

/// A backend's weight relative to the other backends of its split: 0 to 10⁹, in steps of 10⁻⁹.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u64);

impl Weight {
    /// Returns the weight in units of 10⁻⁹: 0 to 10¹⁸.
    pub fn billionths(self) -> u64 {
        self.0
    }

    /// Parses a weight as any version of SMI writes it: an integer, a float without a fraction, or a Kubernetes
    /// quantity in a string (`"5"`, `"500m"`, `"1e3"`, `"1k"`).
    ///
    /// # Errors
    /// Returns a message such as `-5 is negative; use 0 or more`.
    pub(crate) fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Number(number) => Self::from_number(number),
            Value::String(text) => Self::from_quantity(text),
            other => Err(format!(
                "is {}, but must be a number or a Kubernetes quantity",
                crate::configuration::reader::kind(other)
            )),
        }
    }

    fn from_number(number: &serde_json::Number) -> Result<Self, String> {
        if let Some(whole) = number.as_u64() {
            return Self::from_whole(u128::from(whole), number);
        }
        let value = number.as_f64().unwrap_or(f64::NAN);
        if !value.is_finite() {
            return Err(format!("{number} is not a finite number"));
        }
        if value < 0.0 {
            return Err(format!("{number} is negative; use 0 or more"));
        }
        if value > MAX_WEIGHT as f64 {
            return Err(format!("{number} is above {MAX_WEIGHT}"));
        }
        if value.fract() != 0.0 {
            let thousandths = value * 1000.0;
            let quantity = if thousandths.fract() == 0.0 { thousandths as u64 } else { 500 };
            let such_as = if thousandths.fract() == 0.0 { "" } else { "a quantity such as " };
            return Err(format!(
                "{number} is a fraction; write {such_as}\"{quantity}m\", or multiply the split's weights to get integers"
            ));
        }
        Self::from_whole(value as u128, number)
    }

    fn from_whole(value: u128, shown: impl std::fmt::Display) -> Result<Self, String> {
        Self::from_billionths(value.saturating_mul(u128::from(ONE)), shown)
    }

    fn from_billionths(value: u128, shown: impl std::fmt::Display) -> Result<Self, String> {
        match u64::try_from(value) {
            Ok(value) if value <= MAX_WEIGHT * ONE => Ok(Self(value)),
            _ => Err(format!("{shown} is above {MAX_WEIGHT}")),
        }
    }

    /// Parses a Kubernetes quantity: a decimal number, then a binary suffix, a decimal suffix or an exponent.
    ///
    /// Source: `resource.Quantity` in `k8s.io/apimachinery`.
    pub(crate) fn from_quantity(text: &str) -> Result<Self, String> {
        let shown = quote(text);
        let not_a_quantity = || not_a_quantity(text);
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let number_end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') {
            return Err(not_a_quantity());
        }
        let (binary, exponent) = match suffix {
            "" => (0, 0),
            "n" => (0, -9),
            "u" => (0, -6),
            "m" => (0, -3),
            "k" => (0, 3),
            "M" => (0, 6),
            "G" => (0, 9),
            "T" => (0, 12),
            "P" => (0, 15),
            "E" => (0, 18),
            "Ki" => (1, 0),
            "Mi" => (2, 0),
            "Gi" => (3, 0),
            "Ti" => (4, 0),
            "Pi" => (5, 0),
            "Ei" => (6, 0),
            _ => match suffix.strip_prefix(['e', 'E']).map(str::parse::<i16>) {
                Some(Ok(exponent)) => (0, i32::from(exponent)),
                _ => return Err(not_a_quantity()),
            },
        };
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self(0));
        }
        if text.starts_with('-') {
            return Err(format!("{shown} is negative; use 0 or more"));
        }
        let above = || format!("{shown} is above {MAX_WEIGHT}");
        let finer = || format!("{shown} is not a multiple of a billionth (1n); round it");
        // Too many digits for a weight: the scale shows whether the number is too large or has too many decimal places.
        let scale = i64::from(exponent) + 9 - i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        let Ok(mantissa) = digits.parse::<u128>() else {
            return Err(if scale < 0 { finer() } else { above() });
        };
        let Some(mantissa) = mantissa.checked_mul(1 << (10 * binary)) else {
            return Err(above());
        };
        let power = u32::try_from(scale.unsigned_abs()).ok().and_then(|power| 10u128.checked_pow(power));
        if scale >= 0 {
            let value = power.and_then(|power| mantissa.checked_mul(power)).ok_or_else(above)?;
            Self::from_billionths(value, shown)
        } else {
            let power = power.filter(|power| mantissa % power == 0).ok_or_else(finer)?;
            Self::from_billionths(mantissa / power, shown)
        }
    }
}

/// Returns the message for a text that is not a quantity, with a remedy for percentages and ratios.
fn not_a_quantity(text: &str) -> String {
    let shown = quote(text);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let parts = text.split_once(['/', ':']).map(|(part, rest)| (part.trim(), rest.trim()));
    match (text.trim().strip_suffix('%').map(str::trim_end), parts) {
        (Some(percent), _) if is_number(percent) => {
            // A number with a fraction is a valid weight only as a quantity, which is a string.
            let mark = if percent.contains('.') { "\"" } else { "" };
            format!("{shown} is a percentage, but weights are relative to each other; write {mark}{percent:.80}{mark}")
        }
        (None, Some((part, rest))) if is_number(part) && is_number(rest) => {
            format!("{shown} is a ratio, but each backend has its own weight; write an integer for each backend")
        }
        _ => format!("{shown} is not a Kubernetes quantity such as \"5\", \"500m\" or \"1e3\""),
    }
}

impl fmt::Display for Weight {
    /// Writes an integer if possible, else a quantity such as `500m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value % ONE == 0 => write!(f, "{}", value / ONE),
            value if value % 1_000_000 == 0 => write!(f, "{}m", value / 1_000_000),
            value => write!(f, "{value}n"),
        }
    }
}

impl Serialize for Weight {
    /// Serializes to a number if the weight is an integer, else to a quantity. `from_value` parses both back exactly.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value % ONE == 0 => serializer.serialize_u64(value / ONE),
            _ => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn read(value: Value) -> Result<u64, String> {
        Weight::from_value(&value).map(Weight::billionths)
    }

    #[test]
    fn percentages_ratios_and_fractions_have_a_remedy() {
        for (value, message) in [
            (json!("50%"), "\"50%\" is a percentage, but weights are relative to each other; write 50"),
            (json!("12.5 %"), "\"12.5 %\" is a percentage, but weights are relative to each other; write \"12.5\""),
            (
                json!("1/2"),
                "\"1/2\" is a ratio, but each backend has its own weight; write an integer for each backend",
            ),
            (
                json!("1:2"),
                "\"1:2\" is a ratio, but each backend has its own weight; write an integer for each backend",
            ),
            (json!("half"), "\"half\" is not a Kubernetes quantity such as \"5\", \"500m\" or \"1e3\""),
            (json!("%"), "\"%\" is not a Kubernetes quantity such as \"5\", \"500m\" or \"1e3\""),
            (json!(0.5), "0.5 is a fraction; write \"500m\", or multiply the split's weights to get integers"),
            (
                json!(0.0001),
                "0.0001 is a fraction; write a quantity such as \"500m\", or multiply the split's weights to get integers",
            ),
        ] {
            assert_eq!(read(value), Err(message.into()));
        }
    }

    #[test]
    fn numbers_and_quantities_of_the_same_weight_are_equal() {
        for one in [
            json!(1),
            json!(1.0),
            json!("1"),
            json!("1000m"),
            json!("1e0"),
            json!("0.001k"),
            json!("+1."),
            json!("1000000000n"),
        ] {
            assert_eq!(read(one.clone()), Ok(ONE), "{one}");
        }
        for thousand in [json!(1000), json!("1e3"), json!("1k"), json!("1E3"), json!("0.000001G"), json!("1000000e-3")]
        {
            assert_eq!(read(thousand.clone()), Ok(1000 * ONE), "{thousand}");
        }
        assert_eq!(read(json!("500m")), Ok(ONE / 2));
        assert_eq!(read(json!("0.5")), Ok(ONE / 2));
        assert_eq!(read(json!("1Ki")), Ok(1024 * ONE));
        assert_eq!(read(json!("1n")), Ok(1));
        assert_eq!(read(json!("1G")), Ok(MAX_WEIGHT * ONE));
        for zero in [
            json!(0),
            json!("0"),
            json!("-0"),
            json!("0e999"),
            json!(-0.0),
            json!("0.0000000000000001e-0".replace('1', "0")),
        ] {
            assert_eq!(read(zero.clone()), Ok(0), "{zero}");
        }
    }

    #[test]
    fn invalid_weight_is_an_error_with_a_reason() {
        for (value, why) in [
            (json!(-5), "-5 is negative; use 0 or more"),
            (json!("-5"), "\"-5\" is negative; use 0 or more"),
            (json!(-0.5), "-0.5 is negative; use 0 or more"),
            (json!(1_000_000_001), "1000000001 is above 1000000000"),
            (json!(1e300), "1e+300 is above 1000000000"),
            (json!(u64::MAX), "18446744073709551615 is above 1000000000"),
            (json!("1000000001"), "\"1000000001\" is above 1000000000"),
            (json!("1e999"), "\"1e999\" is above 1000000000"),
            (json!("9e32767"), "\"9e32767\" is above 1000000000"),
            (json!("1Ei"), "\"1Ei\" is above 1000000000"),
            (json!("0.1n"), "\"0.1n\" is not a multiple of a billionth (1n); round it"),
            (json!("1e-32768"), "\"1e-32768\" is not a multiple of a billionth (1n); round it"),
        ] {
            assert_eq!(read(value.clone()), Err(why.into()), "{value}");
        }
        assert!(read(json!(0.5)).is_err_and(|why| why.starts_with("0.5 is a fraction")));
        for value in
            ["", "-", ".", "5 ", " 5", "%", "1kk", "e3", "1e", "1e99999", "1.2.3", "٣", "NaN", "inf", "0x10", "1_000"]
        {
            assert!(read(json!(value)).is_err_and(|why| why.contains("is not a Kubernetes quantity")), "{value}");
        }
        for value in [json!(true), json!([1]), json!({})] {
            assert!(read(value).is_err_and(|why| why.contains("must be a number or a Kubernetes quantity")));
        }
        assert!(read(json!("9".repeat(100_000))).is_err_and(|why| why.contains("is above")));
        assert!(
            read(json!(format!("0.{}", "1".repeat(100_000))))
                .is_err_and(|why| why.contains("is not a multiple of a billionth"))
        );
    }

    #[test]
    fn written_weight_parses_back_to_the_same_weight() {
        for billionths in [0, 1, 500_000_000, ONE, 1_500_000_000, MAX_WEIGHT * ONE, MAX_WEIGHT * ONE - 1] {
            let written = serde_json::to_value(Weight(billionths)).unwrap();
            assert_eq!(read(written.clone()), Ok(billionths), "{written}");
        }
    }
}
