//! What cargo knows of the workspace: its root, its members, their layers and arrows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::XtaskError;
use crate::process;

/// The workspace as `cargo metadata` describes it.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Every member, in cargo's order.
    pub(crate) members: Vec<Member>,
    /// `[workspace.metadata.layers]`: crate name to layer, lowest first.
    pub(crate) layers: BTreeMap<String, u64>,
}

/// One crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The package name.
    pub(crate) name: String,
    /// Its manifest, relative to the root, with forward slashes.
    pub(crate) manifest: String,
    /// Everything it depends on, of every kind.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One arrow out of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package name of the target (not its local alias).
    pub(crate) name: String,
    /// Which builds it takes part in.
    pub(crate) kind: Kind,
}

/// The builds a dependency takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[build-dependencies]`
    Build,
    /// `[dev-dependencies]`
    Dev,
}

impl Workspace {
    /// Asks cargo about the workspace around the current folder.
    ///
    /// Errors when cargo cannot be run or its answer lacks a documented field. Touches no network.
    pub(crate) fn find() -> Result<Self, XtaskError> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
        let output = process::capture(&mut command)?;
        if !output.status.success() {
            return Err(metadata(String::from_utf8_lossy(&output.stderr).trim()));
        }
        Self::from_metadata(&String::from_utf8_lossy(&output.stdout))
    }

    /// Reads the JSON of `cargo metadata --format-version 1 --no-deps`.
    pub(crate) fn from_metadata(json: &str) -> Result<Self, XtaskError> {
        let value: Value = serde_json::from_str(json).map_err(|error| metadata(&error.to_string()))?;
        let root = PathBuf::from(text(&value, "workspace_root")?);
        let packages = value["packages"].as_array().ok_or_else(|| metadata("no `packages` array"))?;
        let members = packages.iter().map(|package| member(package, &root)).collect::<Result<Vec<_>, _>>()?;
        let layers = layers(&value["metadata"]["layers"])?;
        Ok(Self { root, members, layers })
    }
}

/// The cargo that started this program, so that the pinned toolchain stays the same in every child.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn member(package: &Value, root: &Path) -> Result<Member, XtaskError> {
    let manifest = PathBuf::from(text(package, "manifest_path")?);
    let manifest = manifest.strip_prefix(root).unwrap_or(&manifest).to_string_lossy().replace('\\', "/");
    let dependencies = package["dependencies"].as_array().ok_or_else(|| metadata("no `dependencies`"))?;
    Ok(Member {
        name: text(package, "name")?.to_owned(),
        manifest,
        dependencies: dependencies.iter().map(dependency).collect::<Result<_, _>>()?,
    })
}

fn dependency(value: &Value) -> Result<Dependency, XtaskError> {
    let kind = match value["kind"].as_str() {
        None => Kind::Normal,
        Some("build") => Kind::Build,
        Some("dev") => Kind::Dev,
        Some(other) => return Err(metadata(&format!("unknown dependency kind `{other}`"))),
    };
    Ok(Dependency { name: text(value, "name")?.to_owned(), kind })
}

fn layers(value: &Value) -> Result<BTreeMap<String, u64>, XtaskError> {
    let table = value
        .as_object()
        .ok_or_else(|| metadata("the root Cargo.toml has no table [workspace.metadata.layers]"))?;
    let mut layers = BTreeMap::new();
    for (name, layer) in table {
        let layer = layer
            .as_u64()
            .ok_or_else(|| metadata(&format!("the layer of `{name}` is not a whole number")))?;
        layers.insert(name.clone(), layer);
    }
    Ok(layers)
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str, XtaskError> {
    value[field].as_str().ok_or_else(|| metadata(&format!("no text field `{field}`")))
}

fn metadata(reason: &str) -> XtaskError {
    XtaskError::Metadata { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "workspace_root": "/w",
        "metadata": { "layers": { "a": 0, "b": 1 } },
        "packages": [
            { "name": "a", "manifest_path": "/w/x/a/Cargo.toml", "dependencies": [] },
            { "name": "b", "manifest_path": "/w/b/Cargo.toml", "dependencies": [
                { "name": "a", "kind": null }, { "name": "cc", "kind": "build" }, { "name": "p", "kind": "dev" }
            ] }
        ]
    }"#;

    #[test]
    fn members_layers_and_kinds_are_read() {
        let workspace = Workspace::from_metadata(METADATA).unwrap();
        assert_eq!(workspace.root, PathBuf::from("/w"));
        assert_eq!(workspace.layers["b"], 1);
        assert_eq!(workspace.members[0].manifest, "x/a/Cargo.toml");
        let kinds: Vec<_> = workspace.members[1].dependencies.iter().map(|d| d.kind).collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Build, Kind::Dev]);
    }

    #[test]
    fn a_missing_layer_table_is_named() {
        let error = Workspace::from_metadata(&METADATA.replace("layers", "other")).unwrap_err();
        assert!(error.to_string().contains("workspace.metadata.layers"), "{error}");
    }

    #[test]
    fn a_layer_must_be_a_whole_number() {
        let error = Workspace::from_metadata(&METADATA.replace("\"b\": 1", "\"b\": -1")).unwrap_err();
        assert!(error.to_string().contains("`b`"), "{error}");
    }
}
