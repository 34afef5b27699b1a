//! Whoever reads only the metadata finds everything of our pallets and runtime APIs explained.

use super::chain;
use crate::Runtime;
use scale_info::{MetaType, TypeDef};

/// The pallets of this project.
const PALLETS: [&str; 3] = ["Providers", "Hosting", "Performance"];
/// Its runtime APIs.
const APIS: [&str; 2] = ["PerformanceApi", "PerformanceRules"];

/// The names of what has no words, or blank ones, of its own.
fn silent<'a, Docs: AsRef<str> + 'a>(
    items: impl IntoIterator<Item = (String, &'a [Docs])>,
) -> Vec<String> {
    items
        .into_iter()
        .filter(|(_, docs)| docs.iter().all(|line| line.as_ref().trim().is_empty()))
        .map(|(name, _)| name)
        .collect()
}

/// The variants of an enumeration that are not explained; with `fields`, their fields too.
fn silent_variants(place: &str, kind: MetaType, fields: bool) -> Vec<String> {
    let kind = kind.type_info();
    let TypeDef::Variant(variants) = &kind.type_def else {
        panic!("{place} is no enumeration");
    };
    let mut items = Vec::new();
    for variant in &variants.variants {
        let name = format!("{place}::{}", variant.name);
        for field in variant.fields.iter().filter(|_| fields) {
            let field_name = field.name.unwrap_or("a field without name");
            items.push((format!("{name}.{field_name}"), &field.docs[..]));
        }
        items.push((name, &variant.docs[..]));
    }
    assert!(!items.is_empty(), "{place} has no variants");
    silent(items)
}

#[test]
fn calls_events_and_errors_are_explained() {
    let metadata = chain(&[]).execute_with(Runtime::metadata_ir);
    for name in PALLETS {
        let pallet = metadata.pallets.iter().find(|pallet| pallet.name == name);
        let pallet = pallet.unwrap_or_else(|| panic!("there is a pallet {name}"));
        let calls = pallet.calls.as_ref().expect("it has calls").ty;
        let event = pallet.event.as_ref().expect("it has events").ty;
        let error = pallet.error.as_ref().expect("it has errors").ty;
        let mut missing = silent_variants(&format!("{name}::Call"), calls, false);
        missing.extend(silent_variants(&format!("{name}::Event"), event, true));
        missing.extend(silent_variants(&format!("{name}::Error"), error, true));
        assert_eq!(missing, [""; 0]);
    }
}

#[test]
fn storage_constants_and_the_pallets_are_explained() {
    let metadata = chain(&[]).execute_with(Runtime::metadata_ir);
    for name in PALLETS {
        let pallet = metadata.pallets.iter().find(|pallet| pallet.name == name);
        let pallet = pallet.unwrap_or_else(|| panic!("there is a pallet {name}"));
        let storage = pallet.storage.as_ref().expect("it has storage");
        let mut items = vec![(name.to_string(), &pallet.docs[..])];
        items.extend(storage.entries.iter().map(|entry| {
            let place = format!("{name}::Storage::{}", entry.name);
            (place, &entry.docs[..])
        }));
        items.extend(pallet.constants.iter().map(|constant| {
            let place = format!("{name}::Constant::{}", constant.name);
            (place, &constant.docs[..])
        }));
        items.extend(pallet.view_functions.iter().map(|function| {
            let place = format!("{name}::ViewFunction::{}", function.name);
            (place, &function.docs[..])
        }));
        assert!(
            items.len() > 1 + pallet.constants.len(),
            "{name} has storage"
        );
        assert!(!pallet.constants.is_empty(), "{name} has constants");
        assert_eq!(silent(items), [""; 0]);
    }
}

#[test]
fn runtime_apis_are_explained() {
    let metadata = chain(&[]).execute_with(Runtime::metadata_ir);
    for name in APIS {
        let api = metadata.apis.iter().find(|api| api.name == name);
        let api = api.unwrap_or_else(|| panic!("there is an API {name}"));
        let mut items = vec![(name.to_string(), &api.docs[..])];
        items.extend(
            api.methods
                .iter()
                .map(|method| (format!("{name}::{}", method.name), &method.docs[..])),
        );
        assert!(items.len() > 1, "{name} has methods");
        assert_eq!(silent(items), [""; 0]);
    }
}

/// Of the shape of an event, with gaps.
#[derive(scale_info::TypeInfo)]
#[scale_info(capture_docs = "always")]
#[allow(dead_code, clippy::empty_docs)]
enum Gaps {
    /// Explained.
    Explained {
        /// Explained too.
        explained: u8,
        silent: u8,
    },
    Silent,
    #[doc = " "]
    Blank,
}

#[test]
fn what_is_not_explained_is_found() {
    let gaps = MetaType::new::<Gaps>();
    let found = silent_variants("Gaps", gaps, true);
    assert_eq!(
        found,
        ["Gaps::Explained.silent", "Gaps::Silent", "Gaps::Blank"]
    );
    assert_eq!(
        silent_variants("Gaps", gaps, false),
        ["Gaps::Silent", "Gaps::Blank"]
    );
}
