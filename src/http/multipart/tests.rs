//! Forms in any splitting, as clients write them, and as nobody should.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=XyZ";

struct Pieces {
    pieces: VecDeque<Bytes>,
    /// What comes after the pieces.
    end: Result<(), SourceError>,
    given: Arc<AtomicUsize>,
}

#[async_trait]
impl Source for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.given.fetch_add(1, Ordering::Relaxed);
        match self.pieces.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None => self.end.map(|()| None),
        }
    }
}

fn pieces(pieces: impl IntoIterator<Item = Bytes>) -> Pieces {
    Pieces { pieces: pieces.into_iter().collect(), end: Ok(()), given: Arc::default() }
}

fn header(content_type: &str) -> HeaderValue {
    HeaderValue::from_str(content_type).unwrap()
}

type Read = Result<(Option<String>, Vec<u8>), MultipartError>;

async fn drain(file: &mut FormFile<Pieces>) -> Result<Vec<u8>, MultipartError> {
    let mut content = Vec::new();
    loop {
        match file.next().await {
            Ok(Some(piece)) => {
                assert!(!piece.is_empty());
                content.extend_from_slice(&piece);
            }
            Ok(None) => {
                assert_eq!((file.fault(), file.next().await), (None, Ok(None)));
                return Ok(content);
            }
            Err(error) => {
                assert_eq!(file.next().await, Err(error), "it stays broken");
                return Err(file.fault().unwrap());
            }
        }
    }
}

/// Nothing here ever waits, so a runtime of its own costs little.
fn read_pieces(content_type: &str, body: Pieces) -> Read {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut file = FormFile::open(Some(&header(content_type)), body).await?;
        let content = drain(&mut file).await?;
        Ok((file.name().map(str::to_owned), content))
    })
}

fn read(body: &[u8]) -> Read {
    read_pieces(TYPE, pieces([Bytes::copy_from_slice(body)]))
}

fn part(field: &str, content: &[u8]) -> Vec<u8> {
    let disposition = format!("--XyZ\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n");
    [disposition.as_bytes(), content, b"\r\n"].concat()
}

fn file(content: &[u8]) -> Vec<u8> {
    let head = "--XyZ\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.zip\"\r\n\
                Content-Type: application/zip\r\n\r\n";
    [head.as_bytes(), content, b"\r\n"].concat()
}

const END: &[u8] = b"--XyZ--\r\n";

fn found(content: &[u8]) -> Read {
    Ok((Some("a.zip".into()), content.to_vec()))
}

/// Contents that come as close to a boundary as they may.
const CONTENTS: [&[u8]; 14] = [
    b"",
    b"PK\x03\x04 a zip \x00\xff",
    b"\r\n",
    b"\r",
    b"\n",
    b"ends with a line\r\n",
    b"\r\n\r\n",
    b" --XyZ is a boundary only at the start of a line, --XyZ--",
    b"\n--XyZ--\n",
    b"\r--XyZ--\r",
    b"\r\n--XyY\r\n--Xy\r\n--xyz--\r\n-",
    b"\r\n\r\n-\r\n--\r\n--X\r\n--Xy",
    b"\r\r\n\r\n--\r\n",
    b"\r\n-- XyZ--",
];

#[test]
fn the_file_comes_out_wherever_the_body_is_split() {
    for content in CONTENTS {
        let fields = [part("tag", b"stable"), part("note", b"")];
        let body = [b"preamble\r\n", &*fields[0], &file(content), &fields[1], END, b"epilogue"].concat();
        for at in 0..=body.len() {
            let (first, second) = (Bytes::copy_from_slice(&body[..at]), Bytes::copy_from_slice(&body[at..]));
            assert_eq!(read_pieces(TYPE, pieces([first, second])), found(content), "{content:?} at {at}");
        }
        let bytes = body.iter().flat_map(|byte| [Bytes::copy_from_slice(&[*byte]), Bytes::new()]);
        assert_eq!(read_pieces(TYPE, pieces(bytes)), found(content), "{content:?} byte by byte");
    }
}

