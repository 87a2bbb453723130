//! Which names a scope binds, and which values may change after they were bound.

use std::collections::HashMap;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{
    Comprehension, ExceptHandler, Expr, ExprContext, Pattern, Stmt, StmtClassDef, StmtFunctionDef,
};
use ruff_text_size::{Ranged, TextRange, TextSize};

/// What a statement binds a name to.
#[derive(Clone, Copy)]
pub(super) enum Bound<'a> {
    Value(&'a Expr),
    Class(&'a StmtClassDef),
    Function(&'a StmtFunctionDef),
    /// `from … import name as …`: the name in the other module.
    Import(&'a str),
    /// Parameters, loops, `with`, patterns, deletion: anything else that sets a name.
    Other,
}

#[derive(Clone, Copy)]
pub(super) struct Binding<'a> {
    pub at: TextRange,
    pub bound: Bound<'a>,
    /// In a block that may run or not, once or often.
    pub conditional: bool,
}

/// The names that a module, a class or a function binds itself.
#[derive(Default)]
pub(super) struct Scope<'a> {
    names: HashMap<&'a str, Vec<Binding<'a>>>,
    /// Where the last `from … import *` stands, which may bind any name.
    pub star_import: Option<TextSize>,
    /// Classes in the order of the text.
    pub classes: Vec<(&'a StmtClassDef, bool)>,
    block: usize,
}

impl<'a> Scope<'a> {
    pub fn of(body: &'a [Stmt]) -> Self {
        let mut scope = Self::default();
        scope.visit_body(body);
        scope
    }

    pub fn of_function(function: &'a StmtFunctionDef) -> Self {
        let mut scope = Self::default();
        for parameter in function.parameters.iter() {
            scope.bind(parameter.name(), parameter.range(), Bound::Other);
        }
        scope.visit_body(&function.body);
        scope
    }

    pub fn bindings(&self, name: &str) -> &[Binding<'a>] {
        self.names.get(name).map_or(&[], Vec::as_slice)
    }

    /// The only binding of a name, if it always takes place.
    pub fn once(&self, name: &str) -> Option<&Binding<'a>> {
        match self.bindings(name) {
            [binding] if !binding.conditional => Some(binding),
            _ => None,
        }
    }

    fn bind(&mut self, name: &'a str, at: TextRange, bound: Bound<'a>) {
        let conditional = self.block > 0;
        self.names.entry(name).or_default().push(Binding { at, bound, conditional });
    }

    fn bind_target(&mut self, target: &'a Expr, value: &'a Expr) {
        match target {
            Expr::Name(name) => self.bind(name.id.as_str(), name.range, Bound::Value(value)),
            _ => self.visit_expr(target),
        }
    }
}

impl<'a> Visitor<'a> for Scope<'a> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            // What stands in their bodies is bound there.
            Stmt::FunctionDef(function) => {
                for decorator in &function.decorator_list {
                    self.visit_decorator(decorator);
                }
                self.visit_parameters(&function.parameters);
                self.bind(&function.name, function.name.range, Bound::Function(function));
            }
            Stmt::ClassDef(class) => {
                for decorator in &class.decorator_list {
                    self.visit_decorator(decorator);
                }
                if let Some(arguments) = &class.arguments {
                    self.visit_arguments(arguments);
                }
                self.bind(&class.name, class.name.range, Bound::Class(class));
                self.classes.push((class, self.block > 0));
            }
            Stmt::Assign(assign) => {
                self.visit_expr(&assign.value);
                for target in &assign.targets {
                    self.bind_target(target, &assign.value);
                }
            }
            // Without a value it says a type and binds nothing.
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    self.visit_expr(value);
                    self.bind_target(&assign.target, value);
                }
            }
            Stmt::Import(import) => {
                for alias in &import.names {
                    let module = alias.name.split('.').next().unwrap_or_default();
                    let name = alias.asname.as_ref().map_or(module, |name| name.as_str());
                    self.bind(name, alias.range, Bound::Other);
                }
            }
            Stmt::ImportFrom(import) => {
                for alias in &import.names {
                    if &*alias.name == "*" {
                        self.star_import = Some(alias.range.start());
                    } else {
                        let name = alias.asname.as_ref().unwrap_or(&alias.name);
                        self.bind(name, alias.range, Bound::Import(&alias.name));
                    }
                }
            }
            Stmt::If(_) | Stmt::For(_) | Stmt::While(_) | Stmt::With(_) | Stmt::Try(_) | Stmt::Match(_) => {
                self.block += 1;
                visitor::walk_stmt(self, statement);
                self.block -= 1;
            }
            _ => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        match expression {
            Expr::Name(name) if matches!(name.ctx, ExprContext::Store | ExprContext::Del) => {
                self.bind(name.id.as_str(), name.range, Bound::Other);
            }
            Expr::Lambda(lambda) => {
                if let Some(parameters) = &lambda.parameters {
                    self.visit_parameters(parameters);
                }
            }
            _ => visitor::walk_expr(self, expression),
        }
    }

    // The targets of a comprehension are names of its own.
    fn visit_comprehension(&mut self, comprehension: &'a Comprehension) {
        self.visit_expr(&comprehension.iter);
        for condition in &comprehension.ifs {
            self.visit_expr(condition);
        }
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(inner) = handler;
        if let Some(name) = &inner.name {
            self.bind(name, name.range, Bound::Other);
        }
        visitor::walk_except_handler(self, handler);
    }

    fn visit_pattern(&mut self, pattern: &'a Pattern) {
        let name = match pattern {
            Pattern::MatchAs(pattern) => pattern.name.as_ref(),
            Pattern::MatchStar(pattern) => pattern.name.as_ref(),
            Pattern::MatchMapping(pattern) => pattern.rest.as_ref(),
            _ => None,
        };
        if let Some(name) = name {
            self.bind(name, name.range, Bound::Other);
        }
        visitor::walk_pattern(self, pattern);
    }
}

