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
    render_below(&whole, "quire", &mut page)?;
    std::io::Write::write_all(&mut std::io::stdout(), &page)?;
    Ok(0)
}

fn render_below(parent: &Command, name: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("{name}-{}", command.get_name());
        Man::new(command.clone().name(name.clone())).render(page)?;
        render_below(command, &name, page)?;
    }
    Ok(())
}
