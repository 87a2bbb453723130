//! What the plugin class declares: its metadata, its settings and its agent.

use std::collections::BTreeMap;

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprCall, Stmt, StmtClassDef, StmtFunctionDef, StmtReturn};
use ruff_text_size::Ranged;
use serde_json::Value;

use super::classes::{Classes, Kinds, Lineage, NoPlugin};
use super::scope::{Bound, Changes, Scope};
use super::source::Source;
use super::value::{Evaluator, Names, Refusal, Site};
use crate::package::fields::{Draft, Field};
use crate::package::finding::{Findings, Place};

const PLUGIN_METADATA: &str = "PluginMetadata";
const PLUGIN_SETTINGS: &str = "plugin_settings";
const METADATA_HINT: &str = "return PluginMetadata(...) with plain arguments, or add a plugin.json";
const HINT: &str = "write a literal here, or add a plugin.json";

/// What `PluginMetadata` takes, in this order.
const PARAMETERS: [&str; 8] =
    ["pid", "name", "version", "description", "capabilities", "dependencies", "sdk_version", "stateless"];
/// What else it may be given by name and means something.
const KEYWORDS: [&str; 4] = ["tag", "entrypoint", "logo", "readme"];
/// What is declared elsewhere in the file.
const ELSEWHERE: [(&str, &str); 3] = [
    ("settings_schema", "@plugin_settings or get_settings_schema()"),
    ("is_specialized", "create_agent()"),
    ("is_scoped", "create_agent()"),
];
const REQUIRED: [&str; 4] = ["pid", "name", "version", "description"];

/// The draft of a file that says nothing that can be read, which has been found already.
pub(super) fn unreadable(place: Place) -> Draft {
    Draft { place, fields: BTreeMap::new(), unreadable: REQUIRED.into() }
}

pub(super) fn read(source: &Source, body: &[Stmt], findings: &mut Findings) -> Draft {
    let names = Names { source, scope: Scope::of(body), changes: Changes::of(body) };
    let classes = Classes::of(&names);
    let mut reader = Reader {
        evaluator: Evaluator::new(&names),
        names: &names,
        classes: &classes,
        findings,
        draft: unreadable(source.place(0.into())),
    };
    match classes.plugin() {
        Ok(lineage) => reader.read(&lineage),
        Err(NoPlugin::None) => {
            let place = Place { position: None, ..source.place(0.into()) };
            reader.findings.push(
                place
                    .error("python.class", "no class of plugin.py derives from BasePlugin")
                    .hint("derive the plugin's class from BasePlugin in this file, or add a plugin.json"),
            );
        }
        Err(NoPlugin::Several(refusal)) => {
            reader.refuse("python.class", &refusal, "move one of them to another file, or add a plugin.json");
        }
        Err(NoPlugin::Refused(refusal)) => {
            reader.refuse("python.class", &refusal, "define it once, at the top level of the file");
        }
    }
    reader.draft
}

struct Reader<'r, 'a> {
    names: &'r Names<'a>,
    classes: &'r Classes<'a>,
    evaluator: Evaluator<'r, 'a>,
    findings: &'r mut Findings,
    draft: Draft,
}

