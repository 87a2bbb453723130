//! The ways in which authors write plugins, and what hostile files try.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::package::finding::{Finding, Severity};

fn said(text: &str) -> (Draft, Vec<Finding>) {
    let (draft, findings) = read("p/plugin.py", text.as_bytes().to_vec()).unwrap();
    (draft, findings.into_vec())
}

/// The fields of a file that nothing is found about.
#[track_caller]
fn fields(text: &str) -> Value {
    let (draft, findings) = said(text);
    assert_eq!(findings, [], "{text}");
    draft
        .fields
        .into_iter()
        .map(|(name, field)| (name, field.value))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Rule and message of each finding.
fn found(text: &str) -> Vec<(&'static str, String)> {
    said(text).1.into_iter().map(|finding| (finding.rule, finding.message)).collect()
}

/// The only finding.
#[track_caller]
fn refused(text: &str, rule: &str, message: &str) {
    let found = found(text);
    assert_eq!(found.len(), 1, "{found:#?}\n{text}");
    assert_eq!((found[0].0, found[0].1.as_str()), (rule, message), "{text}");
}

/// A plugin whose metadata has these arguments, in line 4 from column 31 on.
fn with(arguments: &str) -> String {
    format!(
        "from sdk import BasePlugin, PluginMetadata\nclass P(BasePlugin):\n    def get_metadata(self):\n        return PluginMetadata({arguments})\n"
    )
}

fn value(expression: &str) -> Value {
    fields(&with(&format!("name={expression}")))["name"].clone()
}

#[track_caller]
fn refused_value(expression: &str, why: &str) {
    let text = with(&format!("name={expression}"));
    let found = found(&text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].0, "python.expression");
    assert!(found[0].1.starts_with("plugin.py:4:"), "{}", found[0].1);
    assert!(found[0].1.ends_with(why), "{}", found[0].1);
}

#[test]
fn a_plain_plugin() {
    let text = r#"
"""A plugin."""
from __future__ import annotations

import logging
from typing import Any, Optional

from sdk.plugins import BasePlugin, PluginMetadata

logger = logging.getLogger(__name__)


class HelloPlugin(BasePlugin):
    """Says hello."""

    enabled: bool = True

    def __init__(self, config: Optional[dict[str, Any]] = None) -> None:
        super().__init__(config)
        self._agent = None

    @classmethod
    def get_metadata(cls) -> PluginMetadata:
        """What this is."""
        logger.debug("asked")
        return PluginMetadata(
            pid="com.example.hello",
            name="Hello",
            version="1.0.0",
            description="Says hello.",
            capabilities=["greet", "chat"],
            dependencies=[],
            stateless=False,
        )
"#;
    assert_eq!(
        fields(text),
        json!({"pid": "com.example.hello", "name": "Hello", "version": "1.0.0", "description": "Says hello.",
            "capabilities": ["greet", "chat"], "dependencies": [], "stateless": false})
    );
}

