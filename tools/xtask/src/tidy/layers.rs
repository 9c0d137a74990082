//! The arrows between the workspace's crates: each points to a strictly lower layer.

use std::collections::BTreeMap;

use crate::tidy::dependencies::line_of;
use crate::tidy::finding::Finding;
use crate::workspace::{Kind, Member};

/// Every member has a layer, and every layer names a member.
pub(crate) fn check_membership(
    layers: &BTreeMap<String, u64>,
    members: &[Member],
    root_manifest: &str,
) -> Vec<Finding> {
    let unlisted = members.iter().filter(|member| !layers.contains_key(&member.name)).map(|member| {
        let what = format!("crate `{}` has no layer", member.name);
        Finding::error(
            &member.manifest,
            1,
            what,
            "add it to [workspace.metadata.layers] in the root Cargo.toml",
        )
    });
    let unknown =
        layers.keys().filter(|name| !members.iter().any(|member| member.name == **name)).map(|name| {
            let line = line_of(root_manifest, "[workspace.metadata.layers]", name);
            let what = format!("layer of `{name}`, which is no crate of this workspace");
            Finding::error("Cargo.toml", line, what, "remove the line or add the crate to `members`")
        });
    unlisted.chain(unknown).collect()
}

/// A normal or build dependency points strictly down; a dev-dependency may point sideways, never up.
pub(crate) fn check_arrows(layers: &BTreeMap<String, u64>, member: &Member, manifest: &str) -> Vec<Finding> {
    let Some(&from) = layers.get(&member.name) else { return Vec::new() };
    let mut findings = Vec::new();
    for dependency in &member.dependencies {
        let Some(&to) = layers.get(&dependency.name) else { continue };
        let (allowed, table, rule) = match dependency.kind {
            Kind::Normal => (to < from, "[dependencies]", "a strictly lower"),
            Kind::Build => (to < from, "[build-dependencies]", "a strictly lower"),
            Kind::Dev => (to <= from, "[dev-dependencies]", "the same or a lower"),
        };
        if allowed {
            continue;
        }
        let line = line_of(manifest, table, &dependency.name);
        let what = format!(
            "`{}` (layer {from}) depends on `{}` (layer {to}) in {table}",
            member.name, dependency.name
        );
        let remedy =
            format!("an arrow there points to {rule} layer: move the shared part down or turn the arrow");
        findings.push(Finding::error(&member.manifest, line, what, remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn layers() -> BTreeMap<String, u64> {
        [("low", 0), ("side", 1), ("mid", 1), ("high", 2)]
            .map(|(name, layer)| (name.to_owned(), layer))
            .into()
    }

    fn mid_on(name: &str, kind: Kind) -> Member {
        let dependencies = vec![Dependency { name: name.to_owned(), kind }];
        Member { name: "mid".to_owned(), manifest: "mid/Cargo.toml".to_owned(), dependencies }
    }

    fn refused(name: &str, kind: Kind) -> bool {
        !check_arrows(&layers(), &mid_on(name, kind), "").is_empty()
    }

    #[test]
    fn arrows_down_pass_and_arrows_up_are_refused() {
        for kind in [Kind::Normal, Kind::Build, Kind::Dev] {
            assert!(!refused("low", kind), "{kind:?}");
            assert!(refused("high", kind), "{kind:?}");
            assert!(!refused("third-party", kind), "{kind:?}");
        }
    }

    #[test]
    fn only_a_dev_dependency_may_point_sideways() {
        assert!(refused("side", Kind::Normal));
        assert!(refused("side", Kind::Build));
        assert!(!refused("side", Kind::Dev));
    }

    #[test]
    fn the_finding_points_at_the_line_of_the_right_table() {
        let manifest = "[dev-dependencies]\nhigh.workspace = true\n\n[dependencies]\nhigh.workspace = true\n";
        let findings = check_arrows(&layers(), &mid_on("high", Kind::Normal), manifest);
        assert_eq!((findings[0].file.as_str(), findings[0].line), ("mid/Cargo.toml", 5));
        assert!(findings[0].what.contains("layer 1") && findings[0].what.contains("layer 2"));
    }

    #[test]
    fn a_crate_without_a_layer_and_a_layer_without_a_crate_are_both_found() {
        let mut members = vec![mid_on("low", Kind::Normal)];
        members[0].name = "new".to_owned();
        let layers = BTreeMap::from([("gone".to_owned(), 0)]);
        let root = "[workspace.metadata.layers]\ngone = 0\n";
        let findings = check_membership(&layers, &members, root);
        assert!(findings[0].what.contains("`new`"), "{findings:?}");
        assert_eq!((findings[1].file.as_str(), findings[1].line), ("Cargo.toml", 2));
        assert_eq!(findings.len(), 2);
    }
}
