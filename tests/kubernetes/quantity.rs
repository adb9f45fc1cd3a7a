//! Kubernetes' quantities: `500m`, `2`, `16Gi`.

/// Returns a quantity as a number; nothing when it is none.
pub fn parse(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match &text[end..] {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * factor)
}

#[test]
fn quantities_are_read_with_their_units() {
    assert_eq!(parse("1000m"), Some(1.0));
    assert_eq!(parse("2.5"), Some(2.5));
    assert_eq!(parse("4Gi"), Some(4_294_967_296.0));
    assert!(parse("1G").unwrap() < parse("1Gi").unwrap());
    assert_eq!(parse("4GB"), None);
    assert_eq!(parse("-1"), None);
    assert_eq!(parse(""), None);
}
