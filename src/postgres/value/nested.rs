//! Arrays and rows: PostgreSQL's quoting, read in one pass.
//!
//! Both functions answer `None` for text that is not of their form; what they
//! wrote until then is the caller's to take back.

use super::{Field, TypeShape, write, write_string};

/// PostgreSQL allows six dimensions.
const MAX_DIMENSIONS: usize = 6;

/// `{1,NULL,"a \"b\""}`, with an optional `[0:1]=` before it.
pub(super) fn write_array(
    element: &TypeShape,
    delimiter: u8,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    let text = match text.first() {
        Some(b'[') => {
            let at = memchr::memchr(b'=', text)?;
            text.get(at + 1..)?
        }
        _ => text,
    };
    let mut reader = Reader { rest: text };
    let mut scratch = Vec::new();
    // `None` where an element or a sub-array must follow, else one just ended.
    let mut depth = 0_usize;
    let mut after_value = false;
    loop {
        match reader.peek()? {
            b'{' if !after_value => {
                depth += 1;
                if depth > MAX_DIMENSIONS {
                    return None;
                }
                reader.bump();
                out.push(b'[');
                if reader.peek()? == b'}' {
                    after_value = true;
                }
            }
            b'}' if after_value => {
                depth = depth.checked_sub(1)?;
                reader.bump();
                out.push(b']');
                if depth == 0 {
                    return reader.rest.is_empty().then_some(());
                }
            }
            byte if after_value && byte == delimiter => {
                reader.bump();
                out.push(b',');
                after_value = false;
            }
            _ if after_value || depth == 0 => return None,
            b'"' => {
                reader.quoted(&mut scratch)?;
                write(element, &scratch, true, out);
                after_value = true;
            }
            _ => {
                let text = reader.until(|byte| byte == delimiter || byte == b'}')?;
                match text {
                    b"" => return None,
                    b"NULL" => out.extend_from_slice(b"null"),
                    _ => write(element, text, true, out),
                }
                after_value = true;
            }
        }
    }
}

/// `(1,"a ""b""",)`: an empty field is null.
pub(super) fn write_composite(fields: &[Field], text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut reader = Reader { rest: text };
    let mut scratch = Vec::new();
    reader.expect(b'(')?;
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            reader.expect(b',')?;
            out.push(b',');
        }
        write_string(field.name.as_bytes(), out);
        out.push(b':');
        if reader.peek()? == b'"' {
            reader.quoted(&mut scratch)?;
            write(&field.shape, &scratch, true, out);
        } else {
            match reader.until(|byte| byte == b',' || byte == b')')? {
                b"" => out.extend_from_slice(b"null"),
                text => write(&field.shape, text, true, out),
            }
        }
    }
    reader.expect(b')')?;
    out.push(b'}');
    reader.rest.is_empty().then_some(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[byte])?;
        Some(())
    }

    /// What comes before the first byte that `ends`, which must exist.
    fn until(&mut self, ends: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|&byte| ends(byte))?;
        let (text, rest) = self.rest.split_at(at);
        self.rest = rest;
        Some(text)
    }

    /// A quoted run. A quote within it is doubled (rows) or escaped (both).
    fn quoted(&mut self, into: &mut Vec<u8>) -> Option<()> {
        into.clear();
        self.expect(b'"')?;
        loop {
            match self.rest {
                [b'\\', byte, rest @ ..] | [b'"', byte @ b'"', rest @ ..] => {
                    into.push(*byte);
                    self.rest = rest;
                }
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(());
                }
                [b'\\'] | [] => return None,
                [byte, rest @ ..] => {
                    into.push(*byte);
                    self.rest = rest;
                }
            }
        }
    }
}