#[test]
fn forms_as_clients_write_them() {
    let empty = b"--XyZ\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n--XyZ--";
    assert_eq!(read(empty), Ok((None, vec![])), "a part without a body");
    let padded = file(b"x");
    let padded = [b"--XyZ \t \r\n", &padded[7..], b"--XyZ-- \t\r\n"].concat();
    assert_eq!(read(&padded), found(b"x"), "blanks behind a boundary");
    for end in ["--XyZ--", "--XyZ--\n", "--XyZ-- ", "--XyZ--\r\n\r\n--XyZ\r\n"] {
        assert_eq!(read(&[&*file(b"x"), end.as_bytes()].concat()), found(b"x"), "{end:?}");
    }
    let named = |name: &str, boundary: &str| {
        let body = [file(b"content"), END.to_vec()].concat();
        let body = String::from_utf8(body).unwrap().replace("XyZ", boundary);
        read_pieces(name, pieces([Bytes::from(body)]))
    };
    let long = "a".repeat(70);
    for (name, boundary) in [
        ("Multipart/Form-Data ; charset=utf-8; Boundary=\"XyZ\"", "XyZ"),
        ("multipart/form-data; boundary=----=_Part_1:2", "----=_Part_1:2"),
        ("multipart/form-data; boundary=\"a b?'()+,./=\"", "a b?'()+,./="),
        (&format!("multipart/form-data; boundary={long}"), &long),
    ] {
        assert_eq!(named(name, boundary), found(b"content"), "{name}");
    }
}

#[test]
fn content_types_that_are_refused() {
    let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
    for (content_type, error) in [
        ("application/zip", MultipartError::NotMultipart),
        ("", MultipartError::NotMultipart),
        ("multipart/mixed; boundary=XyZ", MultipartError::NotMultipart),
        ("multipart/form-data-2; boundary=XyZ", MultipartError::NotMultipart),
        ("multipart/form-data", MultipartError::NoBoundary),
        ("multipart/form-data; boundary=", MultipartError::NoBoundary),
        ("multipart/form-data; boundary=\"a \"", MultipartError::NoBoundary),
        ("multipart/form-data; boundary=a;b;boundary=c", MultipartError::NoBoundary),
        ("multipart/form-data; boundary=a; boundary=b", MultipartError::NoBoundary),
        ("multipart/form-data; boundary=\"a\\b\"", MultipartError::NoBoundary),
        (&long, MultipartError::NoBoundary),
    ] {
        let body = pieces([Bytes::from([file(b"x"), END.to_vec()].concat())]);
        let given = Arc::clone(&body.given);
        assert_eq!(read_pieces(content_type, body), Err(error), "{content_type}");
        assert_eq!(given.load(Ordering::Relaxed), 0, "nothing of the body is read");
    }
    let opened = |value: Option<HeaderValue>| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(FormFile::open(value.as_ref(), pieces([]))).map(|_| ()).unwrap_err()
    };
    assert_eq!(opened(None), MultipartError::NotMultipart);
    let bytes = HeaderValue::from_bytes(b"multipart/form-data; boundary=\xff").unwrap();
    assert_eq!(opened(Some(bytes)), MultipartError::NotMultipart);
}

