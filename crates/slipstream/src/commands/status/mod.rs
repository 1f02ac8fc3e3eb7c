//! `slipstream status`: once, or again and again until somebody has seen enough.
//!
//! On a terminal `--watch` is a live table. Anywhere else it prints a line an index and look, with the time, so that what
//! was watched can be searched; `--json` prints the gateway's answer, one object a line.

mod live;
mod pace;
mod table;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use self::pace::Paces;
pub(crate) use self::pace::copied;
use crate::cli::StatusArgs;
use crate::client::{Gateway, Index, read};
use crate::failure::Failure;
use crate::output;

/// How often `--watch` looks.
const LOOK: Duration = Duration::from_secs(2);

/// Shows one index or all. An index that does not follow, or has failed, makes the command fail.
pub(crate) async fn run(args: &StatusArgs, as_json: bool) -> Result<(), Failure> {
    let gateway = Gateway::at(&args.gateway)?;
    let index = args.index.as_deref();
    if args.watch {
        watch(&gateway, index, as_json).await;
    }
    let answer = ask(&gateway, index).await?;
    output::data(&if as_json {
        answer.to_string()
    } else {
        let text = match index {
            Some(_) => table::one(&read(&answer)?, None),
            None => table::all(&indices(&answer)?, None),
        };
        output::paint(&text, output::coloured())
    });
    match index {
        Some(index) if answer["phase"] == "FAILED" => Err(Failure::failed(format!(
            "{index} has failed: {}",
            answer["reason"].as_str().unwrap_or("no reason given")
        ))
        .advise(format!("mend the cause, then `slipstream resume {index}`"))),
        _ => Ok(()),
    }
}

/// Looks until the process is ended.
async fn watch(gateway: &Gateway, index: Option<&str>, as_json: bool) -> ! {
    let (mut paces, mut screen) = (Paces::default(), live::Screen::open());
    loop {
        let looked = look(gateway, index).await;
        match (looked, &mut screen) {
            (Ok((answer, _)), _) if as_json => output::data(&answer.to_string()),
            // Whoever watches wants to see it come back.
            (Err(failure), _) if as_json => output::aside(&failure.object().to_string()),
            (Ok((_, found)), screen) => {
                paces.see(&found, Instant::now());
                match screen {
                    Some(screen) => screen.show(&live::Looked {
                        gateway,
                        one: index.is_some(),
                        found: &found,
                        paces: &paces,
                    }),
                    None => found
                        .iter()
                        .for_each(|index| output::data(&table::line(index, &paces))),
                }
            }
            (Err(failure), Some(screen)) => screen.trouble(&failure.text()),
            (Err(failure), None) => output::aside(&failure.text()),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(gateway: &Gateway, index: Option<&str>) -> Result<(Value, Vec<Index>), Failure> {
    let answer = ask(gateway, index).await?;
    let found = match index {
        Some(_) => vec![read(&answer)?],
        None => indices(&answer)?,
    };
    Ok((answer, found))
}

async fn ask(gateway: &Gateway, index: Option<&str>) -> Result<Value, Failure> {
    match index {
        None => gateway.indices().await,
        Some(index) => gateway.index(index).await?.ok_or_else(|| {
            Failure::failed(format!("{index} does not follow any index")).advise(format!(
                "start it: slipstream start {index} --leader ALIAS --leader-index NAME"
            ))
        }),
    }
}

fn indices(answer: &Value) -> Result<Vec<Index>, Failure> {
    let found = answer["indices"].as_array();
    found.into_iter().flatten().map(read).collect()
}
