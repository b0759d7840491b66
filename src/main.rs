//! The `cordboard` command.

fn main() -> cordboard::cli::exit::Exit {
    cordboard::cli::main()
}
