//! What a scalar without quotes is to Kubernetes, whose tools read YAML 1.1 (`sigs.k8s.io/yaml`).

use std::borrow::Cow;

/// What a plain scalar is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    /// A number as JSON writes it.
    Number,
    Text,
    /// What YAML 1.1 and YAML 1.2 read differently, or JSON cannot say.
    Refused(Cow<'static, str>),
}

/// Resolves a plain scalar.
pub(crate) fn resolve(text: &str) -> Scalar {
    // Most texts begin with a letter that no other kind of scalar begins with.
    if text.starts_with(|first: char| first.is_alphabetic() && !"nNtTfFyYoO".contains(first)) {
        return Scalar::Text;
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Scalar::Bool(false),
        text if is_json_number(text) => Scalar::Number,
        text if is_other_number(text) => Scalar::Refused(
            "Kubernetes reads this as a number: write it in decimal, or in quotes when it is a text".into(),
        ),
        _ => Scalar::Text,
    }
}

/// JSON's grammar of a number.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    is_digits(whole) && !leading_zero && fraction.is_none_or(is_digits) && exponent.is_none_or(is_digits)
}

/// What YAML 1.1 takes for a number, though JSON does not: `0x1F`, `0755`, `1_000`, `+5`, `.5`, `5.`, `.inf`.
fn is_other_number(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    let digits = unsigned.replace('_', "");
    let of_base = |prefixes: [&str; 2], base| {
        let rest = prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix));
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|digit| digit.is_digit(base)))
    };
    let decimal = || {
        let (mantissa, exponent) = digits.split_once(['e', 'E']).map_or((digits.as_str(), None), |(m, e)| (m, Some(e)));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        all_digits(whole) && all_digits(fraction) && whole.len() + fraction.len() > 0 && exponent.is_none_or(is_digits)
    };
    of_base(["0x", "0X"], 16) || of_base(["0o", "0O"], 8) || of_base(["0b", "0B"], 2) || decimal()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_kubernetes_reads() {
        for text in ["", "~", "null"] {
            assert_eq!(resolve(text), Scalar::Null, "{text}");
        }
        for text in ["y", "Yes", "ON", "true"] {
            assert_eq!(resolve(text), Scalar::Bool(true), "{text}");
        }
        for text in ["n", "no", "Off", "FALSE"] {
            assert_eq!(resolve(text), Scalar::Bool(false), "{text}");
        }
        for text in ["0", "-1", "80", "1.5", "1e3", "1.5E-3", "12345678901234567890"] {
            assert_eq!(resolve(text), Scalar::Number, "{text}");
        }
        for text in ["0755", "+5", ".5", "5.", "0x1F", "0o17", "0b1", "1_000", "-.5e3", ".inf", "-.INF", ".nan", "08"] {
            assert!(matches!(resolve(text), Scalar::Refused(_)), "{text}");
        }
        for text in
            ["v1", "1.2.3", "5s", "tRuE", "yEs", "1e", ".", "-", "_1", "0x", "0xg", "10.0.0.1", "2026-01-01", "e5"]
        {
            assert_eq!(resolve(text), Scalar::Text, "{text}");
        }
    }
}
