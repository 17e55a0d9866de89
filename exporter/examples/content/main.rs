//! Writes the content for the platforms (`content/`) into a folder: the repository's, or the one that is named.

use std::{fs, path::Path};

mod generated;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1);
    let folder = Path::new(folder.as_deref().unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../content")));
    for (path, text) in generated::files() {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
