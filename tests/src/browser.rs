//! A headless Chromium, driven as a person would use it: over `WebDriver`, the protocol of Debian's `chromedriver`.
//!
//! Nothing outside of the machine is asked, and everything that a page asks for is in the browser's log, so that a test can
//! tell.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_testkit::client::{Es, eventually};
use tempfile::TempDir;

use crate::agents::free_port;

/// How long the browser may take to start, and a page to become what is waited for.
const PATIENCE: Duration = Duration::from_mins(1);
/// The name of the reference to an element in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window. Ends when it is dropped.
pub struct Browser {
    driver: Child,
    client: Es,
    session: String,
    profile: TempDir,
}

/// Where pictures of the pages are put, to be looked at by people: `page-screenshots` in the target folder.
///
/// # Panics
/// If the folder cannot be made.
pub fn pictures() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let target = test.ancestors().nth(3).map(Path::to_path_buf).unwrap_or_default();
    let folder = target.join("page-screenshots");
    std::fs::create_dir_all(&folder).expect("a folder for pictures");
    folder
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// If it does not start: `scripts/prepare.sh browser` installs it.
    pub async fn start() -> Browser {
        let profile = tempfile::Builder::new()
            .prefix("slipstream-browser-")
            .tempdir()
            .expect("a folder");
        let port = free_port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            // A group of its own, so that the browser ends with its driver.
            .process_group(0)
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver: `scripts/prepare.sh browser` installs it");
        let mut browser = Browser {
            driver,
            client: Es::new(&format!("http://127.0.0.1:{port}")),
            session: String::new(),
            profile,
        };
        let client = browser.client.clone();
        eventually("chromedriver is ready", PATIENCE, async || {
            match client.try_get("/status").await {
                Ok((200, answer)) if answer["value"]["ready"] == true => Ok(()),
                Ok((_, answer)) => Err(answer.to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        let data = browser.profile.path().join("data");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1280,900",
        ]
        .map(str::to_owned);
        let arguments: Vec<String> = arguments
            .into_iter()
            .chain([format!("--user-data-dir={}", data.display())])
            .collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let (status, answer) = client.post("/session", &wanted).await;
        assert_eq!(status, 200, "{answer}");
        let session = answer["value"]["sessionId"].as_str();
        session.expect("a session").clone_into(&mut browser.session);
        browser
    }

    async fn tell(&self, path: &str, body: Value) -> Value {
        self.try_tell(path, body)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn try_tell(&self, path: &str, body: Value) -> Result<Value, String> {
        let (status, answer) = self
            .client
            .post(&format!("/session/{}{path}", self.session), &body)
            .await;
        if status == 200 {
            Ok(answer["value"].clone())
        } else {
            Err(answer["value"]["message"].as_str().unwrap_or_default().to_owned())
        }
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        self.tell("/url", json!({ "url": url })).await;
    }

    /// Runs a script in the page and returns what it returns.
    ///
    /// # Panics
    /// If it fails.
    pub async fn run(&self, script: &str) -> Value {
        self.tell("/execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    async fn element(&self, css: &str) -> Result<String, String> {
        let found = json!({ "using": "css selector", "value": css });
        let element = self.try_tell("/element", found).await?;
        Ok(element[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    /// The text of an element, as it is shown; nothing if there is none, or it does not show.
    pub async fn text(&self, css: &str) -> String {
        let script = format!(
            "const node = document.querySelector({}); return node?.checkVisibility() ? node.innerText : ''",
            json!(css)
        );
        self.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of an element, as it is shown, has all of these words.
    pub async fn shows(&self, css: &str, words: &[&str]) -> String {
        eventually(&format!("`{css}` shows {words:?}"), PATIENCE, async || {
            let text = self.text(css).await;
            if words.iter().all(|word| text.contains(word)) {
                Ok(text)
            } else {
                Err(text)
            }
        })
        .await
    }

    /// Waits until a script returns `true`.
    pub async fn becomes(&self, what: &str, script: &str) {
        eventually(what, PATIENCE, async || match self.run(script).await {
            Value::Bool(true) => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
    }

    /// Clicks on an element, once it is there and nothing covers it.
    pub async fn click(&self, css: &str) {
        eventually(&format!("`{css}` can be clicked"), PATIENCE, async || {
            let element = self.element(css).await?;
            self.try_tell(&format!("/element/{element}/click"), json!({}))
                .await
        })
        .await;
    }

    /// Types into what has the focus, as the keyboard would; the characters `\u{e000}` and up are the protocol's keys.
    pub async fn keys(&self, text: &str) {
        let strokes: Vec<Value> = text
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.tell("/actions", json!({ "actions": [keyboard] })).await;
    }

    /// A command of Chromium's own.
    pub async fn command(&self, command: &str, parameters: Value) -> Value {
        self.tell(
            "/goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
        .await
    }

    /// Gives the window a size, as of a desk or a telephone.
    pub async fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// What the reader prefers: `dark` or `light`.
    pub async fn prefers(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    /// Takes a picture of the whole page for people to look at.
    ///
    /// # Panics
    /// If it cannot be kept.
    pub async fn picture(&self, name: &str) {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.command("Page.captureScreenshot", whole).await;
        let bytes = decode(taken["data"].as_str().unwrap_or_default());
        assert!(bytes.starts_with(b"\x89PNG"), "no picture came");
        std::fs::write(pictures().join(format!("{name}.png")), bytes).expect("the picture");
    }

    /// What the console said since it was asked last, one line each.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.tell("/se/log", json!({ "type": "browser" })).await;
        let line = |entry: &Value| format!("{} {}", entry["level"], entry["message"]);
        entries.as_array().into_iter().flatten().map(line).collect()
    }

    /// The addresses that pages asked for since the last time; the browser's own first window is none.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.tell("/se/log", json!({ "type": "performance" })).await;
        let url = |entry: &Value| {
            let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &event["message"];
            let page = event["params"]["documentURL"].as_str().unwrap_or_default();
            (event["method"] == "Network.requestWillBeSent" && page.starts_with("http"))
                .then(|| event["params"]["request"]["url"].as_str().map(str::to_owned))?
        };
        entries.as_array().into_iter().flatten().filter_map(url).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver's group, and the browser, which makes a group of its own: found by the profile that only it has.
        let mine = self.profile.path().display().to_string();
        let _ = Command::new("kill")
            .args(["-KILL", "--", &format!("-{}", self.driver.id())])
            .status();
        let _ = self.driver.wait();
        for pid in processes_with(&mine) {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

/// The processes that have a text in their command lines.
fn processes_with(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text)
        })
        .collect()
}

/// Base64, which pictures come in.
fn decode(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::with_capacity(text.len() / 4 * 3));
    for value in text.bytes().filter_map(value) {
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_read() {
        assert_eq!(decode("aGVsbG8="), b"hello");
        assert_eq!(decode("+/A="), [0xfb, 0xf0]);
    }
}
