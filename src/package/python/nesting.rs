//! How deep the code is nested, counted before it is parsed: a tree is as deep as its code, and whoever walks
//! it needs a stack as deep.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::Mode;
use ruff_python_parser::lexer::lex;
use ruff_text_size::TextSize;

/// Open brackets and f-strings at one place, and levels of indentation. Python itself allows 200 and 100.
const BRACKET_LIMIT: usize = 100;
const INDENT_LIMIT: usize = 100;
/// Tokens that may hang on each other without a bracket, as in `a.b.c`, `- - x` or `a + b + c`.
const CHAIN_LIMIT: usize = 2_000;
/// Most tokens of a file: the parser needs up to 200 bytes for each.
pub(super) const TOKEN_LIMIT: usize = 200_000;

/// Why code is not parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Size,
    Depth,
    /// A closing bracket without its opening one. A parser that goes on after such an error may nest what this
    /// count takes for closed.
    Brackets,
}

/// The first fault and where it is. That a file is too large is true of no place in it.
pub(super) fn check(text: &str) -> Option<(Fault, TextSize)> {
    let fault = scan(text)?;
    if fault == Fault::Size {
        return Some((fault, TextSize::default()));
    }
    // The lexer doesn't say where its tokens stand. A text has a fault as soon as it reaches that far.
    let (mut fine, mut faulty) = (0, text.len());
    while faulty - fine > 1 {
        let middle = fine + (faulty - fine) / 2;
        let cut = (middle..faulty).find(|at| text.is_char_boundary(*at)).unwrap_or(faulty);
        if cut == faulty {
            break;
        }
        match text.get(..cut).and_then(scan) {
            Some(_) => faulty = cut,
            None => fine = cut,
        }
    }
    let last = text.get(..faulty).and_then(|text| text.char_indices().next_back()).map_or(0, |(at, _)| at);
    Some((fault, TextSize::try_from(last).unwrap_or_default()))
}

/// One open bracket or f-string, and the code in it.
struct Frame {
    closed_by: TokenKind,
    /// Tokens since the last comma.
    chain: usize,
    /// Tokens in front of a lambda's body, which a comma between its parameters doesn't end.
    lambdas: usize,
}

impl Frame {
    fn new(closed_by: TokenKind) -> Self {
        Self { closed_by, chain: 0, lambdas: 0 }
    }
}

