//! The OpenAPI document says what is served and how it can be answered. Every answer that any test of the surface gets to a call
//! of the gateway's own is compared with it ([`knows`]), so a status that the code can give and the document does not name shows.

use std::sync::LazyLock;

use super::*;

/// One call as the document has it.
struct Call {
    method: String,
    path: String,
    statuses: BTreeSet<String>,
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(observe::OPENAPI).unwrap());

static CALLS: LazyLock<Vec<Call>> = LazyLock::new(|| {
    let mut calls = Vec::new();
    for (path, operations) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys();
            calls.push(Call {
                method: method.to_uppercase(),
                path: path.clone(),
                statuses: statuses.cloned().collect(),
            });
        }
    }
    calls
});

fn fits(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let same =
        |(wanted, found): (&&str, &&str)| wanted == found || (wanted.starts_with('{') && !found.is_empty());
    template.len() == path.len() && template.iter().zip(&path).all(same)
}

/// That the document names this answer, if it is to a call of the gateway's own.
pub(super) fn knows(method: &Method, path: &str, status: StatusCode) {
    let mut calls = CALLS.iter();
    let call = calls.find(|call| call.method == method.as_str() && fits(&call.path, path));
    let Some(Call { statuses, .. }) = call else {
        return;
    };
    assert!(
        statuses.contains(status.as_str()) || statuses.contains("default"),
        "{method} {path} is answered with {status}, which openapi.json does not name: {statuses:?}"
    );
}

#[tokio::test]
async fn the_document_lists_exactly_what_is_served() {
    let (_, served) = Bench::new(None)
        .send("GET", "/_slipstream/v1/openapi.json", "")
        .await;
    assert_eq!(served, *DOCUMENT);
    let documented: BTreeSet<String> = CALLS
        .iter()
        .map(|call| format!("{} {}", call.method, call.path))
        .collect();
    let served: BTreeSet<String> = routes::all()
        .iter()
        .flat_map(|route| {
            let methods = route.methods.iter();
            methods.map(|method| format!("{} {}", method.to_uppercase(), route.path))
        })
        .collect();
    assert_eq!(documented, served);
    let text = observe::OPENAPI;
    for (at, _) in text.match_indices("\"#/") {
        let pointer = text[at + 2..].split('"').next().unwrap();
        assert!(DOCUMENT.pointer(pointer).is_some(), "{pointer}");
    }
}

/// What stands in front of the routes refuses in the same ways everywhere, so each call has to name those.
#[test]
fn every_call_names_what_can_be_refused_in_front_of_it() {
    for call in CALLS.iter() {
        let path = crate::access::needs::shortened(&call.path);
        let (.., role) = crate::access::needs::NEEDS
            .iter()
            .find(|(method, known, ..)| method.eq_ignore_ascii_case(&call.method) && *known == path)
            .unwrap();
        let mut all = vec!["200", "400", "403"];
        if role.is_some() {
            all.extend(["401", "503"]);
        }
        if call.method != "GET" {
            all.extend(["406", "408", "413", "415", "500"]);
        }
        for status in all {
            assert!(
                call.statuses.contains(status),
                "{} {}: {status}",
                call.method,
                call.path
            );
        }
        let open = DOCUMENT["paths"][&call.path][call.method.to_lowercase()]["security"] == json!([]);
        assert_eq!(open, role.is_none(), "{} {}", call.method, call.path);
    }
}
