//! Words and columns for a page of 80 characters.

/// Width of the page.
pub const WIDTH: usize = 80;

/// What stands for a figure that is not there.
pub const NOT_AVAILABLE: &str = "n/a";

/// A whole number with a comma between thousands.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 row`, `2,000 rows`, `3 context switches`.
#[must_use]
pub fn plural(count: u64, noun: &str) -> String {
    let ending = match count {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", grouped(count))
}

/// `figure` as `how` writes it, or that there is none.
#[must_use]
pub fn shown<T>(figure: Option<T>, how: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(|| NOT_AVAILABLE.into(), how)
}

/// A figure of four digits, if there is one.
#[must_use]
pub fn optional(figure: Option<f64>) -> String {
    shown(figure, four_digits)
}

/// A duration in nanoseconds, if there is one.
#[must_use]
pub fn time(ns: Option<u64>) -> String {
    shown(ns, |ns| duration(ns as f64))
}

/// A share of 1 in percent, if there is one.
#[must_use]
pub fn percent(share: Option<f64>) -> String {
    shown(share, |share| format!("{:.1} %", share * 100.0))
}

/// A ratio, if there is one: `1.083 ×`.
#[must_use]
pub fn times(ratio: Option<f64>) -> String {
    shown(ratio, |ratio| format!("{} ×", four_digits(ratio)))
}

/// A figure with four significant digits or its whole part, whichever is longer: `0.9300`, `19.90`, `7,618`; never longer
/// than a column of ten, so what is below 0.00001 has a power of ten.
#[must_use]
pub fn four_digits(value: f64) -> String {
    if value.abs() >= 999.95 {
        return if value.abs() < 1e15 { grouped_signed(value.round()) } else { format!("{value:.3e}") };
    }
    if value != 0.0 && value.abs() < 1e-5 {
        return format!("{value:.3e}");
    }
    let decimals = match value.abs() {
        v if v >= 99.995 => 1,
        v if v >= 9.9995 => 2,
        v if v >= 0.1 || v == 0.0 => 3,
        v => (3 - v.log10().floor() as i32).clamp(0, 12) as usize,
    };
    format!("{value:.decimals$}")
}

fn grouped_signed(value: f64) -> String {
    format!("{}{}", if value < 0.0 { "-" } else { "" }, grouped(value.abs() as u64))
}

/// A duration in the unit that reads best: `130 ns`, `48.20 µs`, `1.500 ms`.
#[must_use]
pub fn duration(ns: f64) -> String {
    match unit_of_time(ns) {
        (_, unit) if ns < 1e3 && ns.fract() == 0.0 => format!("{ns} {unit}"),
        (scale, unit) => format!("{} {unit}", four_digits(ns / scale)),
    }
}

/// The unit that reads best for so many nanoseconds, and how many it has.
#[must_use]
pub fn unit_of_time(ns: f64) -> (f64, &'static str) {
    match ns {
        ns if ns < 1e3 => (1.0, "ns"),
        ns if ns < 1e6 => (1e3, "µs"),
        ns if ns < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}

/// Bytes in the largest binary unit that leaves a whole number: `64 B`, `4 KiB`, `24,300 KiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    let (shift, unit) = unit.unwrap_or((0, "B"));
    format!("{} {unit}", grouped(bytes >> shift))
}

/// A payload's name in the files as people read it: a frame's format, `4K frame`, or a size with its unit, `4 KiB`.
#[must_use]
pub fn payload(name: &str) -> String {
    let number = name.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    match &name[number.len()..] {
        unit if unit.ends_with('B') && !number.is_empty() => format!("{} {unit}", number.trim_end()),
        "k" => format!("{number}K frame"),
        _ => format!("{name} frame"),
    }
}

/// `text` as lines of at most [`WIDTH`] characters, the first after `first`, the others after as many blanks.
#[must_use]
pub fn wrapped(first: &str, text: &str) -> String {
    let indent = first.chars().count();
    let mut out = first.to_owned();
    let mut column = indent;
    for word in text.split_whitespace().flat_map(|word| pieces(word, WIDTH - indent)) {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(&word);
        column += length;
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// A word too long for a line, such as a QEMU argument, in pieces that fit.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let chars: Vec<char> = word.chars().filter(|c| !c.is_control()).collect();
    chars.chunks(width).map(|piece| piece.iter().collect()).collect()
}

/// A line `  key   value`, wrapped under the value.
#[must_use]
pub fn entry(key: &str, value: &str) -> String {
    wrapped(&format!("  {key:<14}"), value)
}

/// A row of a table: a name in a column of `width`, then `cells`. A name too long for it has a line of its own.
#[must_use]
pub fn named(name: &str, width: usize, cells: &str) -> String {
    let row = if name.chars().count() > width {
        format!("  {name}\n  {:width$}{cells}", "")
    } else {
        format!("  {name:<width$}{cells}")
    };
    format!("{}\n", row.trim_end())
}

/// A section's heading.
#[must_use]
pub fn heading(title: &str) -> String {
    format!("\n{}{}\n", wrapped("", title), "-".repeat(WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(plural(1, "row"), "1 row");
        assert_eq!(plural(2_000, "context switch"), "2,000 context switches");
        assert_eq!(four_digits(0.000_001_234), "1.234e-6");
        let shown: Vec<_> =
            [0.0, 0.012_34, 0.93, 1.0, 9.999_9, 19.9, 123.45, 999.99, 7618.4, 2e16].map(four_digits).into();
        assert_eq!(
            shown,
            ["0.000", "0.01234", "0.930", "1.000", "10.00", "19.90", "123.5", "1,000", "7,618", "2.000e16"]
        );
    }

    #[test]
    fn sizes_are_whole_numbers_of_their_unit() {
        let shown: Vec<_> = [0, 64, 4096, 3 << 20, 1 << 30, 24_883_200].map(size).into();
        assert_eq!(shown, ["0 B", "64 B", "4 KiB", "3 MiB", "1 GiB", "24,300 KiB"]);
    }

    #[test]
    fn a_frame_is_never_taken_for_a_size() {
        let shown = ["4k", "1080p", "4KiB", "64B", "16 MiB", "B", "4"].map(payload);
        assert_eq!(shown, ["4K frame", "1080p frame", "4 KiB", "64 B", "16 MiB", "B frame", "4 frame"]);
    }

    #[test]
    fn durations_take_the_unit_that_reads_best() {
        let shown: Vec<_> = [0.0, 130.0, 65.5, 1_000.0, 48_200.0, 1.5e6, 2e9].map(duration).into();
        assert_eq!(shown, ["0 ns", "130 ns", "65.50 ns", "1.000 µs", "48.20 µs", "1.500 ms", "2.000 s"]);
    }

    #[test]
    fn no_line_is_wider_than_the_page() {
        let text = format!("short {} words {}", "x".repeat(200), "and ".repeat(40));
        let out = entry("key", &text);
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert_eq!(out.matches('x').count(), 200);
        assert_eq!(entry("key", "\u{1b}[2J"), "  key           [2J\n");
    }
}
