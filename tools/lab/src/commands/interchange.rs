//! `peregrine-lab import` and `export`: tensors to and from other programs, under PyTorch's names.

use peregrine_node::commands::print;
use peregrine_node::exit::{Exit, Failure};
use peregrine_train::{export_state_dict, import_state_dict};

use crate::cli::{ExportArgs, ImportArgs};
use crate::commands::{not_trained, read, write};

pub(super) fn import(args: &ImportArgs) -> Result<Exit, Failure> {
    let artefact = import_state_dict(&read(&args.file)?, &read(&args.template)?).map_err(not_trained)?;
    write(&args.out, &artefact)?;
    print(&format!("{}\n", args.out.display()))?;
    Ok(Exit::Done)
}

pub(super) fn export(args: &ExportArgs) -> Result<Exit, Failure> {
    let state_dict = export_state_dict(&read(&args.file)?).map_err(not_trained)?;
    write(&args.out, &state_dict)?;
    print(&format!("{}\n", args.out.display()))?;
    Ok(Exit::Done)
}