#[test]
fn forms_that_are_refused() {
    let (one, end) = (file(b"content"), END.to_vec());
    let text = |text: &str| text.as_bytes().to_vec();
    let head = "Content-Disposition: form-data; name=\"file\"";
    for (what, body, error) in [
        ("no file", [part("tag", b"x"), end.clone()].concat(), MultipartError::MissingFile),
        ("no parts", end.clone(), MultipartError::MissingFile),
        ("File is another field", [part("File", b"x"), end.clone()].concat(), MultipartError::MissingFile),
        ("two files", [one.clone(), file(b"content"), end.clone()].concat(), MultipartError::SecondFile),
        (
            "two files and a field between",
            [one.clone(), part("a", b"x"), part("file", b""), end.clone()].concat(),
            MultipartError::SecondFile,
        ),
        ("nothing at all", vec![], MultipartError::Truncated),
        ("another boundary", text("--XYZ\r\n"), MultipartError::Truncated),
        ("no end", one.clone(), MultipartError::Truncated),
        ("half an end", [&*one, b"--XyZ-"].concat(), MultipartError::Truncated),
        ("no line behind the last boundary", [&*one, b"--XyZ"].concat(), MultipartError::Truncated),
        ("an end in the headers", text("--XyZ\r\nContent-Disposition: f"), MultipartError::Truncated),
        ("LF alone", text(&format!("--XyZ\n{head}\n\ncontent\n--XyZ--\n")), MultipartError::BadBoundary),
        ("no line end", [&*one, b"--XyZjunk--\r\n"].concat(), MultipartError::BadBoundary),
        ("the end of another", [&*one, b"--XyZ--2\r\n"].concat(), MultipartError::BadBoundary),
        (
            "a line of blanks",
            [b"--XyZ".to_vec(), vec![b' '; 1000], end].concat(),
            MultipartError::BadBoundary,
        ),
    ] {
        assert_eq!(read(&body), Err(error), "{what}");
        let bytes = body.iter().map(|byte| Bytes::copy_from_slice(&[*byte]));
        assert_eq!(read_pieces(TYPE, pieces(bytes)), Err(error), "{what}, byte by byte");
    }
    let Err(MultipartError::BadHeader(_)) = read(b"--XyZ\r\n\r\nno headers\r\n--XyZ--") else { panic!() };
}

#[test]
fn the_limits_hold() {
    let field = |length: usize| [part("a", &vec![b'x'; length]), file(b"x"), END.to_vec()].concat();
    assert_eq!(read(&field(FIELD_LIMIT)), found(b"x"));
    assert_eq!(read(&field(FIELD_LIMIT + 1)), Err(MultipartError::FieldTooLarge));
    let behind = [file(b"x"), part("a", &vec![b'x'; FIELD_LIMIT + 1]), END.to_vec()].concat();
    assert_eq!(read(&behind), Err(MultipartError::FieldTooLarge));
    let before = [vec![b'x'; FIELD_LIMIT + 1], file(b"x"), END.to_vec()].concat();
    assert_eq!(read(&before), Err(MultipartError::FieldTooLarge));
    let epilogue = [file(b"x"), END.to_vec(), vec![b'x'; FIELD_LIMIT]].concat();
    assert_eq!(read(&epilogue), Err(MultipartError::FieldTooLarge));

    let parts = |count: usize| [part("a", b"").repeat(count), file(b"x"), END.to_vec()].concat();
    assert_eq!(read(&parts(PARTS_LIMIT - 1)), found(b"x"));
    assert_eq!(read(&parts(PARTS_LIMIT)), Err(MultipartError::TooManyParts));
    assert_eq!(read(&parts(50_000)), Err(MultipartError::TooManyParts));
    let behind = [file(b"x"), part("a", b"").repeat(50_000)].concat();
    assert_eq!(read(&behind), Err(MultipartError::TooManyParts));

    let headers = |length: usize| {
        let form = String::from_utf8([file(b"x"), END.to_vec()].concat()).unwrap();
        let line = format!("X: {}\r\nContent-Type", "y".repeat(length));
        form.replace("Content-Type", &line).into_bytes()
    };
    let others = file(b"").len() + "X: \r\n".len() - "--XyZ\r\n\r\n\r\n".len();
    assert_eq!(read(&headers(HEADERS_LIMIT - others)), found(b"x"));
    for length in [HEADERS_LIMIT - others + 1, 10 * HEADERS_LIMIT] {
        assert_eq!(read(&headers(length)), Err(MultipartError::BadHeader("more than 16 KiB")));
        let split = headers(length).chunks(11).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        assert_eq!(read_pieces(TYPE, pieces(split)), Err(MultipartError::BadHeader("more than 16 KiB")));
    }
    let endless =
        pieces((0..100_000).map(|_| Bytes::from_static(b"--XyZ\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")));
    let given = Arc::clone(&endless.given);
    assert_eq!(read_pieces(TYPE, endless), Err(MultipartError::BadHeader("more than 16 KiB")));
    assert!(given.load(Ordering::Relaxed) < 1_000, "it is refused as soon as it is too long");
}

