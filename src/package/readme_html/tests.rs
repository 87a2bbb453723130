//! What becomes of Markdown, that nothing harmful comes through, and that hostile texts cost little.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn html(text: &str) -> String {
    let files = ["docs/a.md", "img/logo.png"];
    readme_html("README.md", text, &|path| files.contains(&path).then(|| format!("/f/{path}?a=1&b=2")))
}

const TAGS: &[&str] = &[
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
    "var",
];
const ATTRIBUTES: &[&str] = &[
    "align", "alt", "class", "colspan", "height", "href", "id", "open", "rel", "rowspan", "src", "start",
    "title", "width",
];

/// Reads what comes out, which is far more regular than HTML: every `<` is a known tag with quoted attributes, and
/// every element ends inside of the one in which it begins.
fn assert_regular(html: &str) {
    let mut open = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "{html}");
        let (tag, behind) = rest[at + 1..].split_once('>').expect("a tag ends");
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{html}");
            continue;
        }
        let (name, mut attributes) = tag.split_at(tag.find(' ').unwrap_or(tag.len()));
        assert!(TAGS.contains(&name), "<{name}> in {html}");
        while !attributes.is_empty() {
            let (attribute, after) = attributes[1..].split_once("=\"").expect("a value in quotes");
            let (value, after) = after.split_once('"').expect("a quote that ends");
            attributes = after;
            assert!(ATTRIBUTES.contains(&attribute), "{attribute} in {html}");
            let allowed = match attribute {
                "href" => ["#user-content-", "/f/", "http:", "https:", "mailto:"]
                    .iter()
                    .any(|start| value.to_lowercase().starts_with(start)),
                "src" => value.starts_with("/f/"),
                "id" => value.starts_with("user-content-"),
                "class" => name == "code" && value.starts_with("language-"),
                _ => true,
            };
            assert!(allowed, "{attribute}={value} in {html}");
            let leaves = attribute == "href" && !value.starts_with(['#', '/']);
            assert!(!leaves || tag.contains(" rel=\"nofollow noopener noreferrer\""), "{html}");
        }
        if !["br", "hr", "img"].contains(&name) {
            open.push(name);
        }
    }
    assert!(!rest.contains('>') && open.is_empty(), "{open:?} in {html}");
}

