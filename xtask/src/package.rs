//! What `build.sh package` leaves in `dist`: both images, and manifests that name them by digest.

use crate::Result;
use crate::image::{Image, sha256};
use regex_lite::Regex;
use serde_json::json;
use std::env::consts::ARCH;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const EXAMPLE_REGISTRY: &str = "registry.example.com";

/// Writes images and manifests into `dist` and prints the commands that push and apply them.
pub fn package(registry: &str) -> Result<()> {
    let dist = Path::new("dist");
    let filter = read(&dist.join("traffic-split.wasm"))?;
    let controller = read(&dist.join("traffic-split-controller"))?;
    let filter_image = Image {
        content: &filter,
        name: "plugin.wasm",
        mode: 0o644,
        architecture: "wasm",
        os: "wasip1",
        config: json!({}),
    };
    let controller_image = Image {
        content: &controller,
        name: "traffic-split-controller",
        mode: 0o755,
        architecture: architecture(),
        os: "linux",
        config: json!({"User": "65532:65532", "Entrypoint": ["/traffic-split-controller"]}),
    };
    let filter_digest = filter_image.write(&dist.join("traffic-split-oci"))?;
    println!("image   dist/traffic-split-oci\ndigest  {filter_digest}");
    println!("file    dist/traffic-split.wasm\nsha256  {}", sha256(&filter));
    let controller_digest = controller_image.write(&dist.join("traffic-split-controller-oci"))?;
    println!("image   dist/traffic-split-controller-oci\ndigest  {controller_digest}");
    write_manifests(&dist.join("manifests"), registry, &filter_digest, &controller_digest)?;
    println!(
        "
Push both images, then apply the manifests, which name them by digest:
  skopeo copy --preserve-digests oci:dist/traffic-split-oci docker://{registry}/traffic-split:{VERSION}
  skopeo copy --preserve-digests oci:dist/traffic-split-controller-oci docker://{registry}/traffic-split-controller:{VERSION}
  kubectl apply -k dist/manifests"
    );
    Ok(())
}

/// Returns the registry if image names may begin with it. It becomes part of YAML and of commands to copy.
pub fn parse_registry(registry: &str) -> std::result::Result<String, String> {
    let pattern = Regex::new(r"^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$")
        .expect("valid");
    if pattern.is_match(registry) {
        Ok(registry.to_owned())
    } else {
        Err(format!("`{registry}` is not a registry; write HOST[:PORT][/PATH], e.g. ghcr.io/example"))
    }
}

/// Copies `envoy/manifests` with both images by digest.
fn write_manifests(to: &Path, registry: &str, filter: &str, controller: &str) -> Result<()> {
    let from = Path::new("envoy/manifests");
    let new = to.with_file_name(".new-manifests");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    fs::create_dir_all(&new)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), new.join(entry.file_name()))?;
    }
    let deployment = name_filter(&read_text(&from.join("controller.yaml"))?, registry, filter)
        .ok_or("envoy/manifests/controller.yaml has no --wasm=oci://…")?;
    fs::write(new.join("controller.yaml"), deployment)?;
    let base = read_text(&from.join("kustomization.yaml"))?;
    fs::write(new.join("kustomization.yaml"), name_controller(&base, registry, controller))?;
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::rename(new, to)?;
    Ok(())
}

/// Returns the Deployment with the filter's image by digest.
fn name_filter(deployment: &str, registry: &str, digest: &str) -> Option<String> {
    let option = Regex::new("--wasm=oci://.*").expect("valid");
    option.is_match(deployment).then(|| {
        // The replacement is literal: a closure does not expand `$`.
        option
            .replace(deployment, |_: &regex_lite::Captures| format!("--wasm=oci://{registry}/traffic-split@{digest}"))
            .into_owned()
    })
}

/// Returns the kustomization without its comments and with the controller's image by digest.
fn name_controller(base: &str, registry: &str, digest: &str) -> String {
    let mut text = "# Written by ./build.sh package. To apply it: kubectl apply -k dist/manifests\n".to_owned();
    for line in base.lines().filter(|line| !line.starts_with('#')) {
        _ = writeln!(text, "{line}");
    }
    _ = writeln!(
        text,
        "images:\n- name: {EXAMPLE_REGISTRY}/traffic-split-controller\n  newName: {registry}/traffic-split-controller\n  \
         digest: {digest}"
    );
    text
}

/// Returns the architecture of this machine, for which the controller is built, as image configurations name it.
fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| format!("{}: {error}; run ./build.sh package", path.display()).into())
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::{name_controller, name_filter, parse_registry};

    #[test]
    fn registries_are_hosts_with_an_optional_port_and_path() {
        for good in ["registry.example.com", "localhost:5000", "ghcr.io/example", "a.b:1/c/d-e_f"] {
            assert_eq!(parse_registry(good).as_deref(), Ok(good));
        }
        for bad in ["", "https://ghcr.io", "ghcr.io/", "ghcr.io/Example", "a b", "a\nb", "host:port"] {
            assert!(parse_registry(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn manifests_name_both_images_by_digest() {
        let deployment = "args:\n- run\n- --wasm=oci://registry.example.com/traffic-split:0.1.0\n- --other\n";
        let named = "args:\n- run\n- --wasm=oci://ghcr.io/e/traffic-split@sha256:ab\n- --other\n";
        assert_eq!(name_filter(deployment, "ghcr.io/e", "sha256:ab").as_deref(), Some(named));
        assert_eq!(name_filter("args: []\n", "ghcr.io/e", "sha256:ab"), None);
        assert_eq!(
            name_controller("# Base.\nkind: Kustomization\n", "ghcr.io/e", "sha256:cd"),
            "# Written by ./build.sh package. To apply it: kubectl apply -k dist/manifests\nkind: Kustomization\nimages:\n\
             - name: registry.example.com/traffic-split-controller\n  newName: ghcr.io/e/traffic-split-controller\n  \
             digest: sha256:cd\n"
        );
    }
}
