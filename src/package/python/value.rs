//! The values of expressions that can be known without running them.

use ruff_python_ast::{Expr, ExprName, Number as PythonNumber, Operator, StringLiteral, UnaryOp};
use ruff_text_size::{Ranged, TextRange};
use serde_json::{Map, Number, Value};

use super::scope::{Bound, Changes, Scope};
use super::source::Source;
use crate::package::plugin_json::WHOLE_NUMBER_LIMIT;

/// How deep values may lie in each other, with the names on the way to them.
const DEPTH_LIMIT: usize = 64;
/// Most bytes that all values of a file take, so that names which name each other don't multiply.
const BUDGET: usize = 4 * 1024 * 1024;
/// What an element costs beside the text in it.
const ELEMENT_COST: usize = 64;
/// What a dict costs beside its elements: it has room for eleven from the first on.
const DICT_COST: usize = 640;

/// An expression in a place that is needed, and why it cannot be read.
#[derive(Debug)]
pub(super) struct Refusal {
    pub at: TextRange,
    pub why: String,
}

impl Refusal {
    pub fn new(at: TextRange, why: impl Into<String>) -> Self {
        Self { at, why: why.into() }
    }
}

/// Where an expression stands, and so what its names mean.
#[derive(Clone, Copy)]
pub(super) enum Site<'s, 'a> {
    /// Outside of functions: a name must be bound before it is used.
    Module,
    Function(&'s Scope<'a>),
}

/// The names of the file.
pub(super) struct Names<'a> {
    pub source: &'a Source,
    pub scope: Scope<'a>,
    pub changes: Changes<'a>,
}

impl<'a> Names<'a> {
    /// The expression that a name stands for.
    pub fn resolve(&self, name: &ExprName, site: Site<'_, 'a>) -> Result<&'a Expr, Refusal> {
        let text = name.id.as_str();
        let refuse = |why: String| Err(Refusal::new(name.range, format!("{text} {why}")));
        if let Site::Function(locals) = site
            && !locals.bindings(text).is_empty()
        {
            return refuse("is a name of the function, not of the module".to_owned());
        }
        let binding = match self.scope.bindings(text) {
            [] => return refuse("is bound nowhere in this file".to_owned()),
            [binding] => binding,
            [first, second, ..] => {
                let line = |at: TextRange| self.source.line(at.start());
                let (first, second) = (line(first.at), line(second.at));
                return refuse(format!("is bound more than once, in lines {first} and {second}"));
            }
        };
        let value = match binding.bound {
            Bound::Value(value) => value,
            Bound::Import(_) => return refuse("is imported".to_owned()),
            Bound::Class(_) | Bound::Function(_) | Bound::Other => {
                return refuse("is not bound to a plain value".to_owned());
            }
        };
        if binding.conditional {
            return refuse(format!(
                "is bound inside of a block, in line {}",
                self.source.line(binding.at.start())
            ));
        }
        if let Some(at) = self.changes.get(text) {
            return refuse(format!("is changed in line {}", self.source.line(at)));
        }
        if self.scope.star_import.is_some_and(|star| star > binding.at.start()) {
            return refuse("may be bound again by a later import of *".to_owned());
        }
        if matches!(site, Site::Module) && binding.at.start() >= name.range.start() {
            return refuse("is used before it is bound".to_owned());
        }
        Ok(value)
    }

    /// Whether an expression names something of an SDK, by its own name, as an attribute of a module, or by
    /// the name that an import gave it.
    pub fn refers(&self, expression: &Expr, to: &str) -> bool {
        match expression {
            Expr::Name(name) => {
                let imported = |bound| matches!(bound, Bound::Import(original) if original == to);
                let text = name.id.as_str();
                text == to || self.scope.bindings(text).iter().any(|binding| imported(binding.bound))
            }
            Expr::Attribute(attribute) => &*attribute.attr == to && is_dotted(&attribute.value),
            Expr::Subscript(subscript) => self.refers(&subscript.value, to),
            _ => false,
        }
    }
}

fn is_dotted(mut expression: &Expr) -> bool {
    while let Expr::Attribute(attribute) = expression {
        expression = &attribute.value;
    }
    matches!(expression, Expr::Name(_))
}

/// Evaluates expressions of one file, within one budget.
pub(super) struct Evaluator<'n, 'a> {
    pub names: &'n Names<'a>,
    budget: usize,
}