impl<'a> Reader<'_, 'a> {
    fn refuse(&mut self, rule: &'static str, refusal: &Refusal, hint: &str) {
        let Refusal { at, why } = refusal;
        let message = format!("`{}` {why}", self.names.source.snippet(*at));
        self.findings.push(self.names.source.place(at.start()).error(rule, message).hint(hint));
    }

    /// What stands where a value is needed and is none.
    fn refuse_value(&mut self, field: &str, refusal: Refusal) {
        let Refusal { at, why } = refusal;
        let message = format!("{field} cannot be read: `{}` {why}", self.names.source.snippet(at));
        self.findings
            .push(self.names.source.place(at.start()).error("python.expression", message).hint(HINT));
    }

    fn read(&mut self, lineage: &Lineage<'a>) {
        if let Err(refusal) = self.metadata(lineage) {
            self.refuse("python.metadata", &refusal, METADATA_HINT);
        }
        self.settings(lineage);
        if let Err(refusal) = self.agent(lineage) {
            self.refuse(
                "python.agent",
                &refusal,
                "return an instance of a class of this file, or state is_specialized and is_scoped in a plugin.json",
            );
        }
    }

    /// The expression that is meant by a name of the function, or of the module, that is bound once.
    fn called<'s>(
        &self,
        expression: &'a Expr,
        locals: &'s Scope<'a>,
    ) -> Result<(&'a Expr, Site<'s, 'a>), Refusal> {
        let site = Site::Function(locals);
        let Expr::Name(name) = expression else {
            return Ok((expression, site));
        };
        let text = name.id.as_str();
        if locals.bindings(text).is_empty() {
            return Ok((self.names.resolve(name, site)?, Site::Module));
        }
        match locals.once(text).map(|binding| binding.bound) {
            Some(Bound::Value(value)) if self.names.changes.get(text).is_none() => Ok((value, site)),
            _ => Err(Refusal::new(name.range, "is not bound once to what is returned")),
        }
    }

    fn metadata(&mut self, lineage: &Lineage<'a>) -> Result<(), Refusal> {
        let Some(function) = lineage.method("get_metadata")? else {
            let class = lineage.classes().next();
            let at = class.map(|class| class.name.range).unwrap_or_default();
            return Err(Refusal::new(at, "has no method get_metadata"));
        };
        let locals = Scope::of_function(function);
        let (returned, site) = self.called(only_return(function)?, &locals)?;
        let Expr::Call(call) = returned else {
            return Err(Refusal::new(returned.range(), "is not a call of PluginMetadata"));
        };
        if !self.names.refers(&call.func, PLUGIN_METADATA) {
            return Err(Refusal::new(call.func.range(), "is called where PluginMetadata is expected"));
        }
        self.draft.unreadable.clear();
        self.draft.place = self.names.source.place(call.range().start());
        for argument in self.arguments(call) {
            match argument {
                Ok((field, expression)) => self.field(field, expression, site),
                Err(refusal) => {
                    // Any field may be in what is unpacked: none is said to be missing.
                    self.draft.unreadable.extend(REQUIRED);
                    self.refuse("python.metadata", &refusal, METADATA_HINT);
                }
            }
        }
        Ok(())
    }

    /// The arguments of the call by the names of their parameters.
    fn arguments(&self, call: &'a ExprCall) -> Vec<Result<(&'a str, &'a Expr), Refusal>> {
        let refuse = |at: &dyn Ranged, why: &str| Err(Refusal::new(at.range(), why));
        let mut arguments: Vec<Result<(&str, &Expr), Refusal>> = Vec::new();
        for (index, value) in call.arguments.args.iter().enumerate() {
            arguments.push(match (value, PARAMETERS.get(index)) {
                (Expr::Starred(_), _) => refuse(value, "unpacks arguments"),
                (_, Some(name)) => Ok((name, value)),
                (_, None) => refuse(value, "is more than PluginMetadata takes without a name"),
            });
        }
        for keyword in &call.arguments.keywords {
            let name = keyword.arg.as_ref().map(|name| name.as_str());
            let twice = |name| arguments.iter().flatten().any(|(before, _)| *before == name);
            arguments.push(match name {
                None => refuse(keyword, "unpacks arguments"),
                Some(name) if twice(name) => refuse(keyword, "is given twice"),
                Some(name) => Ok((name, &keyword.value)),
            });
        }
        arguments
    }

    fn field(&mut self, name: &'a str, expression: &'a Expr, site: Site<'_, 'a>) {
        let source = self.names.source;
        let place = source.place(expression.range().start());
        if let Some((_, declared_by)) = ELSEWHERE.iter().find(|(field, _)| *field == name) {
            let message = format!("{name} is read from {declared_by}, not from PluginMetadata");
            self.findings.push(place.error("python.metadata", message));
            return;
        }
        match self.evaluator.value(expression, site) {
            Ok(value) => {
                let items = self.items(expression, site);
                self.draft.fields.insert(name.to_owned(), Field { value, place, items });
            }
            Err(refusal) => {
                let known = PARAMETERS.iter().chain(&KEYWORDS).find(|known| **known == name);
                if let Some(known) = known {
                    self.draft.unreadable.insert(known);
                    self.refuse_value(name, refusal);
                } else {
                    let message =
                        format!("{name} is left out: `{}` {}", source.snippet(refusal.at), refusal.why);
                    self.findings.push(place.warning("python.expression", message).hint(HINT));
                }
            }
        }
    }

    fn items(&self, expression: &'a Expr, site: Site<'_, 'a>) -> Vec<Place> {
        let elements = self.evaluator.elements(expression, site).iter();
        elements.map(|element| self.names.source.place(element.range().start())).collect()
    }

    /// The settings of the decorator, then those of the method.
    fn settings(&mut self, lineage: &Lineage<'a>) {
        let mut all: Option<Field> = None;
        let sources = [self.decorator(lineage), self.method(lineage)];
        for source in sources {
            match source {
                Ok(None) => {}
                Ok(Some(field)) => match &mut all {
                    None => all = Some(field),
                    Some(all) => join(all, field),
                },
                Err(refusal) => self.refuse_value("settings_schema", refusal),
            }
        }
        if let Some(field) = all {
            self.draft.fields.insert("settings_schema".to_owned(), field);
        }
    }

    fn decorator(&mut self, lineage: &Lineage<'a>) -> Result<Option<Field>, Refusal> {
        let decorators = |class: &'a StmtClassDef| {
            let called = |expression: &'a Expr| match expression {
                Expr::Call(call) => &*call.func,
                other => other,
            };
            let expressions = class.decorator_list.iter().map(|decorator| &decorator.expression);
            let ours =
                expressions.filter(|expression| self.names.refers(called(expression), PLUGIN_SETTINGS));
            ours.collect::<Vec<_>>()
        };
        let Some(found) = lineage.classes().map(decorators).find(|found| !found.is_empty()) else {
            return Ok(None);
        };
        let &[Expr::Call(call)] = found.as_slice() else {
            let at = found.last().map(|expression| expression.range()).unwrap_or_default();
            return Err(Refusal::new(at, "is not one call with a list"));
        };
        let ([list], []) = (&*call.arguments.args, &*call.arguments.keywords) else {
            return Err(Refusal::new(call.range(), "does not have one list as its only argument"));
        };
        self.list(list, Site::Module).map(Some)
    }

    fn method(&mut self, lineage: &Lineage<'a>) -> Result<Option<Field>, Refusal> {
        let Some(function) = lineage.method("get_settings_schema")? else {
            return Ok(None);
        };
        let locals = Scope::of_function(function);
        self.list(only_return(function)?, Site::Function(&locals)).map(Some)
    }

    fn list(&mut self, expression: &'a Expr, site: Site<'_, 'a>) -> Result<Field, Refusal> {
        let value = self.evaluator.value(expression, site)?;
        if !value.is_array() {
            return Err(Refusal::new(expression.range(), "is not a list"));
        }
        let place = self.names.source.place(expression.range().start());
        let mut items = self.items(expression, site);
        // Lists that are added have no elements of their own: theirs stand where the sum does.
        items.resize(value.as_array().map_or(0, Vec::len), place.clone());
        Ok(Field { value, place, items })
    }

    fn agent(&mut self, lineage: &Lineage<'a>) -> Result<(), Refusal> {
        let Some(function) = lineage.method("create_agent")? else {
            return Ok(());
        };
        let locals = Scope::of_function(function);
        let mut found: Option<Kinds> = None;
        for returned in returns(function) {
            let Some(expression) = &returned.value else {
                return Err(Refusal::new(returned.range, "returns no agent"));
            };
            let (called, _) = self.called(expression, &locals)?;
            let kinds = match called {
                Expr::Call(call) => self.classes.kinds(self.names, &call.func),
                _ => None,
            };
            let Some(kinds) = kinds else {
                return Err(Refusal::new(called.range(), "is no instance of a class of this file"));
            };
            if found.is_some_and(|found| found != kinds) {
                return Err(Refusal::new(
                    called.range(),
                    "is an agent of another kind than the one returned before",
                ));
            }
            found = Some(kinds);
        }
        let Some(kinds) = found else {
            return Err(Refusal::new(function.name.range, "never returns an agent"));
        };
        let place = self.names.source.place(function.name.range.start());
        for (field, value) in [("is_specialized", kinds.specialized), ("is_scoped", kinds.scoped)] {
            let field_value = Field { value: Value::Bool(value), place: place.clone(), items: Vec::new() };
            self.draft.fields.insert(field.to_owned(), field_value);
        }
        Ok(())
    }
}