#[test]
fn positional_arguments_in_their_order() {
    assert_eq!(
        fields(&with(r#""a.b", "N", "1.0", "D", ("c",), [], ">=1", False, tag="t""#)),
        json!({"pid": "a.b", "name": "N", "version": "1.0", "description": "D", "capabilities": ["c"],
            "dependencies": [], "sdk_version": ">=1", "stateless": false, "tag": "t"})
    );
    let found = found(&with(r#""a.b", "N", "1.0", "D", [], [], "", True, "more", pid="c.d""#));
    assert_eq!(found.len(), 2);
    assert!(found[0].1.ends_with("`\"more\"` is more than PluginMetadata takes without a name"));
    assert!(found[1].1.ends_with("`pid=\"c.d\"` is given twice"));
}

#[test]
fn constants_and_concatenation() {
    let text = r#"
from sdk import BasePlugin, PluginMetadata
PID = "com.example." + "hello"
VERSION: str = '1.' "0"
NAME, = ("x",)
LONG = ("First line. "
        'Second line. '
        r"Raw\n." """
Last.""" + "\n" + VERSION)
CAPS = ["a", PID] + ["b"]
DEPS = ()
class P(BasePlugin):
    def get_metadata(self):
        return PluginMetadata(PID, "n", VERSION, LONG, CAPS, DEPS + ("c",))
"#;
    let fields = fields(text);
    assert_eq!(fields["pid"], "com.example.hello");
    assert_eq!(fields["version"], "1.0");
    assert_eq!(fields["description"], "First line. Second line. Raw\\n.\nLast.\n1.0");
    assert_eq!(fields["capabilities"], json!(["a", "com.example.hello", "b"]));
    assert_eq!(fields["dependencies"], json!(["c"]));
}

#[test]
fn literals_of_every_kind() {
    for (expression, expected) in [
        ("'a'", json!("a")),
        ("u'a'", json!("a")),
        ("None", json!(null)),
        ("-1", json!(-1)),
        ("+1_000", json!(1000)),
        ("- - 0x_ff", json!(255)),
        ("0b11", json!(3)),
        ("1.5e3", json!(1500.0)),
        ("-.5", json!(-0.5)),
        ("9007199254740991", json!(9_007_199_254_740_991_u64)),
        ("[1, (2, None), {'a': [True]}]", json!([1, [2, null], {"a": [true]}])),
        ("('a')", json!("a")),
        ("()", json!([])),
        ("{}", json!({})),
        (
            r"'\x41\u00e9\U0001F600\N{BULLET}\101\n\q\
'",
            json!("AéA\n".replace('é', "é😀•") + "\\q"),
        ),
        (r"'\\ud800 \ufffd'", json!("\\ud800 \u{fffd}")),
        (r"r'\ud800'", json!("\\ud800")),
    ] {
        assert_eq!(value(expression), expected, "{expression}");
    }
}

#[test]
fn what_is_not_evaluated() {
    for (expression, why) in [
        ("f'a'", "`f'a'` is an f-string"),
        ("'a' f'{b}'", "`'a' f'{b}'` is an f-string"),
        ("b'a'", "`b'a'` is bytes, not text"),
        ("str(1)", "`str(1)` is a call"),
        ("'a'.upper()", "`'a'.upper()` is a call"),
        ("os.environ['X']", "`os.environ['X']` is an element of something else"),
        ("self.NAME", "`self.NAME` is an attribute"),
        ("'a' if x else 'b'", "`'a' if x else 'b'` depends on a condition"),
        ("'a' % 1", "`'a' % 1` is computed"),
        ("'a' * 1000000000", "`'a' * 1000000000` is computed"),
        ("x or 'a'", "`x or 'a'` is computed"),
        ("not True", "`not True` is computed"),
        ("~1", "`~1` is computed"),
        ("-True", "`-True` is computed"),
        ("-'a'", "`-'a'` is computed"),
        ("1j", "`1j` is a complex number"),
        ("1 + 2", "`1 + 2` adds what is not two texts or two lists"),
        ("[1] + (2,)", "`[1] + (2,)` adds what is not two texts or two lists"),
        ("{1, 2}", "`{1, 2}` is a set"),
        ("[x for x in y]", "`[x for x in y]` is a comprehension"),
        ("[*a]", "`*a` unpacks another value"),
        ("{**a}", "`a` unpacks another dict"),
        ("{1: 2}", "`1` is a key that is no text"),
        ("{'a': 1, 'a': 2}", "`'a'` is a key that appears twice"),
        ("...", "`...` is left open"),
        ("lambda: 'a'", "`lambda: 'a'` is a function"),
        ("(a := 'b')", "`a := 'b'` is computed"),
        ("1e999", "`1e999` is infinite"),
        ("9007199254740992", "`9007199254740992` is a whole number outside of ±(2^53 - 1)"),
        (r"'\ud800'", r"`'\ud800'` holds half of a character (a surrogate)"),
        (r"'\ud83d\ude00'", r"`'\ud83d\ude00'` holds half of a character (a surrogate)"),
        (r"'\U0000DC00'", r"`'\U0000DC00'` holds half of a character (a surrogate)"),
        ("__name__", "`__name__` __name__ is bound nowhere in this file"),
    ] {
        refused_value(expression, why);
    }
}

#[test]
fn names_must_be_bound_once_and_for_good() {
    for (module, why) in [
        ("import N", "is not bound to a plain value"),
        ("from m import N", "is imported"),
        ("from m import x as N", "is imported"),
        ("N = 'a'\nN = 'b'", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\nN += 'b'", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\ndel N", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\nfor N in x: pass", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\nwith x as N: pass", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\ntry: pass\nexcept E as N: pass", "is bound more than once, in lines 1 and 3"),
        ("N = 'a'\nx = (N := 'b')", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\nx = [N := y for y in z]", "is bound more than once, in lines 1 and 2"),
        ("N = 'a'\nmatch x:\n  case [*N]: pass", "is bound more than once, in lines 1 and 3"),
        ("N = 'a'\nmatch x:\n  case {**N}: pass", "is bound more than once, in lines 1 and 3"),
        ("N = 'a'\nmatch x:\n  case C() as N: pass", "is bound more than once, in lines 1 and 3"),
        ("if x:\n  N = 'a'", "is bound inside of a block, in line 2"),
        ("try:\n  N = 'a'\nexcept E:\n  N = 'b'", "is bound more than once, in lines 2 and 4"),
        ("N: str", "is bound nowhere in this file"),
        ("N, M = 'a', 'b'", "is not bound to a plain value"),
        ("def N(): pass", "is not bound to a plain value"),
        ("N = 'a'\ndef f():\n  global N\n  N = 'b'", "is changed in line 3"),
        ("N = ['a']\nN.append('b')", "is changed in line 2"),
        ("N = ['a']\ndef f():\n  N[0] = 'b'", "is changed in line 3"),
        ("N = {'a': {}}\nN['a']['b'] = 1", "is changed in line 2"),
        ("N = {'a': []}\nN['a'].extend('b')", "is changed in line 2"),
        ("N = ['a']\ndel N[0]", "is changed in line 2"),
        ("N = ['a']\nN[0] += 'b'", "is changed in line 2"),
        ("N = 'a'\nfrom m import *", "may be bound again by a later import of *"),
    ] {
        let found = found(&format!("{module}\n{}", with("name=N")));
        assert_eq!(found.len(), 1, "{module}: {found:#?}");
        assert!(
            found[0].1.ends_with(&format!("name cannot be read: `N` N {why}")),
            "{module}: {}",
            found[0].1
        );
    }
    for module in [
        "from m import *\nN = 'a'",
        "N = M = 'a'",
        "N: Final = 'a'",
        "N = 'a'\nx = [N for N in y]\nf = lambda N: N\ndef g(N): N = 'b'\nclass C:\n  N = 'c'",
        "N = 'a'\nM = N.upper()",
    ] {
        assert_eq!(fields(&format!("{module}\n{}", with("name=N")))["name"], "a", "{module}");
    }
    // The order counts outside of functions, and only there.
    assert_eq!(fields(&format!("{}\nN = 'a'", with("name=N")))["name"], "a");
    refused(
        &format!("N = M\nM = 'a'\n{}", with("name=N")),
        "python.expression",
        "plugin.py:1:5: name cannot be read: `M` M is used before it is bound",
    );
}

#[test]
fn names_of_the_function_are_not_those_of_the_module() {
    let text = "N = 'a'\nclass P(BasePlugin):\n  def get_metadata(self):\n    N = 'b'\n    return PluginMetadata(name=N)\n";
    refused(
        text,
        "python.expression",
        "plugin.py:5:32: name cannot be read: `N` N is a name of the function, not of the module",
    );
    let text = "N = 'a'\nclass P(BasePlugin):\n  def get_metadata(self, N='c'):\n    return PluginMetadata(name=N)\n";
    assert!(found(text)[0].1.ends_with("N is a name of the function, not of the module"));
    // Names of the class are not seen from a method.
    let text = "N = 'a'\nclass P(BasePlugin):\n  N = 'b'\n  def get_metadata(self):\n    return PluginMetadata(name=N)\n";
    assert_eq!(fields(text)["name"], "a");
}

#[test]
fn the_call_may_have_a_name() {
    let body = |lines: &str| format!("class P(BasePlugin):\n  def get_metadata(self):\n{lines}");
    assert_eq!(fields(&body("    m = PluginMetadata(name='a')\n    return m\n"))["name"], "a");
    assert_eq!(fields(&format!("M = PluginMetadata(name='a')\n{}", body("    return M\n")))["name"], "a");
    assert_eq!(fields(&body("    import sdk\n    return sdk.x.PluginMetadata(name='a')\n"))["name"], "a");
    for (lines, message) in [
        (
            "    m = PluginMetadata()\n    m.name = 'b'\n    return m\n",
            "plugin.py:5:12: `m` is not bound once to what is returned",
        ),
        (
            "    m = PluginMetadata()\n    m = PluginMetadata()\n    return m\n",
            "plugin.py:5:12: `m` is not bound once to what is returned",
        ),
        ("    return self.m\n", "plugin.py:3:12: `self.m` is not a call of PluginMetadata"),
        ("    return dict(name='a')\n", "plugin.py:3:12: `dict` is called where PluginMetadata is expected"),
        ("    pass\n", "plugin.py:2:7: `get_metadata` never returns a value"),
        ("    return\n", "plugin.py:3:5: `return` returns no value"),
        ("    if x:\n      return A()\n    return B()\n", "plugin.py:5:5: `return B()` is a second return"),
        (
            "    if x:\n      return PluginMetadata()\n",
            "plugin.py:4:7: `return PluginMetadata()` is not the last statement of the method",
        ),
    ] {
        refused(&body(lines), "python.metadata", message);
    }
    refused(&with("**META"), "python.metadata", "plugin.py:4:31: `**META` unpacks arguments");
    refused(&with("*META"), "python.metadata", "plugin.py:4:31: `*META` unpacks arguments");
    refused(
        &with("is_scoped=True"),
        "python.metadata",
        "plugin.py:4:41: is_scoped is read from create_agent(), not from PluginMetadata",
    );
}

#[test]
fn arguments_that_mean_nothing_are_kept_or_left_out() {
    let (draft, findings) = said(&with("author='me', home=url()"));
    assert_eq!(draft.fields["author"].value, "me");
    assert!(!draft.fields.contains_key("home"));
    assert_eq!((findings.len(), findings[0].severity), (1, Severity::Warning));
    assert_eq!(findings[0].message, "plugin.py:4:49: home is left out: `url()` is a call");
}

#[test]
fn which_class_is_the_plugin() {
    let method = "  def get_metadata(self):\n    return PluginMetadata(name='a')\n";
    for text in [
        format!("class P(BasePlugin):\n{method}"),
        format!("class P(sdk.base.BasePlugin):\n{method}"),
        format!("class P(BasePlugin[Config], Generic[T], metaclass=M):\n{method}"),
        format!("from sdk import BasePlugin as Base\nclass P(Base):\n{method}"),
        format!("class Mid(BasePlugin):\n{method}class P(Mid): pass\n"),
        format!("class Mixin:\n{method}class P(Mixin, BasePlugin): pass\n"),
        format!("class Mid(BasePlugin): pass\nclass Other: pass\nclass P(Other, Mid):\n{method}"),
        format!("try:\n  from sdk import BasePlugin\nexcept ImportError:\n  class BasePlugin: pass\nclass P(BasePlugin):\n{method}"),
        format!("class BasePlugin(ABC):\n  def get_metadata(self): ...\nclass P(BasePlugin):\n{method}"),
        format!("@dataclass\n@register('x')\nclass P(BasePlugin):\n{method}class Other: pass\n"),
        format!("def make():\n  class Inner(BasePlugin): pass\nclass P(BasePlugin):\n{method}"),
        format!("class P(BasePlugin):\r\n{}", method.replace('\n', "\r\n")),
        format!("class P(BasePlugin):\n{}", method.replace("  ", "\t")),
        format!("\x0cclass P(BasePlugin):\n\x0c{method}"),
        "class P(BasePlugin):\n  async def get_metadata(self) -> PluginMetadata:\n    return PluginMetadata(name='a')\n".into(),
        "class P(BasePlugin):\n  @staticmethod\n  def get_metadata(): return PluginMetadata(name='a')\n".into(),
    ] {
        assert_eq!(fields(&text)["name"], "a", "{text}");
    }
}

#[test]
fn no_plugin_class_or_no_single_one() {
    refused("x = 1\n", "python.class", "no class of plugin.py derives from BasePlugin");
    refused("class BasePlugin: pass\n", "python.class", "no class of plugin.py derives from BasePlugin");
    refused("", "python.class", "no class of plugin.py derives from BasePlugin");
    refused(
        "class A(BasePlugin): pass\nclass B(BasePlugin): pass\n",
        "python.class",
        "plugin.py:2:7: `B` derives from BasePlugin, and so does A: one plugin, one class",
    );
    refused(
        "if x:\n  class A(BasePlugin): pass\n",
        "python.class",
        "plugin.py:2:9: `A` is the plugin class and is defined inside of a block",
    );
    refused(
        "class A(BasePlugin): pass\nclass B(A): pass\nclass C(A): pass\nclass D(B, C): pass\n",
        "python.class",
        "plugin.py:1:7: `A` is inherited by the plugin in two ways",
    );
    refused(
        "class A(BasePlugin): pass\n",
        "python.metadata",
        "plugin.py:1:7: `A` has no method get_metadata",
    );
    refused(
        "class A(BasePlugin):\n  get_metadata = make()\n",
        "python.metadata",
        "plugin.py:2:3: `get_metadata` is not one plain method of A",
    );
    refused(
        "class A(BasePlugin):\n  if x:\n    def get_metadata(self): return PluginMetadata()\n",
        "python.metadata",
        "plugin.py:3:9: `get_metadata` is not one plain method of A",
    );
}

#[test]
fn settings_of_the_decorator_come_first() {
    let text = r#"
from sdk import BasePlugin, PluginMetadata, plugin_settings as settings
MORE = [{"key": "c", "type": "int", "default": -1}]
@settings([{"key": "a", "type": "str"}, {"key": "b", "type": "bool", "default": False}])
@other
class P(BasePlugin):
    def get_metadata(self):
        return PluginMetadata(name="n")
    async def get_settings_schema(self) -> list[dict]:
        """The settings."""
        return MORE + [{"key": "d", "type": "dict", "default": {}}]
"#;
    let (draft, findings) = said(text);
    assert_eq!(findings, []);
    let field = &draft.fields["settings_schema"];
    let keys: Vec<&str> =
        field.value.as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    assert_eq!(field.items.len(), 4);
    assert_eq!(field.items[1].position.map(|position| (position.line, position.column)), Some((4, 41)));
}

#[test]
fn settings_that_cannot_be_read() {
    let class = "class P(BasePlugin):\n  def get_metadata(self):\n    return PluginMetadata(name='n')\n";
    for (text, message) in [
        (
            format!("@plugin_settings\n{class}"),
            "plugin.py:1:2: settings_schema cannot be read: `plugin_settings` is not one call with a list",
        ),
        (
            format!("@plugin_settings([])\n@sdk.plugin_settings([])\n{class}"),
            "plugin.py:2:2: settings_schema cannot be read: `sdk.plugin_settings([])` is not one call with a list",
        ),
        (
            format!("@plugin_settings([], x=1)\n{class}"),
            "plugin.py:1:2: settings_schema cannot be read: `plugin_settings([], x=1)` does not have one list as its only argument",
        ),
        (
            format!("@plugin_settings({{}})\n{class}"),
            "plugin.py:1:18: settings_schema cannot be read: `{}` is not a list",
        ),
        (
            format!("@plugin_settings([Setting('a')])\n{class}"),
            "plugin.py:1:19: settings_schema cannot be read: `Setting('a')` is a call",
        ),
        (
            format!("@plugin_settings(ITEMS)\n{class}ITEMS = []\n"),
            "plugin.py:1:18: settings_schema cannot be read: `ITEMS` ITEMS is used before it is bound",
        ),
        (
            format!(
                "{class}  def get_settings_schema(self):\n    return super().get_settings_schema() + []\n"
            ),
            "plugin.py:5:12: settings_schema cannot be read: `super().get_settings_schema()` is a call",
        ),
    ] {
        refused(&text, "python.expression", message);
    }
}

#[test]
fn both_kinds_of_agent() {
    let plugin = |method: &str| {
        format!(
            "class Special(sdk.BaseSpecializedAgent): pass\nclass Scoped(BaseScopedAgent[int]): pass\n\
             class Both(Special, Scoped): pass\nclass Plain: pass\nclass P(BasePlugin):\n  def get_metadata(self): return \
             PluginMetadata(name='n')\n  {method}\n"
        )
    };
    let kinds = |method: &str| {
        let fields = fields(&plugin(method));
        (fields["is_specialized"].as_bool().unwrap(), fields["is_scoped"].as_bool().unwrap())
    };
    assert_eq!(kinds("def create_agent(self): return Special(self.config)"), (true, false));
    assert_eq!(kinds("def create_agent(self, **k): return Scoped()"), (false, true));
    assert_eq!(kinds("async def create_agent(self): return Both()"), (true, true));
    assert_eq!(kinds("def create_agent(self): return Plain()"), (false, false));
    assert_eq!(
        kinds("def create_agent(self):\n    agent = Special()\n    agent.setup()\n    return agent"),
        (true, false)
    );
    assert_eq!(
        kinds(
            "def create_agent(self):\n    if x:\n      return Special(1)\n    def f(): return 1\n    return Special(2)"
        ),
        (true, false)
    );
    assert!(fields(&plugin("x = 1")).get("is_scoped").is_none());
    for (method, message) in [
        (
            "def create_agent(self): return Elsewhere()",
            "plugin.py:7:34: `Elsewhere()` is no instance of a class of this file",
        ),
        (
            "def create_agent(self): return Special",
            "plugin.py:7:34: `Special` Special is not bound to a plain value",
        ),
        (
            "def create_agent(self): return self.make()",
            "plugin.py:7:34: `self.make()` is no instance of a class of this file",
        ),
        ("def create_agent(self): return", "plugin.py:7:27: `return` returns no agent"),
        ("def create_agent(self): ...", "plugin.py:7:7: `create_agent` never returns an agent"),
        (
            "def create_agent(self):\n    if x: return Special()\n    return Scoped()",
            "plugin.py:9:12: `Scoped()` is an agent of another kind than the one returned before",
        ),
    ] {
        refused(&plugin(method), "python.agent", message);
    }
}

#[test]
fn every_finding_at_once() {
    let text = "@plugin_settings(f())\nclass P(BasePlugin):\n  def get_metadata(self):\n    return PluginMetadata(pid=a, name=f'', \
                version='1.0')\n  def create_agent(self):\n    return x()\n";
    let rules: Vec<&str> = found(text).iter().map(|(rule, _)| *rule).collect();
    assert_eq!(rules, ["python.expression", "python.expression", "python.expression", "python.agent"]);
}

#[test]
fn what_is_not_python() {
    for (text, message) in [
        ("x = 1\ny = (\n", "plugin.py:3:1: this is not Python: "),
        ("def f(:\n  pass\n", "plugin.py:1:7: this is not Python: "),
        ("  x = 1\n", "plugin.py:1:1: this is not Python: "),
        ("if x:\n\ty\n        z\n", "plugin.py:3:1: this is not Python: "),
        ("x = '\\N{NO SUCH NAME}'\n", "plugin.py:1:9: this is not Python: "),
        ("x = '\\U00110000'\n", "plugin.py:1:16: this is not Python: "),
        ("x = 01\n", "plugin.py:1:5: this is not Python: "),
        ("print 'x'\n", "plugin.py:1:7: this is not Python: "),
    ] {
        let found = found(text);
        assert_eq!((found.len(), found[0].0), (1, "python.syntax"), "{text}");
        assert!(found[0].1.starts_with(message), "{text} {}", found[0].1);
    }
    refused("x = (1]\n", "python.syntax", "plugin.py:1:7: this closing bracket matches no opening one");
    refused("x = 1\0", "python.encoding", "plugin.py holds the character U+0000");
    let large = " ".repeat(SIZE_LIMIT + 1);
    refused(&large, "python.size", "plugin.py is larger than 1048576 bytes");
}

/// P8: uploaded code is data, however it is written: reading it ends soon and in bounded memory.
#[test]
fn hostile_files_end_soon() {
    let doubling: String = (1..200).map(|n| format!("A{n} = A{} + A{}\n", n - 1, n - 1)).collect();
    let listing: String = (1..200).map(|n| format!("A{n} = [A{0}, A{0}]\n", n - 1)).collect();
    let chain: String = (1..20_000).map(|n| format!("A{n} = A{}\n", n - 1)).collect();
    let classes: String = (1..20_000).map(|n| format!("class C{n}(C{0}, C{0}): 0\n", n - 1)).collect();
    let line: String = (1..20_000).map(|n| format!("class C{n}(C{}): 0\n", n - 1)).collect();
    let files = [
        "(".repeat(100_000),
        ")".repeat(100_000),
        "(]".repeat(100_000),
        "[".repeat(1_000_000),
        format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        "f'{".repeat(100_000),
        "-".repeat(1_000_000),
        "not ".repeat(250_000),
        "lambda:".repeat(140_000),
        "lambda a,b:".repeat(90_000),
        "a.".repeat(500_000),
        format!("x={}1", "1+".repeat(500_000)),
        format!("x={}1", "1**".repeat(300_000)),
        format!("x={}1", "a if b else ".repeat(80_000)),
        format!("x={}", "()".repeat(500_000)),
        format!("x={}", "=x".repeat(500_000)),
        "if x:".repeat(200_000),
        (0..1_400).map(|level| format!("{}if x:\n", " ".repeat(level))).collect(),
        "(\n".to_owned()
            + &(0..1_400).map(|level| format!("{}if x:\n", " ".repeat(level))).collect::<String>(),
        "0,".repeat(500_000),
        "x\n".repeat(500_000),
        "?".repeat(1_000_000),
        "\\".repeat(1_000_000),
        "'".repeat(999_999),
        "\"\"\"".repeat(300_001),
        "match x:\n case ".to_owned() + &"[".repeat(100_000),
        "with ".to_owned() + &"(".repeat(100_000),
        "with (".repeat(100_000),
        "match (".repeat(100_000),
        "@".repeat(100_000),
        "x: ".repeat(100_000),
        "async ".repeat(100_000),
        format!("A0 = 'aaaaaaaaaaaaaaaa'\n{doubling}{}", with("name=A199")),
        format!("A0 = 'aaaaaaaaaaaaaaaa'\n{doubling}{}", with("name=A60")),
        format!("A0 = []\n{listing}{}", with("name=A60")),
        format!("A0 = 'aaaaaaaaaaaaaaaa'\n{doubling}{}", with("name=A22")),
        format!("A0 = []\n{listing}{}", with("name=A22")),
        format!("A0 = 'a'\n{chain}{}", with("name=A19999")),
        format!("class C0(BasePlugin): pass\n{classes}"),
        format!("class C0(BasePlugin): pass\n{line}"),
        with(&format!("name={}", "9".repeat(100_000))),
        with(&format!("name=0x{}", "f".repeat(100_000))),
        with(&format!("name=1e{}", "9".repeat(100_000))),
        with(&format!("name={}", "[".repeat(90) + &"]".repeat(90))),
        with(&format!("name={}", "'a' ".repeat(200_000))),
        with(&format!("a{}=1", "=1, a".repeat(100_000))),
        "class A(BasePlugin): pass\n".repeat(10_000),
        format!("x = [{}", "0,".repeat(99_000)),
        format!("x = [{}]", "0,".repeat(99_000)),
        format!("x = [{}]", "a.b,".repeat(49_000)),
        format!("x = [{}]", "[],".repeat(66_000)),
        format!("x = [{}]", "{},".repeat(66_000)),
        format!("x = [{}]", "f(),".repeat(49_000)),
        format!("x = [{}]", "f'',".repeat(49_000)),
        "?\n".repeat(99_000),
        "? ,".repeat(99_000),
        "import a\n".repeat(66_000),
        "f():0\n".repeat(33_000),
        "def f():0\n".repeat(28_000),
        "class A:0\n".repeat(33_000),
        "x\n".repeat(99_000),
        "a = 0\n".repeat(49_000),
        "a: 0 = 0\n".repeat(33_000),
        "try:0\nexcept:0\n".repeat(24_000),
        "lambda:0,".repeat(40_000),
        "f'{a}',".repeat(28_000),
    ];
    for file in files {
        let start = Instant::now();
        let (_, findings) = said(&file);
        let head: String = file.chars().take(40).collect();
        assert!(!findings.is_empty(), "{head}");
        assert!(findings.len() <= 201, "{head}");
        assert!(findings.iter().all(|finding| finding.message.len() < 1_000), "{head}");
        assert!(start.elapsed() < Duration::from_secs(5), "{head}: {:?}", start.elapsed());
    }
}

/// The deepest code that is let through leaves most of the stack.
#[test]
fn the_deepest_code_fits_the_stack() {
    let comb = format!("{}1{}", "a+a+a+a+a+a+a+a+a+(".repeat(98), ")".repeat(98));
    for expression in [
        "-".repeat(1_980) + "a",
        "a+".repeat(990) + "a",
        "lambda:".repeat(980) + "1",
        "a.".repeat(980) + "a",
        comb,
    ] {
        let text = format!("{}x = {expression}\n", with("name=x"));
        assert!(found(&text)[0].1.contains("name cannot be read"), "{expression}");
    }
}
