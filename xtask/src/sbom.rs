//! Checks lists of dependencies (CycloneDX) against `Cargo.lock`.

use crate::Result;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A dependency of every program, which a complete list contains.
const EXPECTED: &str = "serde_json";

/// Checks that the list in a file is complete enough to name `serde_json`, and that each of its versions is in
/// `Cargo.lock`. Prints the number of dependencies.
pub fn check(file: &Path) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()));
    let count = check_text(&read(file)?, &read(Path::new("Cargo.lock"))?);
    let count = count.map_err(|why| format!("{}: {why}", file.display()))?;
    println!("file    {}\ncrates  {count}", file.display());
    Ok(())
}

fn check_text(sbom: &str, lock: &str) -> Result<usize> {
    let locked = locked(lock);
    let sbom: Value = serde_json::from_str(sbom)?;
    let components = sbom["components"].as_array().ok_or("the list has no `components`")?;
    for component in components {
        let of = |field: &str| component[field].as_str().ok_or_else(|| format!("a component has no `{field}`"));
        let (name, version) = (of("name")?, of("version")?);
        if !locked.contains(&(name, version)) {
            return Err(format!("{name} {version} is not in Cargo.lock").into());
        }
    }
    if !components.iter().any(|component| component["name"] == EXPECTED) {
        return Err(format!("{EXPECTED} is missing").into());
    }
    Ok(components.len())
}

/// Returns the names and versions of all packages in a `Cargo.lock`.
fn locked(lock: &str) -> BTreeSet<(&str, &str)> {
    let mut lines = lock.lines().peekable();
    let mut packages = BTreeSet::new();
    while let Some(line) = lines.next() {
        let version = lines.peek().and_then(|next| value(next, "version"));
        packages.extend(value(line, "name").zip(version));
    }
    packages
}

/// Returns the value of a line such as `name = "itoa"`.
fn value<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::check_text;

    const LOCK: &str = "[[package]]\nname = \"serde_json\"\nversion = \"1.0.154\"\ndependencies = [\n \"itoa\",\n]\n\n\
        [[package]]\nname = \"itoa\"\nversion = \"1.0.15\"\n";

    fn sbom(components: &[(&str, &str)]) -> String {
        let components: Vec<_> =
            components.iter().map(|(name, version)| serde_json::json!({"name": name, "version": version})).collect();
        serde_json::json!({"bomFormat": "CycloneDX", "components": components}).to_string()
    }

    #[test]
    fn versions_must_be_those_of_the_lock_file() {
        let count = check_text(&sbom(&[("serde_json", "1.0.154"), ("itoa", "1.0.15")]), LOCK);
        assert_eq!(count.expect("a list"), 2);
        for (components, why) in [
            (&[("serde_json", "1.0.153")][..], "serde_json 1.0.153 is not in Cargo.lock"),
            (&[("itoa", "1.0.154"), ("serde_json", "1.0.154")], "itoa 1.0.154 is not in Cargo.lock"),
            (&[("itoa", "1.0.15")], "serde_json is missing"),
            (&[], "serde_json is missing"),
        ] {
            assert_eq!(check_text(&sbom(components), LOCK).expect_err("an error").to_string(), why);
        }
        assert!(check_text("{}", LOCK).is_err());
    }
}
