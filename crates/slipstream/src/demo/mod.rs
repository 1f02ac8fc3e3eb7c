//! To come.
use crate::cli::{DemoArgs, LogFormat};
use crate::failure::Failure;
pub(crate) async fn run(_args: &DemoArgs, _log: LogFormat) -> Result<(), Failure> {
    Ok(())
}
