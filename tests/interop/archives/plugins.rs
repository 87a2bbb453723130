//! Plugins as their authors write them, and what each says about itself.

use quire::package::{Plugin, SettingType};

/// The folder of a plugin, and what must be read from it.
pub struct Example {
    pub name: &'static str,
    pub files: &'static [(&'static str, &'static str)],
    pub says: fn(&Plugin),
}

pub const EXAMPLES: &[Example] = &[
    Example { name: "constants", files: CONSTANTS, says: constants },
    Example { name: "concatenated", files: CONCATENATED, says: concatenated },
    Example { name: "many_files", files: MANY_FILES, says: many_files },
    Example { name: "specialized", files: SPECIALIZED, says: specialized },
    Example { name: "scoped", files: SCOPED, says: scoped },
    Example { name: "decorated", files: DECORATED, says: decorated },
    Example { name: "with_json", files: WITH_JSON, says: with_json },
    Example { name: "only_json", files: ONLY_JSON, says: only_json },
];

const CONSTANTS: &[(&str, &str)] = &[(
    "plugin.py",
    r#""""Weather for a place."""

from orchestrator.sdk import BasePlugin, PluginMetadata

PLUGIN_ID = "com.acme.weather"
PLUGIN_VERSION: str = "2.3.1"
CAPABILITIES = ["forecast", "alerts"]
DEPENDENCIES = ["httpx>=0.27", "pydantic>=2"]


class WeatherPlugin(BasePlugin):
    def get_metadata(self) -> PluginMetadata:
        return PluginMetadata(
            pid=PLUGIN_ID,
            name="Weather",
            version=PLUGIN_VERSION,
            description="Says what the weather will be.",
            capabilities=CAPABILITIES + ["history"],
            dependencies=DEPENDENCIES,
            stateless=True,
        )

    def create_agent(self, context):
        return WeatherAgent(context)


class WeatherAgent:
    def __init__(self, context):
        self.context = context
"#,
)];

fn constants(plugin: &Plugin) {
    assert_eq!((plugin.pid.as_str(), plugin.version.as_str()), ("com.acme.weather", "2.3.1"));
    assert_eq!(plugin.capabilities, ["forecast", "alerts", "history"]);
    assert_eq!(plugin.dependencies, ["httpx>=0.27", "pydantic>=2"]);
    assert!(plugin.stateless && !plugin.is_specialized && !plugin.is_scoped);
    assert_eq!(plugin.sdk_version, ">=2.0.0,<3.0.0");
}

const CONCATENATED: &[(&str, &str)] = &[
    (
        "plugin.py",
        r#"from orchestrator.sdk import BasePlugin, PluginMetadata as Metadata

BASE = "com.acme"


class Plugin(BasePlugin):
    """Searches."""

    def get_metadata(self):
        metadata = Metadata(
            BASE + ".search",
            "Search",
            "1.0",
            "Finds documents by their meaning: "
            "it cuts them into parts, "
            'and asks an "index" for the nearest ones.',
            ("search",),
            [],
            ">=2.1,<3",
            False,
        )
        return metadata
"#,
    ),
    ("README.md", "# Search\n\nFinds documents — also those with ümläuts.\n"),
];

fn concatenated(plugin: &Plugin) {
    assert_eq!((plugin.pid.as_str(), plugin.version.as_str()), ("com.acme.search", "1.0"));
    assert_eq!(
        plugin.description,
        "Finds documents by their meaning: it cuts them into parts, and asks an \"index\" for the nearest ones."
    );
    assert_eq!((plugin.sdk_version.as_str(), plugin.stateless), (">=2.1,<3", false));
    assert!(plugin.readme.is_some());
}

const MANY_FILES: &[(&str, &str)] = &[
    (
        "plugin.py",
        r#"from __future__ import annotations

from orchestrator import sdk

from .lib.client import Client
from .lib.formats import as_table

__version__ = "0.4.0-beta.2"


class _Base(sdk.BasePlugin):
    def get_settings_schema(self):
        return [
            {"key": "url", "type": "str", "description": "Where the tracker is", "required": True},
            {"key": "retries", "type": "int", "default": 3, "description": "How often it is tried"},
        ]


class TrackerPlugin(_Base):
    async def run(self, task):
        async with Client(self.settings["url"]) as client:
            return as_table(await client.issues(task.query))

    def get_metadata(self):
        return sdk.PluginMetadata(
            pid="com.acme.issue-tracker",
            name="Issue tracker",
            version=__version__,
            description="Reads issues.",
        )
"#,
    ),
    ("__init__.py", ""),
    ("lib/__init__.py", ""),
    ("lib/client.py", "class Client:\n    def __init__(self, url):\n        self.url = url\n"),
    ("lib/formats.py", "def as_table(rows):\n    return \"\\n\".join(str(row) for row in rows)\n"),
    ("assets/empty.bin", ""),
    ("assets/names.txt", "Ångström\nœuvre\n日本語\n"),
    (
        "logo.svg",
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"><rect width=\"8\" height=\"8\"/></svg>\n",
    ),
    ("requirements.txt", "httpx>=0.27\n"),
];