/// A value of which it is still known what `+` does to it.
enum Constant {
    Plain(Value),
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
}

impl From<Constant> for Value {
    fn from(constant: Constant) -> Self {
        match constant {
            Constant::Plain(value) => value,
            Constant::Text(text) => Self::String(text),
            Constant::List(values) | Constant::Tuple(values) => Self::Array(values),
        }
    }
}

impl<'n, 'a> Evaluator<'n, 'a> {
    pub fn new(names: &'n Names<'a>) -> Self {
        Self { names, budget: BUDGET }
    }

    pub fn value(&mut self, expression: &'a Expr, site: Site<'_, 'a>) -> Result<Value, Refusal> {
        self.constant(expression, site, 0).map(Value::from)
    }

    /// The elements of a list or tuple that is written out, here or where its name is bound.
    pub fn elements(&self, expression: &'a Expr, site: Site<'_, 'a>) -> &'a [Expr] {
        let mut expression = expression;
        let mut site = site;
        for _ in 0..DEPTH_LIMIT {
            match expression {
                Expr::List(list) => return &list.elts,
                Expr::Tuple(tuple) => return &tuple.elts,
                Expr::Name(name) => match self.names.resolve(name, site) {
                    Ok(value) => (expression, site) = (value, Site::Module),
                    Err(_) => return &[],
                },
                _ => return &[],
            }
        }
        &[]
    }

    fn spend(&mut self, cost: usize, at: TextRange) -> Result<(), Refusal> {
        match self.budget.checked_sub(cost) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(Refusal::new(at, "makes the values of this file larger than 4 MiB")),
        }
    }

    fn constant(
        &mut self,
        expression: &'a Expr,
        site: Site<'_, 'a>,
        depth: usize,
    ) -> Result<Constant, Refusal> {
        let at = expression.range();
        if depth > DEPTH_LIMIT {
            return Err(Refusal::new(at, format!("is a value nested deeper than {DEPTH_LIMIT} levels")));
        }
        self.spend(ELEMENT_COST, at)?;
        let plain = |value: Value| Ok(Constant::Plain(value));
        match expression {
            Expr::NoneLiteral(_) => plain(Value::Null),
            Expr::BooleanLiteral(literal) => plain(Value::Bool(literal.value)),
            Expr::NumberLiteral(literal) => plain(number(&literal.value, false, at)?),
            Expr::UnaryOp(unary) => plain(signed(unary.op, &unary.operand, at)?),
            Expr::StringLiteral(literal) => {
                let mut text = String::new();
                for part in &literal.value {
                    self.check_escapes(part)?;
                    self.spend(part.value.len(), at)?;
                    text.push_str(&part.value);
                }
                Ok(Constant::Text(text))
            }
            Expr::List(list) => Ok(Constant::List(self.values(&list.elts, site, depth)?)),
            Expr::Tuple(tuple) => Ok(Constant::Tuple(self.values(&tuple.elts, site, depth)?)),
            Expr::Dict(dict) => {
                let mut fields = Map::new();
                if !dict.items.is_empty() {
                    self.spend(DICT_COST, at)?;
                }
                for item in &dict.items {
                    let Some(key) = &item.key else {
                        return Err(Refusal::new(item.value.range(), "unpacks another dict"));
                    };
                    let Constant::Text(text) = self.constant(key, site, depth + 1)? else {
                        return Err(Refusal::new(key.range(), "is a key that is no text"));
                    };
                    let value = self.constant(&item.value, site, depth + 1)?.into();
                    if fields.insert(text, value).is_some() {
                        return Err(Refusal::new(key.range(), "is a key that appears twice"));
                    }
                }
                plain(Value::Object(fields))
            }
            Expr::BinOp(operation) if operation.op == Operator::Add => self.sum(expression, site, depth),
            Expr::Name(name) => {
                let value = self.names.resolve(name, site)?;
                self.constant(value, Site::Module, depth + 1)
            }
            _ => Err(Refusal::new(at, kind(expression))),
        }
    }

    fn values(
        &mut self,
        elements: &'a [Expr],
        site: Site<'_, 'a>,
        depth: usize,
    ) -> Result<Vec<Value>, Refusal> {
        elements.iter().map(|element| self.constant(element, site, depth + 1).map(Value::from)).collect()
    }

