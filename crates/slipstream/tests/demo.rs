//! The demo is the first thing that anybody runs.

mod process;

use process::{Running, http, run};

#[test]
fn the_walkthrough_comes_out() {
    let (code, stdout, stderr) = run(&["demo"]);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    for step in 1..=8 {
        assert!(stdout.contains(&format!("\n{step}. ")), "{stdout}");
    }
    assert!(
        stdout.contains("403: index [follower-01] blocked by:"),
        "{stdout}"
    );
    assert!(
        stdout.contains("All eight steps came out as they should"),
        "{stdout}"
    );
}

#[test]
fn it_stays_up_when_asked_to_and_ends_in_order() {
    let mut demo = Running::start(&["demo", "--serve"]);
    let gateway = demo.printed(|line| {
        line.trim()
            .strip_prefix("status page")
            .map(|url| url.trim().to_owned())
    });
    let (status, page) = http("GET", &format!("{gateway}_slipstream/v1/indices/live-01"), None);
    assert_eq!(status, 200);
    assert!(page.contains("SYNCING"), "{page}");
    demo.signal("INT");
    assert_eq!(demo.end().code(), Some(0));
}
