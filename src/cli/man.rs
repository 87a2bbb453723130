//! `quire man`: the man page, all commands in one.

use clap::Command;
use clap_mangen::Man;

use super::CommandError;

pub fn command() -> Command {
    Command::new("man").about("Print the man page, in roff")
}

pub fn run() -> Result<u8, CommandError> {
    let mut page = Vec::new();
    let mut whole = super::command();
    whole.build();
    Man::new(whole.clone()).render(&mut page)?;
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("quire-{}", command.get_name());
        Man::new(command.clone().name(name)).render(&mut page)?;
    }
    std::io::Write::write_all(&mut std::io::stdout(), &page)?;
    Ok(0)
}