fn join(all: &mut Field, more: Field) {
    if let (Value::Array(values), Value::Array(others)) = (&mut all.value, more.value) {
        values.extend(others);
        all.items.extend(more.items);
    }
}

/// The expression of the only `return` of a function, which must be its last statement.
fn only_return(function: &StmtFunctionDef) -> Result<&Expr, Refusal> {
    let returns = returns(function);
    let Some(first) = returns.first() else {
        return Err(Refusal::new(function.name.range, "never returns a value"));
    };
    if let Some(second) = returns.get(1) {
        return Err(Refusal::new(second.range, "is a second return"));
    }
    if !matches!(function.body.last(), Some(Stmt::Return(last)) if last.range == first.range) {
        return Err(Refusal::new(first.range, "is not the last statement of the method"));
    }
    first.value.as_deref().ok_or_else(|| Refusal::new(first.range, "returns no value"))
}

/// Every `return` of a function, without those of functions in it.
fn returns(function: &StmtFunctionDef) -> Vec<&StmtReturn> {
    let mut returns = Returns(Vec::new());
    returns.visit_body(&function.body);
    returns.0
}

struct Returns<'a>(Vec<&'a StmtReturn>);

impl<'a> Visitor<'a> for Returns<'a> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => {}
            Stmt::Return(returned) => self.0.push(returned),
            _ => visitor::walk_stmt(self, statement),
        }
    }

    fn visit_expr(&mut self, _: &'a Expr) {}
}
