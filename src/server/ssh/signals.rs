//! Signals by name, as ssh has them (RFC 4254 6.10), and by number, as Linux has them.

use russh::Sig;

const SIGNALS: [(&str, i32); 13] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("ABRT", 6),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

/// The number; `None` for a name that ssh does not know.
pub(super) fn number(signal: &Sig) -> Option<i32> {
    let name = match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(name) => name,
    };
    SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The name; others than those of the RFC are told as OpenSSH tells them, `SIG@openssh.com`.
pub(super) fn name(number: i32) -> Sig {
    let name = SIGNALS.iter().find(|(_, known)| *known == number).map(|(name, _)| *name);
    Sig::Custom(name.unwrap_or("SIG@openssh.com").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        for (_, number) in SIGNALS {
            assert_eq!(super::number(&name(number)), Some(number));
        }
        assert_eq!(number(&Sig::TERM), Some(15));
        assert_eq!(number(&Sig::Custom("WINCH".into())), None);
        assert!(matches!(name(31), Sig::Custom(name) if name == "SIG@openssh.com"));
    }
}
