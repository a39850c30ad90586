//! Makes a line safe to print: colours stay, whatever else could move a cursor or set a terminal's title becomes
//! visible instead.

/// Bytes a line's text may have.
const MAX_BYTES: usize = 64 * 1024;

/// Replaces control characters by their pictures (U+2400…), but for tabs and colour sequences, and cuts at 64 KiB.
pub(super) fn clean(mut text: String) -> String {
    if text.len() > MAX_BYTES {
        text.truncate(text.floor_char_boundary(MAX_BYTES));
    }
    let text = match text.strip_suffix('\r') {
        Some(without) => without.to_owned(),
        None => text,
    };
    if !text.contains(|c: char| c.is_control() && c != '\t') {
        return text;
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(c) = rest.chars().next() {
        let length = if c == '\x1b' { colour_length(rest) } else { 0 };
        if length > 0 {
            cleaned.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            cleaned.extend(visible(c));
            rest = &rest[c.len_utf8()..];
        }
    }
    // Pictures are longer than what they stand for.
    cleaned.truncate(cleaned.floor_char_boundary(MAX_BYTES));
    cleaned
}

/// The length of the SGR sequence (`ESC [ … m`, ECMA-48 8.3.117) that `text` begins with, or 0.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = parameters.bytes().take_while(|c| c.is_ascii_digit() || matches!(c, b';' | b':')).count();
    if parameters[digits..].starts_with('m') { digits + 3 } else { 0 }
}

fn visible(c: char) -> Option<char> {
    match c {
        '\0' => None,
        '\t' => Some(c),
        '\x7f' => Some('\u{2421}'),
        '\x01'..='\x1f' => char::from_u32(0x2400 + c as u32),
        '\u{80}'..='\u{9f}' => Some('\u{fffd}'),
        _ => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_cursor_moves_become_visible() {
        let cleaned = |text: &str| clean(text.to_owned());
        assert_eq!(cleaned("\x1b[1;31mred\x1b[0m\tx\r"), "\x1b[1;31mred\x1b[0m\tx");
        assert_eq!(cleaned("\x1b[2Jx\x1b]0;title\x07y\0z"), "␛[2Jx␛]0;title␇yz");
        assert_eq!(cleaned("10%\r20%\n"), "10%␍20%␊");
        assert_eq!(cleaned("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(cleaned("\x1b["), "␛[");
    }

    #[test]
    fn long_lines_are_cut_at_a_character() {
        assert_eq!(clean("ä".repeat(40_000)).len(), MAX_BYTES);
        assert!(clean(format!("x{}", "ä".repeat(40_000))).len() < MAX_BYTES);
        assert!(clean("\x07".repeat(MAX_BYTES)).len() <= MAX_BYTES);
    }
}
