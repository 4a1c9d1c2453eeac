//! Container images as OCI image layouts: directories that any tool pushes, e.g. `skopeo copy oci:LAYOUT docker://…`.

use crate::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::Path;

// Media types of the OCI image specification 1.1.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image of one layer with one file.
pub struct Image<'a> {
    /// The content of the file.
    pub content: &'a [u8],
    /// The file's name in the image.
    pub name: &'a str,
    /// The file's permissions.
    pub mode: u32,
    /// The processor architecture, as image configurations name it.
    pub architecture: &'a str,
    /// The operating system, as image configurations name it.
    pub os: &'a str,
    /// How to run the image: `config` of the image configuration.
    pub config: Value,
}

impl Image<'_> {
    /// Writes the image as an OCI image layout and returns the digest of its manifest. The same content has the same
    /// digest.
    pub fn write(self, layout: &Path) -> Result<String> {
        if layout.exists() {
            fs::remove_dir_all(layout)?;
        }
        fs::create_dir_all(layout.join("blobs/sha256"))?;

        let archive = self.archive()?;
        // The header has no name and no time: they would change the digest.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&archive)?;
        let layer = blob(layout, LAYER, &gzip.finish()?)?;

        let configuration = json!({
            "architecture": self.architecture,
            "os": self.os,
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&archive)]},
        });
        let configuration = blob(layout, CONFIG, configuration.to_string().as_bytes())?;

        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": configuration,
            "layers": [layer],
        });
        let manifest = manifest.to_string();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [blob(layout, MANIFEST, manifest.as_bytes())?],
        });
        fs::write(layout.join("index.json"), index.to_string())?;
        fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
        Ok(digest(manifest.as_bytes()))
    }

    /// Returns the layer as a tar archive, with no owner and no time.
    fn archive(&self) -> Result<Vec<u8>> {
        let mut header = tar::Header::new_ustar();
        header.set_size(self.content.len() as u64);
        header.set_mode(self.mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut header, self.name, self.content)?;
        Ok(archive.into_inner()?)
    }
}

/// Returns the SHA-256 digest as hexadecimal digits.
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the digest as images name it.
fn digest(content: &[u8]) -> String {
    format!("sha256:{}", sha256(content))
}

/// Writes a blob into the layout and returns its descriptor.
fn blob(layout: &Path, media_type: &str, content: &[u8]) -> Result<Value> {
    fs::write(layout.join("blobs/sha256").join(sha256(content)), content)?;
    Ok(json!({"mediaType": media_type, "digest": digest(content), "size": content.len()}))
}

#[cfg(test)]
mod tests {
    use super::{Image, sha256};
    use flate2::read::GzDecoder;
    use serde_json::{Value, json};
    use std::fs;
    use std::io::Read;
    use std::path::Path;

    fn image(content: &[u8]) -> Image<'_> {
        Image {
            content,
            name: "plugin.wasm",
            mode: 0o644,
            architecture: "wasm",
            os: "wasip1",
            config: json!({"User": "1:1"}),
        }
    }

    /// The blob that a descriptor names, checked against its digest and its size.
    fn read_blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        let content = fs::read(layout.join("blobs/sha256").join(digest)).expect("a blob");
        assert_eq!(sha256(&content), digest);
        assert_eq!(descriptor["size"], content.len());
        content
    }

    fn read_json(layout: &Path, descriptor: &Value) -> Value {
        serde_json::from_slice(&read_blob(layout, descriptor)).expect("JSON")
    }

    #[test]
    fn same_content_has_the_same_digest_and_other_content_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = directory.path().join("layout");
        let digest = image(b"content").write(&layout).expect("a layout");
        assert_ne!(image(b"other").write(&layout).expect("a layout"), digest);
        assert_eq!(image(b"content").write(&layout).expect("a layout"), digest);
    }

    #[test]
    fn layout_has_an_index_a_manifest_a_configuration_and_one_layer_with_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let layout = directory.path().join("layout");
        // A longer file of an earlier image leaves nothing behind.
        image(&[0; 100_000]).write(&layout).expect("a layout");
        let digest = image(b"content").write(&layout).expect("a layout");

        let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).expect("a file")).expect("JSON");
        assert_eq!(index["manifests"][0]["digest"], digest);
        let manifest = read_json(&layout, &index["manifests"][0]);
        let configuration = read_json(&layout, &manifest["config"]);
        assert_eq!(
            (&configuration["architecture"], &configuration["os"], &configuration["config"]),
            (&json!("wasm"), &json!("wasip1"), &json!({"User": "1:1"}))
        );
        let mut archive = Vec::new();
        GzDecoder::new(&read_blob(&layout, &manifest["layers"][0])[..]).read_to_end(&mut archive).expect("gzip");
        assert_eq!(configuration["rootfs"]["diff_ids"], json!([format!("sha256:{}", sha256(&archive))]));
        let mut archive = tar::Archive::new(&archive[..]);
        let mut files = archive.entries().expect("a tar archive");
        let mut file = files.next().expect("a file").expect("a file");
        let mut content = Vec::new();
        file.read_to_end(&mut content).expect("no error");
        assert_eq!((file.path_bytes().as_ref(), content.as_slice()), (&b"plugin.wasm"[..], &b"content"[..]));
        assert_eq!((file.header().mode().ok(), file.header().mtime().ok()), (Some(0o644), Some(0)));
        assert!(files.next().is_none());
        assert_eq!(fs::read_dir(layout.join("blobs/sha256")).expect("a directory").count(), 3);
    }
}
