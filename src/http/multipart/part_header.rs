//! The headers of a part of a form: which field it is, and how its sender names the file.

use percent_encoding::percent_decode_str;

use super::{MultipartError, parameters};

/// What the headers of a part say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartHeader {
    pub field: String,
    /// Without folders. `None` when there is none, or nothing is left of it.
    pub file_name: Option<String>,
}

impl PartHeader {
    /// Reads the lines between a boundary and the empty line; the first one is empty.
    pub fn parse(lines: &[u8]) -> Result<Self, MultipartError> {
        let refuse = |why| Err(MultipartError::BadHeader(why));
        let text = String::from_utf8_lossy(lines);
        let mut disposition = None;
        for line in text.split("\r\n").filter(|line| !line.is_empty()) {
            if line.contains(|c: char| c.is_ascii_control() && c != '\t') {
                return refuse("a control character");
            }
            let Some((name, value)) = line.split_once(':') else {
                return refuse("a line without a colon");
            };
            if name.is_empty() || !name.bytes().all(parameters::is_token) {
                return refuse("a name with other characters than a header has");
            }
            if name.eq_ignore_ascii_case("content-disposition") {
                if disposition.replace(value).is_some() {
                    return refuse("Content-Disposition is there twice");
                }
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") && !is_as_it_is(value) {
                return refuse("a Content-Transfer-Encoding, which forms over HTTP do not have");
            }
        }
        match disposition {
            Some(disposition) => Self::of_disposition(disposition),
            None => refuse("Content-Disposition is missing"),
        }
    }

    fn of_disposition(value: &str) -> Result<Self, MultipartError> {
        let refuse = |why| Err(MultipartError::BadHeader(why));
        let (kind, rest) = parameters::split(value);
        if !kind.eq_ignore_ascii_case("form-data") {
            return refuse("Content-Disposition is not form-data");
        }
        let Some(mut parameters) = parameters::parse(rest) else {
            return refuse("the parameters of Content-Disposition cannot be read");
        };
        let Some(field) = parameters.remove("name") else {
            return refuse("Content-Disposition names no field");
        };
        let extended = parameters.get("filename*").and_then(|value| decode_extended(value));
        let file_name = extended.or_else(|| parameters.get("filename").map(|name| unescape(name)));
        let file_name = file_name.and_then(|name| {
            let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
            (!last.is_empty()).then(|| last.to_owned())
        });
        Ok(Self { field: unescape(&field), file_name })
    }
}

fn is_as_it_is(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|plain| encoding.trim().eq_ignore_ascii_case(plain))
}

/// Browsers escape these three in names, and nothing else.
fn unescape(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// The text of `UTF-8'language'percent-encoded` (RFC 8187).
fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<(String, Option<String>), MultipartError> {
        PartHeader::parse(lines.as_bytes()).map(|header| (header.field, header.file_name))
    }

    #[test]
    fn fields_and_file_names() {
        for (rest, field, file_name) in [
            ("name=\"file\"", "file", None),
            ("name=file; filename=a.zip", "file", Some("a.zip")),
            ("name=\"file\"; filename=\"a b.zip\"", "file", Some("a b.zip")),
            ("name=\"file\"; filename=\"a%22b%0D%0A%20.zip\"", "file", Some("a\"b\r\n%20.zip")),
            ("name=\"file\"; filename=\"a\\\"b.zip\"", "file", Some("a\"b.zip")),
            ("name=\"file\"; filename=\"plug-ïn.zip\"", "file", Some("plug-ïn.zip")),
            ("name=\"file\"; filename=\"C:\\up\\a.zip\"", "file", Some("a.zip")),
            ("name=\"file\"; filename=\"../../a.zip\"", "file", Some("a.zip")),
            ("name=\"file\"; filename=\"\"", "file", None),
            ("name=\"file\"; filename=\"a/\"", "file", None),
            ("name=\"file\"; filename=\"x\"; filename*=UTF-8''%e2%82%ac.zip", "file", Some("€.zip")),
            ("name=\"file\"; filename=\"x\"; filename*=latin1''%e9.zip", "file", Some("x")),
            ("name=\"file\"; filename*=utf-8''%ff", "file", None),
            ("name=\"a%22b\"", "a\"b", None),
        ] {
            let lines = format!("\r\ncontent-disposition: Form-Data; {rest}\r\nContent-Type: text/plain");
            assert_eq!(read(&lines), Ok((field.to_owned(), file_name.map(str::to_owned))), "{rest}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let header =
            PartHeader::parse(b"\r\nContent-Disposition: form-data; name=file; filename=\"\xe9.zip\"");
        assert_eq!(header.unwrap().file_name.as_deref(), Some("\u{fffd}.zip"));
    }

    #[test]
    fn headers_that_are_refused() {
        for (lines, why) in [
            ("", "missing"),
            ("\r\nContent-Type: text/plain", "missing"),
            ("\r\nContent-Disposition: attachment; name=\"file\"", "not form-data"),
            ("\r\nContent-Disposition: form-data", "no field"),
            ("\r\nContent-Disposition: form-data; name=\"file", "cannot be read"),
            ("\r\nContent-Disposition: form-data; name=file; name=b", "cannot be read"),
            (
                "\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=file",
                "twice",
            ),
            ("\r\nContent-Disposition form-data", "colon"),
            ("\r\nContent-Disposition : form-data; name=file", "a name"),
            ("\r\nContent-Disposition: form-data;\r\n name=file", "colon"),
            ("\r\nContent-Disposition: form-data; name=file\nX: y", "control"),
            ("\r\nContent-Disposition: form-data; name=\"file\0\"", "control"),
            (
                "\r\nContent-Disposition: form-data; name=file\r\nContent-Transfer-Encoding: base64",
                "Transfer-Encoding",
            ),
        ] {
            let Err(MultipartError::BadHeader(message)) = read(lines) else { panic!("{lines}") };
            assert!(message.contains(why), "{lines}: {message}");
        }
        let binary = "\r\nContent-Transfer-Encoding: binary\r\nContent-Disposition: form-data; name=file";
        assert!(read(binary).is_ok());
    }
}
