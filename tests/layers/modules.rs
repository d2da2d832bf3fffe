//! The modules of a crate, and which of them uses which, by their `use` lines. Test code is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The path of a module below the root of its crate: `[webhook, registration]`.
pub type Module = Vec<String>;

/// Which modules each module uses.
pub type Uses = BTreeMap<Module, BTreeSet<Module>>;

/// Reads the sources of one crate.
pub fn uses(sources: &Path) -> Uses {
    let texts = texts(sources, &mut Vec::new());
    let modules: BTreeSet<&Module> = texts.keys().collect();
    let used = |module: &Module, text: &str| {
        let paths = statements(text).flat_map(|statement| expanded(&statement));
        let targets = paths.filter_map(|path| absolute(&path, module));
        targets
            .filter_map(|target| declared_in(&target, &modules))
            .collect()
    };
    texts
        .iter()
        .map(|(module, text)| (module.clone(), used(module, text)))
        .collect()
}

fn texts(folder: &Path, module: &mut Module) -> BTreeMap<Module, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if matches!(name.as_str(), "tests" | "testing" | "main") {
            continue;
        }
        if path.is_dir() {
            module.push(name);
            found.extend(texts(&path, module));
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut of_file = module.clone();
            of_file.extend((name != "lib").then_some(name));
            found.insert(of_file, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// The text between `use` and `;`, up to the tests at the end of a file.
fn statements(text: &str) -> impl Iterator<Item = String> {
    let end = text.find("#[cfg(test)]\nmod tests {");
    let code = text.get(..end.unwrap_or(text.len())).unwrap();
    let starts = code.match_indices("use ").filter(|(at, _)| {
        let line = code.get(..*at).unwrap().rsplit('\n').next().unwrap();
        matches!(line, "" | "pub " | "pub(crate) " | "pub(super) ")
            && !code.get(..*at).unwrap().ends_with("#[cfg(test)]\n")
    });
    starts.map(|(at, keyword)| {
        let rest = code.get(at + keyword.len()..).unwrap();
        rest.split(';').next().unwrap().replace(['\n', ' '], "")
    })
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expanded(path: &str) -> Vec<Vec<String>> {
    let Some((prefix, rest)) = path.split_once('{') else {
        return vec![path.split("::").map(str::to_owned).collect()];
    };
    let group = rest.strip_suffix('}').unwrap();
    let paths = members(group).into_iter().flat_map(expanded);
    let prefix: Vec<String> = prefix
        .split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    paths
        .map(|path| prefix.iter().cloned().chain(path).collect())
        .collect()
}

/// The parts between the commas outside of inner braces.
fn members(group: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = group.split(|character| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// A path from the root of the crate; none for a path into another crate.
fn absolute(path: &[String], module: &Module) -> Option<Module> {
    let mut from: Module = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.clone(),
        // A child, or another crate.
        _ => return None,
    };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => {
                from.pop();
            }
            part => from.push(part.to_owned()),
        }
    }
    Some(from)
}

/// The module of a path: its longest part that is a module.
fn declared_in(path: &Module, modules: &BTreeSet<&Module>) -> Option<Module> {
    (1..=path.len())
        .rev()
        .filter_map(|length| path.get(..length).map(<[String]>::to_vec))
        .find(|module| modules.contains(module))
}