#[tokio::test]
async fn the_file_streams_in_the_pieces_that_came() {
    const PIECE: usize = 64 * 1024;
    let mut content = vec![b'z'; PIECE];
    content[PIECE - 5..].copy_from_slice(b"\r\n--X");
    let content = Bytes::from(content);
    let head = file(b"");
    let body = std::iter::once(Bytes::copy_from_slice(&head[..head.len() - 2]))
        .chain(std::iter::repeat_n(content, 100))
        .chain([Bytes::from_static(b"\r\n--XyZ--")]);
    let body = pieces(body);
    let given = Arc::clone(&body.given);
    let mut file = FormFile::open(Some(&header(TYPE)), body).await.unwrap();
    assert_eq!(given.load(Ordering::Relaxed), 1, "nothing is read ahead");
    let mut received = 0;
    while let Some(piece) = file.next().await.unwrap() {
        assert!(piece.len() <= PIECE + 8, "pieces are not gathered");
        received += piece.len();
        let read = given.load(Ordering::Relaxed) - 1;
        assert!(read * PIECE < received + 2 * PIECE, "no more is held than one piece");
    }
    assert_eq!(received, 100 * PIECE);
}

#[test]
fn a_source_that_breaks_is_told_apart_from_a_form_that_ends() {
    for error in [SourceError::Broken, SourceError::Stalled] {
        let whole = [file(b"content"), END.to_vec()].concat();
        for at in 0..=whole.len() {
            let mut body = pieces([Bytes::copy_from_slice(&whole[..at])]);
            body.end = Err(error);
            assert_eq!(read_pieces(TYPE, body), Err(MultipartError::Source(error)), "{at}");
        }
    }
}

/// A boundary is never part of the content, so what is generated never has it.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(b"\r\n--Xy".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"--".to_vec()),
        Just(b"XyZ".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let content = proptest::collection::vec(part, 0..30).prop_map(|parts| parts.concat());
    content.prop_filter("no boundary", |content| {
        let with_line = [b"\r\n", &**content].concat();
        memchr::memmem::find(&with_line, b"\r\n--XyZ").is_none()
    })
}

const TOKENS: &[&[u8]] =
    &[b"--XyZ", b"\r\n", b"--", b"\r\n\r\n", b" ", b"x", b"Content-Disposition: form-data; name=file"];

proptest! {
    #[test]
    fn any_content_in_any_splitting_comes_out_the_same(
        content in contents(),
        before in 0_usize..3,
        behind in 0_usize..3,
        cuts in proptest::collection::vec(0_usize..600, 0..20),
    ) {
        let fields = part("a", b"\r\n--");
        let body = [fields.repeat(before), file(&content), fields.repeat(behind), END.to_vec()].concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let split = cuts.windows(2).map(|cut| Bytes::copy_from_slice(&body[cut[0]..cut[1]]));
        prop_assert_eq!(read_pieces(TYPE, pieces(split)), found(&content));
    }

    #[test]
    fn whatever_comes_reading_ends_alike_in_one_piece_and_in_many(
        body in proptest::collection::vec(
            proptest::sample::select(TOKENS),
            0..20,
        ).prop_map(|parts| parts.concat()),
    ) {
        let bytes = body.iter().map(|byte| Bytes::copy_from_slice(&[*byte]));
        prop_assert_eq!(read_pieces(TYPE, pieces(bytes)), read(&body));
    }
}
