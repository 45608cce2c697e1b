//! The installation's own keys from files: a Secret that is mounted changes under a running process, and sessions whose key
//! was refused wait for that.

use crate::context::Context;
use crate::settings::{Args, SettingError};
use crate::start;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The kubelet itself needs a minute to show a changed Secret.
const PERIOD: Duration = Duration::from_secs(5);

/// The settings with what the files hold now.
///
/// # Errors
/// A file that is not there, or is empty.
pub fn read(args: &Args) -> Result<Args, SettingError> {
    let mut read = args.clone();
    let files = [
        ("LIVEKIT_API_KEY_FILE", &args.livekit_api_key_file, &mut read.livekit_api_key),
        ("LIVEKIT_API_SECRET_FILE", &args.livekit_api_secret_file, &mut read.livekit_api_secret),
        ("GLADIA_API_KEY_FILE", &args.gladia_api_key_file, &mut read.gladia_api_key),
    ];
    for (setting, path, key) in files {
        let Some(path) = path else { continue };
        file(setting, path)?.trim().clone_into(key);
    }
    let creds = args.transcripts.nats_creds.as_deref();
    read.transcripts.creds = creds.map(|path| file("NATS_CREDS", path)).transpose()?;
    Ok(read)
}

fn file(setting: &'static str, path: &Path) -> Result<String, SettingError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        SettingError::new(setting, format!("{}: {error}; mount the Secret there", path.display()))
    })?;
    if text.trim().is_empty() {
        return Err(SettingError::new(setting, format!("{} is empty", path.display())));
    }
    Ok(text)
}

/// Looks at the files for ever, and gives new keys to all sessions.
pub async fn follow(context: Arc<Context>, args: Args) {
    let mut held = match read(&args) {
        Ok(read) => read,
        Err(_) => args.clone(),
    };
    let mut told = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        match read(&args) {
            Ok(new) => {
                told = None;
                if !same(&held, &new) {
                    tracing::info!("the installation's keys have changed: sessions use the new ones");
                    start::renew(&context, &new);
                    held = new;
                }
            }
            Err(error) => {
                let said = error.to_string();
                if told.replace(said.clone()).as_ref() != Some(&said) {
                    tracing::warn!(%error, "the keys that were read before are used on");
                }
            }
        }
    }
}

fn same(a: &Args, b: &Args) -> bool {
    secrets(a) == secrets(b)
}

fn secrets(args: &Args) -> [Option<&str>; 4] {
    [
        Some(args.livekit_api_key.as_str()),
        Some(args.livekit_api_secret.as_str()),
        Some(args.gladia_api_key.as_str()),
        args.transcripts.creds.as_deref(),
    ]
}
