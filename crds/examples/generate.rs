//! Writes `crds/yaml/<plural>.yaml` for every kind. Run by `make generate`; `make check` runs it into another
//! folder and compares.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("crds/yaml"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    for crd in crds::all() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        std::fs::write(&path, crds::to_yaml(&crd)?)?;
        println!("{}", path.display());
    }
    Ok(())
}