fn many_files(plugin: &Plugin) {
    assert_eq!((plugin.pid.as_str(), plugin.version.as_str()), ("com.acme.issue-tracker", "0.4.0-beta.2"));
    let keys: Vec<&str> = plugin.settings_schema.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, ["url", "retries"]);
    assert_eq!(plugin.default_settings()["retries"], 3);
    assert!(plugin.logo.as_deref().is_some_and(|path| path.ends_with("logo.svg")));
}

const SPECIALIZED: &[(&str, &str)] = &[(
    "plugin.py",
    r#"from orchestrator.sdk import BasePlugin, BaseSpecializedAgent, PluginMetadata


class ReviewAgent(BaseSpecializedAgent):
    def handle(self, message):
        return f"reviewed {message}"


class ReviewPlugin(BasePlugin):
    def get_metadata(self):
        return PluginMetadata(pid="org.example.review", name="Review", version="3.0.0", description="Reviews.")

    def create_agent(self, *args, **kwargs):
        agent = ReviewAgent(*args, **kwargs)
        return agent
"#,
)];

fn specialized(plugin: &Plugin) {
    assert_eq!(plugin.pid, "org.example.review");
    assert!(plugin.is_specialized && !plugin.is_scoped);
}

const SCOPED: &[(&str, &str)] = &[(
    "plugin.py",
    r#"import orchestrator.sdk as sdk


class _Shared(sdk.BaseScopedAgent):
    scope = "project"


class NotesAgent(_Shared):
    pass


class NotesPlugin(sdk.BasePlugin):
    def get_metadata(self):
        return sdk.PluginMetadata(
            pid="org.example.notes",
            name="Notes",
            version="1.2",
            description=(
                "Keeps notes "
                + "of a project."
            ),
            tag="stable",
        )

    def create_agent(self, context):
        if context is None:
            return NotesAgent()
        return NotesAgent(context)
"#,
)];

fn scoped(plugin: &Plugin) {
    assert_eq!((plugin.pid.as_str(), plugin.tag.as_deref()), ("org.example.notes", Some("stable")));
    assert!(plugin.is_scoped && !plugin.is_specialized);
    assert_eq!(plugin.description, "Keeps notes of a project.");
}

const DECORATED: &[(&str, &str)] = &[(
    "plugin.py",
    r#"from orchestrator.sdk import BasePlugin, PluginMetadata, plugin_settings

API_KEY = {"key": "api_key", "type": "str", "description": "Of the service", "required": True, "sensitive": True}


@plugin_settings(
    [
        API_KEY,
        {"key": "limit", "type": "int", "description": "At most", "default": 10},
        {"key": "weights", "type": "dict", "description": "By topic", "default": {"news": 0.5, "sports": -1}},
    ]
)
class DigestPlugin(BasePlugin):
    def get_metadata(self):
        return PluginMetadata(pid="com.acme.digest", name="Digest", version="1.0.0", description="Sums it up.")

    def get_settings_schema(self):
        return [{"key": "topics", "type": "list", "description": "What about", "default": []}]
"#,
)];

fn decorated(plugin: &Plugin) {
    let keys: Vec<(&str, SettingType)> =
        plugin.settings_schema.iter().map(|item| (item.key.as_str(), item.kind)).collect();
    let expected = [
        ("api_key", SettingType::Str),
        ("limit", SettingType::Int),
        ("weights", SettingType::Dict),
        ("topics", SettingType::List),
    ];
    assert_eq!(keys, expected);
    assert!(plugin.settings_schema[0].sensitive);
}

/// The class cannot be read without running it; `plugin.json` says what matters.
const WITH_JSON: &[(&str, &str)] = &[
    (
        "plugin.json",
        r#"{
  "pid": "com.acme.generated",
  "name": "Generated",
  "version": "5.1",
  "description": "Its metadata comes from elsewhere.",
  "capabilities": ["generate"],
  "homepage": "https://acme.example/generated"
}
"#,
    ),
    (
        "plugin.py",
        r#"import pathlib

from orchestrator.sdk import BasePlugin, PluginMetadata


class GeneratedPlugin(BasePlugin):
    def get_metadata(self):
        return PluginMetadata.parse(pathlib.Path(__file__).with_name("plugin.json").read_text())
"#,
    ),
];

fn with_json(plugin: &Plugin) {
    assert_eq!((plugin.pid.as_str(), plugin.version.as_str()), ("com.acme.generated", "5.1"));
    assert_eq!(plugin.extra["homepage"], "https://acme.example/generated");
}

const ONLY_JSON: &[(&str, &str)] = &[
    (
        "plugin.json",
        r#"{"pid": "io.example.wasm", "name": "Wasm", "version": "0.1.0", "description": "No Python at all.",
"entrypoint": "bin/plugin.wasm", "stateless": false}"#,
    ),
    ("bin/plugin.wasm", "\0asm\u{1}\0\0\0"),
];

fn only_json(plugin: &Plugin) {
    assert_eq!(plugin.entrypoint.as_deref(), Some("bin/plugin.wasm"));
    assert!(!plugin.stateless);
}