fn scan(text: &str) -> Option<Fault> {
    let mut lexer = lex(text, Mode::Module);
    // The first frame is the logical line and never closed.
    let mut frames = vec![Frame::new(TokenKind::EndOfFile)];
    let (mut tokens, mut indents, mut depth) = (0, 0_usize, 0);
    loop {
        let token = lexer.next_token();
        tokens += 1;
        if tokens > TOKEN_LIMIT {
            return Some(Fault::Size);
        }
        let closed_by = match token {
            TokenKind::EndOfFile => return None,
            TokenKind::Lpar => Some(TokenKind::Rpar),
            TokenKind::Lsqb => Some(TokenKind::Rsqb),
            TokenKind::Lbrace => Some(TokenKind::Rbrace),
            TokenKind::FStringStart => Some(TokenKind::FStringEnd),
            TokenKind::TStringStart => Some(TokenKind::TStringEnd),
            _ => None,
        };
        let innermost = frames.len() - 1;
        let frame = frames.get_mut(innermost)?;
        match token {
            TokenKind::Rpar
            | TokenKind::Rsqb
            | TokenKind::Rbrace
            | TokenKind::FStringEnd
            | TokenKind::TStringEnd => {
                if frame.closed_by != token {
                    return Some(Fault::Brackets);
                }
                depth -= frame.chain + frame.lambdas;
                frames.truncate(innermost);
            }
            TokenKind::Comma => {
                depth -= frame.chain;
                frame.chain = 0;
            }
            TokenKind::Newline | TokenKind::Semi if innermost == 0 => {
                depth = 0;
                *frame = Frame::new(TokenKind::EndOfFile);
            }
            TokenKind::Lambda => {
                depth += 1;
                frame.lambdas += frame.chain + 1;
                frame.chain = 0;
            }
            TokenKind::Indent => indents += 1,
            TokenKind::Dedent => indents = indents.saturating_sub(1),
            // Strings that follow each other are one flat literal.
            TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::Comment
            | TokenKind::NonLogicalNewline => {}
            _ => {
                depth += 1;
                frame.chain += 1;
            }
        }
        frames.extend(closed_by.map(Frame::new));
        if frames.len() > BRACKET_LIMIT + 1 || indents > INDENT_LIMIT || depth > CHAIN_LIMIT {
            return Some(Fault::Depth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Option<Fault> {
        check(text).map(|(fault, _)| fault)
    }

    #[test]
    fn brackets_and_blocks_are_counted() {
        for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), ("f(", ")"), ("-(", ")"), ("a[", "]")] {
            let nested = |depth: usize| format!("x = {}1{}\n", open.repeat(depth), close.repeat(depth));
            assert_eq!(fault(&nested(BRACKET_LIMIT)), None, "{open}");
            assert_eq!(fault(&nested(BRACKET_LIMIT + 1)), Some(Fault::Depth), "{open}");
        }
        let blocks = |depth: usize| {
            let lines = (0..depth).map(|level| format!("{}if x:\n", " ".repeat(level)));
            lines.chain([format!("{}pass\n", " ".repeat(depth))]).collect::<String>()
        };
        assert_eq!(fault(&blocks(INDENT_LIMIT)), None);
        assert_eq!(fault(&blocks(INDENT_LIMIT + 1)), Some(Fault::Depth));
    }

    #[test]
    fn chains_without_brackets_are_counted() {
        for link in [
            "-",
            "not ",
            "~",
            "a.",
            "a+",
            "a**",
            "a if b else ",
            "lambda: ",
            "lambda a, b: ",
            "f()",
            "a[0]",
            "a[0, 1]",
            "- lambda a, b: ",
            "a if b else lambda x, y=1: ",
            "await ",
            "a := ",
        ] {
            let chain = |length: usize| format!("x = {}a\n", link.repeat(length));
            assert_eq!(fault(&chain(100)), None, "{link}");
            assert_eq!(fault(&chain(CHAIN_LIMIT + 1)), Some(Fault::Depth), "{link}");
            assert_eq!(fault(&format!("x = [{}", chain(CHAIN_LIMIT + 1))), Some(Fault::Depth), "{link}");
        }
        // Chains within brackets within chains hang on each other.
        let comb = format!("{}1{}", "a+a+a+a+a+a+a+a+a+a+a+(".repeat(95), ")".repeat(95));
        assert_eq!(fault(&comb), Some(Fault::Depth));
    }

    #[test]
    fn what_lies_side_by_side_is_not_deep() {
        assert_eq!(fault(&format!("x = [{}]\n", "(1, {2: -3}), ".repeat(5_000))), None);
        assert_eq!(fault(&"x = a.b(c, d)[e] + f\n".repeat(5_000)), None);
        assert_eq!(fault(&format!("x = ({})\n", "'text'\n".repeat(5_000))), None);
        assert_eq!(fault(&"a = 1; ".repeat(5_000)), None);
        assert_eq!(fault(&format!("x = f'{}'\n", "{a} b ".repeat(500))), None);
    }

    #[test]
    fn brackets_that_do_not_match_are_found_where_they_are() {
        let text = "x = 1\ny = 'é' + (a]\nz = (1)\n";
        assert_eq!(
            check(text),
            Some((Fault::Brackets, TextSize::try_from(text.find(']').unwrap()).unwrap()))
        );
        assert_eq!(fault(")"), Some(Fault::Brackets));
        assert_eq!(fault("'(' # ]\n\"\"\"{\"\"\"\n"), None);
        // What is never closed the parser explains better.
        assert_eq!(fault("x = (1,\n"), None);
    }

    #[test]
    fn tokens_are_bounded() {
        assert_eq!(fault(&format!("x = [{}]\n", "0,".repeat(90_000))), None);
        assert_eq!(fault(&format!("x = [{}]\n", "0,".repeat(110_000))), Some(Fault::Size));
    }
}
