//! The classes of the file, what they derive from, and which of them is the plugin.

use std::collections::{HashMap, HashSet};

use ruff_python_ast::{Expr, StmtClassDef, StmtFunctionDef};
use ruff_text_size::TextSize;

use super::scope::{Bound, Scope};
use super::value::{Names, Refusal};

/// The classes of an SDK that mean something.
const BASE_PLUGIN: &str = "BasePlugin";
const SPECIALIZED_AGENT: &str = "BaseSpecializedAgent";
const SCOPED_AGENT: &str = "BaseScopedAgent";

/// What a class derives from, directly or through other classes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kinds {
    pub plugin: bool,
    pub specialized: bool,
    pub scoped: bool,
}

impl Kinds {
    fn with(self, other: Self) -> Self {
        Self {
            plugin: self.plugin || other.plugin,
            specialized: self.specialized || other.specialized,
            scoped: self.scoped || other.scoped,
        }
    }
}

struct Class<'a> {
    definition: &'a StmtClassDef,
    conditional: bool,
    /// Those of its bases that stand in this file, from left to right.
    bases: Vec<usize>,
    kinds: Kinds,
}

/// All classes outside of functions and other classes, in the order of the text.
pub(super) struct Classes<'a> {
    classes: Vec<Class<'a>>,
    by_start: HashMap<TextSize, usize>,
}

/// Why there is no plugin class.
pub(super) enum NoPlugin {
    None,
    /// Several that don't derive from each other: two of them.
    Several(Refusal),
    Refused(Refusal),
}

impl<'a> Classes<'a> {
    pub fn of(names: &Names<'a>) -> Self {
        let mut found = Self { classes: Vec::new(), by_start: HashMap::new() };
        for (definition, conditional) in &names.scope.classes {
            let mut class =
                Class { definition, conditional: *conditional, bases: Vec::new(), kinds: Kinds::default() };
            for base in definition.arguments.iter().flat_map(|arguments| &arguments.args) {
                class.kinds = class.kinds.with(Kinds {
                    plugin: names.refers(base, BASE_PLUGIN),
                    specialized: names.refers(base, SPECIALIZED_AGENT),
                    scoped: names.refers(base, SCOPED_AGENT),
                });
                // A base stands before what derives from it, so it has been seen, or is no class of this file.
                if let Some(index) = found.find(names, base)
                    && let Some(base) = found.classes.get(index)
                {
                    class.kinds = class.kinds.with(base.kinds);
                    class.bases.push(index);
                }
            }
            found.by_start.insert(definition.range.start(), found.classes.len());
            found.classes.push(class);
        }
        found
    }

    /// The class of this file that an expression names.
    fn find(&self, names: &Names<'a>, expression: &Expr) -> Option<usize> {
        match expression {
            Expr::Name(name) => match names.scope.once(name.id.as_str())?.bound {
                Bound::Class(class) => self.by_start.get(&class.range.start()).copied(),
                Bound::Value(_) | Bound::Function(_) | Bound::Import(_) | Bound::Other => None,
            },
            Expr::Subscript(subscript) => self.find(names, &subscript.value),
            _ => None,
        }
    }

    /// What a class of this file derives from; `None` when the expression names no such class.
    pub fn kinds(&self, names: &Names<'a>, expression: &Expr) -> Option<Kinds> {
        let class = self.classes.get(self.find(names, expression)?)?;
        Some(class.kinds)
    }

    /// The plugin class and the classes of this file that it inherits from, in the order in which Python looks
    /// for a method.
    pub fn plugin(&self) -> Result<Lineage<'a>, NoPlugin> {
        let inherited: HashSet<usize> = self
            .classes
            .iter()
            .filter(|class| class.kinds.plugin)
            .flat_map(|class| class.bases.clone())
            .collect();
        let mut last = (0..)
            .zip(&self.classes)
            .filter(|(index, class)| class.kinds.plugin && !inherited.contains(index));
        let (index, class) = last.next().ok_or(NoPlugin::None)?;
        let name = &class.definition.name;
        if let Some((_, other)) = last.next() {
            let why = format!("derives from BasePlugin, and so does {name}: one plugin, one class");
            return Err(NoPlugin::Several(Refusal::new(other.definition.name.range, why)));
        }
        if class.conditional {
            let refusal = Refusal::new(name.range, "is the plugin class and is defined inside of a block");
            return Err(NoPlugin::Refused(refusal));
        }
        self.lineage(index).map_err(NoPlugin::Refused)
    }

    fn lineage(&self, plugin: usize) -> Result<Lineage<'a>, Refusal> {
        let mut line = Vec::new();
        let mut seen = HashSet::new();
        let mut open = vec![plugin];
        while let Some(index) = open.pop() {
            let Some(class) = self.classes.get(index) else {
                continue;
            };
            // Only with a single way to each class the order is the same as Python's.
            if !seen.insert(index) {
                return Err(Refusal::new(
                    class.definition.name.range,
                    "is inherited by the plugin in two ways",
                ));
            }
            line.push((class.definition, Scope::of(&class.definition.body)));
            open.extend(class.bases.iter().rev());
        }
        Ok(Lineage(line))
    }
}

/// The plugin class first, then what it inherits from.
pub(super) struct Lineage<'a>(Vec<(&'a StmtClassDef, Scope<'a>)>);

impl<'a> Lineage<'a> {
    pub fn classes(&self) -> impl Iterator<Item = &'a StmtClassDef> {
        self.0.iter().map(|(class, _)| *class)
    }

    /// The method that a call on the plugin reaches.
    pub fn method(&self, name: &str) -> Result<Option<&'a StmtFunctionDef>, Refusal> {
        for (class, scope) in &self.0 {
            let Some(first) = scope.bindings(name).first() else {
                continue;
            };
            let once = scope.once(name).map(|binding| binding.bound);
            let Some(Bound::Function(function)) = once else {
                let why = format!("is not one plain method of {}", class.name);
                return Err(Refusal::new(first.at, why));
            };
            return Ok(Some(function));
        }
        Ok(None)
    }
}
