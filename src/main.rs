//! The one binary.
use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "server")]
    {
        let mut args = std::env::args_os().skip(1);
        match args.next().as_ref().and_then(|word| word.to_str()) {
            Some("enter") => return gigalixir::server::confine::enter::main(args),
            Some("shim") => return gigalixir::server::runtime::local::shim::main(args),
            _ => {}
        }
    }
    ExitCode::SUCCESS
}
