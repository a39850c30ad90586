//! What runs in the replica when a client asks for a shell, a command or a subsystem. A client's text meets a shell only
//! there, in the sandbox that is the app's anyway.
//!
//! As sshd does it: who names no command gets a login shell, a command's shell is none.

/// Looks where Debian and others have it; the stack decides.
const SFTP: &str = r#"
for program in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server; do
  if [ -x "$program" ]; then exec "$program"; fi
done
echo "gigalixir: this stack has no sftp-server (Debian: openssh-sftp-server); scp -O and cat work without it" >&2
exit 127
"#;

/// A command line; `None` if it is no text.
pub(super) fn line(line: &[u8]) -> Option<Vec<String>> {
    let line = std::str::from_utf8(line).ok().filter(|line| !line.contains('\0'))?;
    Some(words(["bash", "-c", line]))
}

/// `sftp`; there are no others.
pub(super) fn subsystem(name: &str) -> Option<Vec<String>> {
    (name == "sftp").then(|| words(["sh", "-c", SFTP]))
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_argument() {
        assert_eq!(line(b"echo '$A' ; ls"), Some(words(["bash", "-c", "echo '$A' ; ls"])));
        assert_eq!(line(b"\xff"), None);
        assert_eq!(line(b"a\0b"), None);
        assert!(subsystem("sftp").is_some() && subsystem("netconf").is_none());
    }
}