/// A browser's parser sees nothing else either: a sanitiser that knows what may come out finds as much as one
/// that lets everything through.
fn assert_nothing_to_remove(html: &str) {
    let dangerous = [
        "script", "style", "iframe", "object", "embed", "form", "input", "button", "svg", "math", "template",
        "noscript", "textarea", "select", "option", "base", "link", "meta", "title", "video", "audio",
        "source",
    ];
    let known: HashSet<&str> = TAGS.iter().copied().collect();
    let schemes = HashSet::from(["http", "https", "mailto"]);
    let mut strict = ammonia::Builder::empty();
    strict.tags(known.clone()).generic_attributes(ATTRIBUTES.iter().copied().collect());
    strict.url_schemes(schemes.clone()).rm_clean_content_tags(["script", "style"]);
    // The sanitiser sets `rel` by itself only when it may not come from the text.
    strict.link_rel(None).url_relative(ammonia::UrlRelative::PassThrough);
    let strict = strict.clean(html).to_string();
    let mut open = ammonia::Builder::empty();
    open.tags(known.into_iter().chain(dangerous).collect()).rm_clean_content_tags(["script", "style"]);
    open.add_generic_attribute_prefixes(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"]);
    open.add_generic_attribute_prefixes(["n", "o", "p", "q", "r", "s", "t", "u", "v", "w", "x", "y", "z"]);
    open.url_schemes(schemes.into_iter().chain(["javascript", "data", "vbscript", "file", "ftp"]).collect());
    open.link_rel(None).url_relative(ammonia::UrlRelative::PassThrough);
    assert_eq!(open.clean(html).to_string(), strict, "{html}");
}

#[test]
fn markdown_and_what_github_adds() {
    for (markdown, expected) in [
        (
            "# One *two*\n\n# One two",
            "<h1 id=\"user-content-one-two\">One <em>two</em></h1>\n<h1 id=\"user-content-one-two-1\">One two</h1>\n",
        ),
        (
            "a\nb\\\nc **d** ~~e~~ `<f>`",
            "<p>a\nb<br>c <strong>d</strong> <del>e</del> <code>&lt;f&gt;</code></p>\n",
        ),
        ("> quote\n\n---", "<blockquote><p>quote</p>\n</blockquote>\n<hr>"),
        ("```rust ignore\nfn a() {}\n```", "<pre><code class=\"language-rust\">fn a() {}\n</code></pre>\n"),
        ("```\"><b>\n&\n```", "<pre><code>&amp;\n</code></pre>\n"),
        ("- a\n- b", "<ul><li>a</li>\n<li>b</li>\n</ul>\n"),
        ("3. a\n\n   b", "<ol start=\"3\"><li><p>a</p>\n<p>b</p>\n</li>\n</ol>\n"),
        ("- [x] done\n- [ ] not", "<ul><li>☑ done</li>\n<li>☐ not</li>\n</ul>\n"),
        (
            "|a|b|\n|:-:|-|\n|c|d|",
            "<table><thead><tr><th align=\"center\">a</th>\n<th>b</th>\n</tr>\n</thead>\n\
             <tr><td align=\"center\">c</td>\n<td>d</td>\n</tr>\n</table>\n",
        ),
        (
            "a[^n]\n\n[^n]: note",
            "<p>a<sup><a href=\"#user-content-fn-1\">1</a></sup></p>\n\
             <div id=\"user-content-fn-1\"><sup>1</sup><p>note</p>\n</div>\n",
        ),
    ] {
        assert_eq!(html(markdown), expected, "{markdown}");
    }
}

#[test]
fn links_and_images() {
    const REL: &str = "rel=\"nofollow noopener noreferrer\"";
    for (markdown, expected) in [
        (
            "[a](https://e.com/?b&c \"t\\\"\")",
            format!("<a href=\"https://e.com/?b&amp;c\" {REL} title=\"t&#34;\">a</a>"),
        ),
        ("<https://e.com>", format!("<a href=\"https://e.com\" {REL}>https://e.com</a>")),
        ("<a@e.com>", format!("<a href=\"mailto:a@e.com\" {REL}>a@e.com</a>")),
        ("[a](docs/a.md#B)", "<a href=\"/f/docs/a.md?a=1&amp;b=2#user-content-B\">a</a>".into()),
        ("[a](docs/b.md)", "a".into()),
        ("[a](#b)", "<a href=\"#user-content-b\">a</a>".into()),
        ("[a](javascript:b)", "a".into()),
        (
            "![a *b*](img/logo.png 'c')",
            "<img src=\"/f/img/logo.png?a=1&amp;b=2\" alt=\"a b\" title=\"c\">".into(),
        ),
        ("![a](img/absent.png)", "a".into()),
        ("![a](https://e.com/a.png)", format!("<a href=\"https://e.com/a.png\" {REL}>a</a>")),
        ("![](https://e.com/a.png)", format!("<a href=\"https://e.com/a.png\" {REL}>image</a>")),
        ("![a ![b](c) d](//e.com/a.png)", "a b d".into()),
        ("![a](data:image/png;base64,AAAA)", "a".into()),
        ("[![a](https://e.com/a.png)](https://e.com)", format!("<a href=\"https://e.com\" {REL}>a</a>")),
        (
            "x <img src='https://e.com/a.png' alt='a'>",
            format!("x <a href=\"https://e.com/a.png\" {REL}>a</a>"),
        ),
        (
            "x <img src=img/logo.png width=120 height=\"50%\" style=x onerror=y>",
            "x <img src=\"/f/img/logo.png?a=1&amp;b=2\" alt=\"\" width=\"120\" height=\"50%\">".into(),
        ),
        ("x <a href='https://e.com' target=_blank>b</a>", format!("x <a href=\"https://e.com\" {REL}>b</a>")),
        ("x <a href='vbscript:x'>b</a>", "x b".into()),
        ("x <a name=top></a>", "x <a id=\"user-content-top\"></a>".into()),
    ] {
        assert_eq!(html(markdown), format!("<p>{expected}</p>\n"), "{markdown}");
    }
}

#[test]
fn html_that_authors_write() {
    for (markdown, expected) in [
        ("a<br>b<BR/>c", "<p>a<br>b<br>c</p>\n"),
        ("<kbd>Ctrl</kbd>&nbsp;<sub>x", "<p><kbd>Ctrl</kbd>\u{a0}<sub>x</sub></p>\n"),
        ("<b>a **c</b> d**", "<p><b>a <strong>c d</strong></b></p>\n"),
        ("<h1 align=\"center\">A &amp; B</h1>", "<h1 align=\"center\">A &amp; B</h1>\n"),
        (
            "<details open><summary>s</summary>\n\n- a\n\n</details>\n\nb",
            "<details open=\"\"><summary>s</summary>\n\n<ul><li>a</li>\n</ul>\n</details>\n\n<p>b</p>\n",
        ),
        (
            "<table><tr><td colspan=2>a<td>b<tr><th>c</table>",
            "<table><tr><td colspan=\"2\">a</td>\n<td>b</td>\n</tr>\n<tr><th>c</th>\n</tr>\n</table>\n",
        ),
        ("<td>a</td><li>b</li>", "ab"),
        ("> <div>\n> a\n\nb</div>", "<blockquote><div>\na\n</div>\n</blockquote>\n<p>b</p>\n"),
        ("<div><b>a\n\nb</b></div>", "<div><b>a\n</b><p>b</p>\n</div>\n"),
        ("<p>a<div>b</div>", "<p>a</p>\n<div>b</div>\n"),
        ("<!-- a\n\nb -->c", "c"),
        ("a <!-- b --> c <? d ?> e", "<p>a  c  e</p>\n"),
        ("<font color=red>a</font> <center>b</center>", "<p>a b</p>\n"),
        ("1 < 2 && 3 > 2", "<p>1 &lt; 2 &amp;&amp; 3 &gt; 2</p>\n"),
        ("<script>\nalert(1 < 2)\n</SCRIPT >a", "a"),
        ("<style>a { b: c }</style>\n\nd", "\n<p>d</p>\n"),
    ] {
        assert_eq!(html(markdown), expected, "{markdown}");
        assert_regular(&html(markdown));
    }
}

#[test]
fn what_is_no_markdown_is_shown_as_it_is() {
    let none = |_: &str| None;
    for path in ["README.rst", "README.txt", "README", "docs.md/README", "readme.html"] {
        let expected = "<pre># &lt;b&gt; &amp; &#34;</pre>\n";
        assert_eq!(readme_html(path, "# <b> & \"", &none), expected, "{path}");
    }
    for path in ["README.md", "a/b.MD", "readme.Markdown"] {
        assert_eq!(readme_html(path, "a", &none), "<p>a</p>\n", "{path}");
    }
    assert!(html(&">".repeat(101)).starts_with("<pre>&gt;&gt;"));
    assert!(html(&">".repeat(100)).starts_with("<blockquote>"));
}

#[test]
fn no_more_comes_out_than_may() {
    let many = "[](docs/a.md)".repeat(120_000);
    assert!(html(&many).starts_with("<pre>[](docs"));
    let few = "[](docs/a.md)".repeat(50_000);
    assert!(html(&few).starts_with("<p><a href="));
    let rows = format!("{}\n{}\n{}", "|a".repeat(2_000), "|-".repeat(2_000), "|\n".repeat(20_000));
    assert!(html(&rows).len() <= 5 * rows.len());
}

#[test]
fn elements_are_not_nested_deep() {
    let deep = |html: &str| {
        let mut depth: usize = 0;
        let mut deepest = 0;
        for part in html.split('<').skip(1).filter(|part| !part.starts_with("br")) {
            depth = if part.starts_with('/') { depth - 1 } else { depth + 1 };
            deepest = deepest.max(depth);
        }
        deepest
    };
    for text in [
        ">".repeat(100) + "a",
        "- ".repeat(50) + "a",
        "(*a".repeat(500) + &"a*)".repeat(500),
        "<div>".repeat(500) + "a",
        "a <b>".repeat(500),
        "<table><tr><td>".repeat(500),
        "<div>\n\n".repeat(500) + "a",
        (0..45).map(|depth| " ".repeat(2 * depth) + "- <div>\n").collect::<String>() + "a",
    ] {
        let html = html(&text);
        assert!((10..=64).contains(&deep(&html)), "{} in {html}", deep(&html));
        assert!(html.contains('a'));
        assert_regular(&html);
    }
}

/// Ways to run a script, to load something, or to change the page.
const ATTACKS: &[&str] = &[
    "<script>alert(1)</script>",
    "<ScRiPt src=//e.com/x.js>",
    "<script\n>alert(1)//",
    "<<script>alert(1)//<</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<svg><script>alert(1)</script></svg>",
    "<svg/onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<math><mi//xlink:href=\"data:x,<script>alert(1)</script>\">",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<template><script>alert(1)</script></template>",
    "<img src=x onerror=alert(1)>",
    "<img/src=`x`onerror=alert(1)>",
    "<img src=\"x\"\"onerror=alert(1)>",
    "<img src=\"docs/a.md\" alt=\"\" onerror=alert(1)\">",
    "<img src='docs/a.md' alt='\"><script>alert(1)</script>'>",
    "<img srcset='https://e.com/a 1x' src=docs/a.md>",
    "<IMG SRC=\"jav\tascript:alert(1);\">",
    "<img src=\"&#106;avascript:alert(1)\">",
    "<a href=\"javascript:alert(1)\">a</a>",
    "<a href=\" &#14; javascript:alert(1)\">a</a>",
    "<a href=\"java&#115;cript:alert(1)\">a</a>",
    "<a href=javascript&colon;alert(1)>a</a>",
    "<a href=\"&amp;#106;avascript:alert(1)\">a</a>",
    "<a href='https://e.com' onclick='alert(1)' style='x:y'>a</a>",
    "<a href=\"https://e.com&quot; onclick=&quot;alert(1)\">a</a>",
    "<a href=\"https://e.com\" title='\" onmouseover=\"alert(1)'>a</a>",
    "<a href=/a onclick=alert(1)//=\">\">a</a>",
    "<a <a href=javascript:alert(1)>a",
    "<iframe src=\"https://e.com\"></iframe>",
    "<iframe srcdoc=\"<script>alert(1)</script>\">",
    "<object data=x><embed src=y><applet code=z>",
    "<form action=\"https://e.com\"><input name=a><button formaction=javascript:alert(1)>b</button>",
    "<input onfocus=alert(1) autofocus>",
    "<textarea><img src=x onerror=alert(1)></textarea>",
    "<select><option><style></option></select><img src=x onerror=alert(1)></style>",
    "<title></title><img src=x onerror=alert(1)>",
    "<plaintext><xmp><listing>",
    "<base href=\"https://e.com/\">",
    "<link rel=stylesheet href=https://e.com/a.css>",
    "<meta http-equiv=refresh content='0;url=https://e.com'>",
    "<style>@import 'https://e.com/a.css'</style>",
    "<div style=\"background:url(https://e.com)\" class=x id=y>a</div>",
    "<div id=\"x\" onmouseover=alert(1)>a</div>",
    "<body onload=alert(1)><html onclick=alert(1)><frameset onload=alert(1)>",
    "<video src=x onerror=alert(1)><audio src=x><source onerror=alert(1)>",
    "<details open ontoggle=alert(1)>a</details>",
    "<table background=\"https://e.com/a.png\"><td background=x>",
    "<marquee onstart=alert(1)>a</marquee>",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "<!--><script>alert(1)</script>-->",
    "<!-- --!><img src=x onerror=alert(1)>-->",
    "<![CDATA[><script>alert(1)</script>]]>",
    "<?xml ><script>alert(1)</script>?>",
    "<!DOCTYPE x [<!ENTITY a \"<script>\">]>",
    "</p></div></body><script>alert(1)</script>",
    "[a](javascript:alert(1))",
    "[a](<javascript:alert(1)>)",
    "[a](JAVASCRIPT:alert(1))",
    "[a](javascript&#58;alert(1))",
    "[a](&#x6A;avascript:alert(1))",
    "[a](java\\script:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](vbscript:alert(1))",
    "[a](//e.com)",
    "[a](/\\e.com)",
    "[a](https://e.com \"\\\" onmouseover=alert(1) x=\\\"\")",
    "[a](https://e.com/\"onmouseover=alert(1)//)",
    "[a](docs/a.md#\"onmouseover=alert(1)//)",
    "[a]\n\n[a]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "![a](javascript:alert(1))",
    "![a\" onerror=\"alert(1)](img/logo.png)",
    "![a](https://e.com/a.png\"onerror=\"alert(1))",
    "![a](img/logo.png \"b\\\" onerror=\\\"alert(1)\")",
    "![<script>alert(1)</script>](img/logo.png)",
    "```\"onclick=alert(1)\na\n```",
    "```</code></pre><script>\na\n```",
    "    </code></pre><script>alert(1)</script>",
    "`</code><script>alert(1)</script>`",
    "# <img src=x onerror=alert(1)> \" onclick=alert(1)",
    "# a {#b onclick=alert(1)}",
    "[^\"onclick=alert(1)]\n\n[^\"onclick=alert(1)]: a",
    "|<script>|\n|-|\n|<img src=x onerror=alert(1)>|",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<b title=\"&lt;script&gt;\">&lt;script&gt;</b>",
];

#[test]
fn attacks_come_to_nothing() {
    for attack in ATTACKS {
        for text in [attack.to_string(), format!("a {attack} b"), format!("> - {attack}\n>\n> <div>{attack}")]
        {
            let html = html(&text);
            assert_regular(&html);
            assert_nothing_to_remove(&html);
        }
    }
}

/// The two opinions do find something when there is something.
#[test]
fn the_checks_find_what_they_look_for() {
    for bad in
        ["<script>a</script>", "<a onclick=\"b\">c</a>", "<img src=\"https://e.com\">", "<svg><b></b></svg>"]
    {
        assert!(std::panic::catch_unwind(|| assert_regular(bad)).is_err(), "{bad}");
    }
    for bad in
        ["<script>a</script>", "<a onclick=\"b\">c</a>", "<a href=\"javascript:b\">c</a>", "<svg></svg>"]
    {
        assert!(std::panic::catch_unwind(|| assert_nothing_to_remove(bad)).is_err(), "{bad}");
    }
}

/// Each would take long, much memory or much stack if anything about it were more than linear.
#[test]
fn hostile_texts_of_the_largest_size_end_soon() {
    let size = 1 << 20;
    let fill = |unit: &str, size: usize| unit.repeat(size / unit.len());
    let then = |first: &str, second: &str| fill(first, size / 2) + &fill(second, size / 2);
    let steps = |unit: &str| {
        let lines = (0..700).map(|depth| " ".repeat(2 * depth) + unit + "\n");
        lines.collect::<String>() + &fill("a\n", size / 2)
    };
    let reaching = (0..100).map(|depth| " ".repeat(depth) + "- a\n").collect::<String>() + &fill("a\n", size);
    let texts = [
        (">", fill(">", size)),
        ("> then lines", then("> ", "a\n")),
        ("- then lines", then("- ", "a\n")),
        ("- then empty lines", then("- ", "a\n\n")),
        ("items in steps", steps("- a")),
        ("items up to the limit", reaching),
        ("quotes in a footnote", "[^a]: ".to_owned() + &then(">", "a\n")),
        ("[", fill("[", size)),
        ("![", fill("![", size)),
        ("[ then ](a)", then("[", "](a)")),
        ("[a](", fill("[a](", size)),
        ("(*a then a*)", then("(*a", "a*)")),
        ("*_", fill("*_", size)),
        ("`a``b```", fill("`a``b```", size)),
        ("<", fill("<", size)),
        ("<b>", fill("<b>", size)),
        ("a <b>", "a ".to_owned() + &fill("<b>", size)),
        ("<b id=x><p>", then("<b id=x>", "<p>")),
        ("<div> then </div>", then("<div>", "</div>")),
        ("<div>, lines between", fill("<div>\n\n", size)),
        ("<table>", fill("<table><tr><td>", size)),
        ("<a", fill("<a", size)),
        ("<a b='", fill("<a b='", size)),
        ("<div> <!--", "<div>".to_owned() + &fill("<!--", size)),
        ("<div> <script>", "<div>".to_owned() + &fill("<script></", size)),
        ("<div> attributes", "<div ".to_owned() + &fill("a ", size) + ">"),
        ("<!--", fill("<!--", size)),
        ("<?", fill("<?", size)),
        ("# a", fill("# a\n", size)),
        ("footnotes", fill("[^a]", size) + "\n\n[^a]: b"),
        ("references", format!("[a]: {}\n\n{}", fill("x", size / 2), fill("[a]", size / 2))),
        (
            "a wide table",
            format!("{}\n{}\n{}", fill("|a", 1 << 18), fill("|-", 1 << 18), fill("|\n", 1 << 19)),
        ),
        ("&", fill("&", size)),
    ];
    for (name, text) in texts {
        let begun = Instant::now();
        let html = html(&text);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{name} took {took:?}");
        assert!(html.len() <= 5 * text.len().max(size) + 100, "{name} gives {} bytes", html.len());
        if std::env::var_os("QUIRE_SOAK").is_some() {
            eprintln!("{name}: {took:?}, {} bytes", html.len());
        }
    }
}

const TOKENS: &[&str] = &[
    "<",
    ">",
    "\"",
    "'",
    "=",
    "/",
    "&",
    ";",
    "`",
    "*",
    "_",
    "~~",
    "[",
    "]",
    "(",
    ")",
    "!",
    "#",
    "|",
    "-",
    "\n",
    "\n\n",
    " ",
    "    ",
    "\t",
    "\\",
    "\0",
    "<!--",
    "-->",
    "<?",
    "]]>",
    "a",
    "javascript:",
    "https://e.com",
    "docs/a.md",
    "img/logo.png",
    "onerror=x",
    " href=",
    " src=",
    "<script>",
    "</script>",
    "<style>",
    "<svg ",
    "<math>",
    "<img ",
    "<a ",
    "</a>",
    "<b>",
    "</b>",
    "<div>",
    "</div>",
    "<p>",
    "<table>",
    "<tr>",
    "<td>",
    "</table>",
    "<li>",
    "<ul>",
    "<details>",
    "<summary>",
    "<pre>",
    "<code>",
    "</p>",
    "<br>",
    "&lt;",
    "&#60;",
    "&quot;",
    "|-|-|\n",
    "[^a]",
    "[^a]: ",
    "[a]: ",
    "](",
    "![",
    "> ",
    "- ",
    "1. ",
    "- [x] ",
    "```",
    "<title>",
    "<textarea>",
    "<noscript>",
    "<h1>",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_harmful_comes_out(tokens in proptest::collection::vec(proptest::sample::select(TOKENS), 0..40)) {
        let html = html(&tokens.concat());
        assert_regular(&html);
        assert_nothing_to_remove(&html);
    }

    #[test]
    fn nor_from_any_text(text in "\\PC{0,60}", attack in proptest::sample::select(ATTACKS), at in 0_usize..60) {
        let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
        let html = html(&[&text[..at], attack, &text[at..]].concat());
        assert_regular(&html);
        assert_nothing_to_remove(&html);
    }
}
