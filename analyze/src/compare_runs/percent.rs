//! Percentages as they are given on the command line.

/// `2%`, `0.5 %` or `2`, as a share of 1.
///
/// # Errors
/// A line for the user when it is no number from 0 to below 100, or may be meant as a share.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    match number.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 && number.len() == text.len() => {
            Err(format!("is {number} a share or a percentage? Write {}% or {number}%", share * 100.0))
        }
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("expected a percentage from 0 to below 100, such as 2%".into()),
    }
}

/// The level of an interval, as a share of 1.
///
/// # Errors
/// A line for the user when it is not from 50 to 99.9 %.
pub(crate) fn level(text: &str) -> Result<f64, String> {
    // Beyond that, hundreds of runs would be asked for; below, an interval is as often wrong as right.
    let allowed = 0.5..=0.999;
    share(text)
        .ok()
        .filter(|share| allowed.contains(share))
        .ok_or_else(|| "expected a percentage from 50 to 99.9, such as 95%".into())
}

/// How often a series without a change may show one, as a share of 1.
///
/// # Errors
/// A line for the user when it is not from 0.1 to 50 %.
pub(crate) fn alarm(text: &str) -> Result<f64, String> {
    // Of 999 shuffled series and the true one, one in a thousand is the rarest that can be told: below, nothing is found.
    let allowed = 0.001..=0.5;
    share(text)
        .ok()
        .filter(|share| allowed.contains(share))
        .ok_or_else(|| "expected a percentage from 0.1 to 50, such as 5%".into())
}

/// A share as people write it: `2 %`, `0.5 %`.
pub(crate) fn shown(share: f64) -> String {
    let rounded = format!("{:.2}", share * 100.0);
    format!("{} %", rounded.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_as_people_write_them() {
        assert_eq!(["2%", "2", " 0.5 %", "0"].map(share), [Ok(0.02), Ok(0.02), Ok(0.005), Ok(0.0)]);
        for bad in ["", "%", "x%", "-1%", "100%", "NaN%", "inf", "1e9%", "2%%x", "2%%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!(share("0.05").unwrap_err(), "is 0.05 a share or a percentage? Write 5% or 0.05%");
        assert_eq!(level("95%"), Ok(0.95));
        for bad in ["40%", "99.99%", "x"] {
            assert!(level(bad).is_err(), "{bad}");
        }
        assert_eq!([alarm("0.1%"), alarm("50")], [Ok(0.001), Ok(0.5)]);
        for bad in ["0%", "0.09%", "51%", "x"] {
            assert!(alarm(bad).is_err(), "{bad}");
        }
        assert_eq!([0.02, 0.005, 0.95, 0.1].map(shown), ["2 %", "0.5 %", "95 %", "10 %"]);
    }
}
