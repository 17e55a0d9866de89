//! Writes the generated files of this crate, `schema/` and `samples/`, into a folder: the crate's own, or
//! the one that is named.

use std::{fs, path::Path};

#[path = "../tests/samples/mod.rs"]
mod samples;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1);
    let folder = Path::new(folder.as_deref().unwrap_or(env!("CARGO_MANIFEST_DIR")));
    for (path, content) in samples::generated() {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(())
}
