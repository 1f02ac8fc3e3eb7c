//! `?pretty`: the same JSON, laid out for eyes as the engines do. Works on the text, so that nothing is re-spelt.

/// Lays out a text that is known to be JSON.
pub(crate) fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut bytes = json
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace() || *b == b' ')
        .peekable();
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' => {}
            b'"' => {
                out.push(byte);
                in_string = true;
            }
            b'{' | b'[' => {
                out.push(byte);
                // An empty one stays on its line, as the engines print it.
                if let Some(close) = bytes.next_if(|next| matches!((byte, next), (b'{', b'}') | (b'[', b']')))
                {
                    out.extend([b' ', close]);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend(b" : "),
            _ => out.push(byte),
        }
    }
    out.push(b'\n');
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_the_engines_print_it() {
        let out = pretty(br#"{"a":1.50,"b":{},"c":["x, \"{y","z"]}"#);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\n  \"a\" : 1.50,\n  \"b\" : { },\n  \"c\" : [\n    \"x, \\\"{y\",\n    \"z\"\n  ]\n}\n"
        );
    }
}
