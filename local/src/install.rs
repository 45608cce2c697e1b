//! What one installation keeps in `DATA_DIR/install.json`: its id and the key that session secrets come from.

use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Made once per `DATA_DIR`; the key is a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Install {
    v: u32,
    /// 8 hex digits (contract §2).
    pub id: String,
    key: String,
}

impl Install {
    /// Reads the installation, or makes it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, Failure> {
        let path = data_dir.join("install.json");
        let unusable =
            |what: String| Failure::setting("DATA_DIR", format_args!("{}: {what}", path.display()));
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self { v: 1, id: random_hex(4)?, key: random_hex(32)? };
                made.write(&path).map_err(|error| unusable(error.to_string()))?;
                Ok(made)
            }
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// The installation's key, for deriving session secrets.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()
    }
}

/// Random bytes from the system, as hex.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Failure> {
    let mut text = String::new();
    while text.len() < bytes * 2 {
        // A v4 UUID holds 122 random bits from the system; its first half has all but the version's four.
        text.push_str(&uuid::Uuid::new_v4().simple().to_string()[..8]);
    }
    text.truncate(bytes * 2);
    Ok(text)
}
