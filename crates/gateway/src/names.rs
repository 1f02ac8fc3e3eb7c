//! Which names an index may have, in the engines' words.

/// What is wrong with an index's name; empty if nothing is.
pub(crate) fn faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.is_empty() {
        faults.push("index name is missing".to_owned());
    }
    if name.contains(|c: char| " \"*\\<|,>/?".contains(c) || c.is_control()) {
        faults.push(format!(
            "Value {name} must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]"
        ));
    }
    if name.contains(['#', ':']) {
        faults.push(format!("Value {name} must not contain '#' or ':'"));
    }
    if name.starts_with(['_', '-', '+']) {
        faults.push(format!("Value {name} must not start with '_' or '-' or '+'"));
    }
    if name.starts_with('.') {
        faults.push(format!("Value {name} must not start with '.'"));
    }
    if name.len() > 255 {
        faults.push(format!("Value {name} must not be longer than 255 bytes"));
    }
    if name.chars().any(char::is_uppercase) {
        faults.push(format!("Value {name} must be lowercase"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_pass() {
        for name in ["a", "leader-01", "logs_2026.01", "größe", &"x".repeat(255)] {
            assert_eq!(faults(name), Vec::<String>::new());
        }
    }

    #[test]
    fn each_fault_has_its_text() {
        for (name, fault) in [
            ("", "index name is missing"),
            ("F1", "Value F1 must be lowercase"),
            (".f1", "Value .f1 must not start with '.'"),
            ("_f", "Value _f must not start with '_' or '-' or '+'"),
            ("a:b", "Value a:b must not contain '#' or ':'"),
            (
                "l*",
                "Value l* must not contain the following characters [ , \", *, \\, <, |, ,, >, /, ?]",
            ),
        ] {
            assert_eq!(faults(name), [fault]);
        }
        assert_eq!(faults(&"é".repeat(128)).len(), 1);
    }
}