    /// `a + b + c`, from the left, without a call for each `+`.
    fn sum(&mut self, expression: &'a Expr, site: Site<'_, 'a>, depth: usize) -> Result<Constant, Refusal> {
        let mut terms = Vec::new();
        let mut left = expression;
        while let Expr::BinOp(operation) = left {
            if operation.op != Operator::Add {
                break;
            }
            terms.push(&*operation.right);
            left = &operation.left;
        }
        let mut sum = self.constant(left, site, depth + 1)?;
        while let Some(term) = terms.pop() {
            match (&mut sum, self.constant(term, site, depth + 1)?) {
                (Constant::Text(sum), Constant::Text(text)) => sum.push_str(&text),
                (Constant::List(sum), Constant::List(values))
                | (Constant::Tuple(sum), Constant::Tuple(values)) => {
                    sum.extend(values);
                }
                _ => return Err(Refusal::new(expression.range(), "adds what is not two texts or two lists")),
            }
        }
        Ok(sum)
    }

    /// The parser puts another character in the place of a surrogate; nothing that is stored could hold one.
    fn check_escapes(&self, literal: &StringLiteral) -> Result<(), Refusal> {
        if literal.flags.prefix().is_raw() || !literal.value.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(());
        }
        let text = self.names.source.slice(literal.range);
        let mut rest = text;
        while let Some((_, escape)) = rest.split_once('\\') {
            let digits = match escape.as_bytes().first() {
                Some(b'u') => escape.get(1..5),
                Some(b'U') => escape.get(1..9),
                _ => None,
            };
            let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            if code.is_some_and(|code| (0xd800..0xe000).contains(&code)) {
                return Err(Refusal::new(literal.range, "holds half of a character (a surrogate)"));
            }
            let mut after = escape.chars();
            after.next();
            rest = after.as_str();
        }
        Ok(())
    }
}

fn number(number: &PythonNumber, negative: bool, at: TextRange) -> Result<Value, Refusal> {
    match number {
        PythonNumber::Int(whole) => {
            let limited = whole.as_u64().filter(|whole| *whole <= WHOLE_NUMBER_LIMIT);
            let Some(whole) = limited.and_then(|whole| i64::try_from(whole).ok()) else {
                return Err(Refusal::new(at, "is a whole number outside of ±(2^53 - 1)"));
            };
            Ok(Value::Number(Number::from(if negative { -whole } else { whole })))
        }
        PythonNumber::Float(float) => {
            let float = if negative { -float } else { *float };
            let number = Number::from_f64(float);
            number.map(Value::Number).ok_or_else(|| Refusal::new(at, "is infinite"))
        }
        PythonNumber::Complex { .. } => Err(Refusal::new(at, "is a complex number")),
    }
}

/// A number with its sign, or several.
fn signed(operator: UnaryOp, operand: &Expr, at: TextRange) -> Result<Value, Refusal> {
    let (mut operator, mut operand, mut negative) = (operator, operand, false);
    loop {
        match operator {
            UnaryOp::USub => negative = !negative,
            UnaryOp::UAdd => {}
            UnaryOp::Not | UnaryOp::Invert => return Err(Refusal::new(at, "is computed")),
        }
        match operand {
            Expr::NumberLiteral(literal) => return number(&literal.value, negative, at),
            Expr::UnaryOp(inner) => (operator, operand) = (inner.op, &inner.operand),
            _ => return Err(Refusal::new(at, "is computed")),
        }
    }
}

/// Why an expression is none of those that are evaluated.
fn kind(expression: &Expr) -> &'static str {
    match expression {
        Expr::FString(_) => "is an f-string",
        Expr::TString(_) => "is a t-string",
        Expr::BytesLiteral(_) => "is bytes, not text",
        Expr::Call(_) => "is a call",
        Expr::Attribute(_) => "is an attribute",
        Expr::Subscript(_) => "is an element of something else",
        Expr::If(_) => "depends on a condition",
        Expr::Starred(_) => "unpacks another value",
        Expr::Set(_) => "is a set",
        Expr::ListComp(_) | Expr::SetComp(_) | Expr::DictComp(_) | Expr::Generator(_) => "is a comprehension",
        Expr::EllipsisLiteral(_) => "is left open",
        Expr::Lambda(_) => "is a function",
        _ => "is computed",
    }
}