/// Methods that change a list or a dict.
const CHANGING: [&str; 11] = [
    "append",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "update",
];

/// Names whose value is changed, or that are bound from elsewhere, anywhere in the file.
#[derive(Default)]
pub(super) struct Changes<'a>(HashMap<&'a str, TextSize>);

impl<'a> Changes<'a> {
    pub fn of(body: &'a [Stmt]) -> Self {
        let mut changes = Self::default();
        changes.visit_body(body);
        changes
    }

    /// Where the value of a name is first changed.
    pub fn get(&self, name: &str) -> Option<TextSize> {
        self.0.get(name).copied()
    }

    fn change(&mut self, expression: &'a Expr) {
        if let Some((name, at)) = root(expression) {
            self.0.entry(name).or_insert(at);
        }
    }
}

/// The name at the start of `name.a[b].c`.
fn root(mut expression: &Expr) -> Option<(&str, TextSize)> {
    loop {
        expression = match expression {
            Expr::Name(name) => return Some((name.id.as_str(), name.range.start())),
            Expr::Attribute(attribute) => &attribute.value,
            Expr::Subscript(subscript) => &subscript.value,
            _ => return None,
        };
    }
}

impl<'a> Visitor<'a> for Changes<'a> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let Stmt::Global(global) = statement {
            for name in &global.names {
                self.0.entry(name.as_str()).or_insert(name.range.start());
            }
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        let sets = |context: ExprContext| matches!(context, ExprContext::Store | ExprContext::Del);
        match expression {
            Expr::Attribute(attribute) if sets(attribute.ctx) => self.change(expression),
            Expr::Subscript(subscript) if sets(subscript.ctx) => self.change(expression),
            Expr::Call(call) => {
                if let Expr::Attribute(method) = &*call.func
                    && CHANGING.contains(&method.attr.as_str())
                {
                    self.change(&method.value);
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}
