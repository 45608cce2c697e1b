//! RTMPS: the certificate of the RTMP port, and its renewal while the program runs.

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

/// Between two looks at the files.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// A chain of certificates has some kilobytes.
const LONGEST_FILE: u64 = 1024 * 1024;
const CERT: &str = "TLS_CERT";
const KEY: &str = "TLS_KEY";

/// A pair that cannot be used: which setting, and the mend. No part of a file is ever quoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct TlsError {
    setting: &'static str,
    detail: String,
}

impl TlsError {
    fn new(setting: &'static str, detail: impl fmt::Display) -> Self {
        Self { setting, detail: detail.to_string() }
    }

    /// The setting's name.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

/// What the RTMP port shows to publishers; cheap to clone, all clones renew together.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    seen: Mutex<Seen>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("cert", &self.0.cert).finish_non_exhaustive()
    }
}

/// The pair in force: the handshakes that begin from now on get it.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What tells a file from what it was; `None` while it is not there.
type Stamp = Option<(u64, SystemTime, u64)>;
/// Certificate and key.
type Seen = (Stamp, Stamp);

/// What a look at the files found.
#[derive(Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The same files as at the last look.
    Unchanged,
    /// A new pair is in force.
    Renewed,
    /// The new files cannot be used; the pair before stays.
    Kept(TlsError),
}

impl Tls {
    /// From the two settings, both paths of PEM files; `None` when neither is given (an empty one is none).
    ///
    /// # Errors
    /// One without the other, a file that cannot be read, or a key that is not the certificate's.
    pub fn open(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<Self>, TlsError> {
        let given =
            |path: Option<&Path>| path.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned);
        let (cert, key) = match (given(cert), given(key)) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => return Err(TlsError::new(KEY, half(CERT))),
            (None, Some(_)) => return Err(TlsError::new(CERT, half(KEY))),
        };
        let seen = look(&cert, &key);
        let shown = Arc::new(Shown(RwLock::new(Arc::new(load(&cert, &key)?))));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(CERT, error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Shown>::clone(&shown));
        let inner = Inner { cert, key, config: Arc::new(config), shown, seen: Mutex::new(seen) };
        Ok(Some(Self(Arc::new(inner))))
    }

    /// A connection's side of TLS.
    pub(crate) fn connection(&self) -> Result<ServerConnection, rustls::Error> {
        ServerConnection::new(Arc::clone(&self.0.config))
    }

    /// Looks at the files; a changed pair that can be used is shown from now on. Bad files are told once: the next look
    /// finds them unchanged.
    pub fn renew(&self) -> Renewal {
        let Inner { cert, key, shown, seen, .. } = &*self.0;
        // Before reading: files that change meanwhile look changed at the next look.
        let now = look(cert, key);
        if std::mem::replace(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner), now) == now {
            return Renewal::Unchanged;
        }
        match load(cert, key) {
            Ok(pair) => {
                *shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                Renewal::Renewed
            }
            Err(error) => Renewal::Kept(error),
        }
    }

    /// Renews for ever. Files can hang (a network folder): a thread waits for them, one at a time.
    pub async fn keep_fresh(self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let looking = self.clone();
            match tokio::task::spawn_blocking(move || looking.renew()).await {
                Ok(Renewal::Renewed) => tracing::info!("the new TLS certificate is in force"),
                Ok(Renewal::Kept(error)) => {
                    let setting = error.setting();
                    tracing::error!(setting, %error, "the new TLS files cannot be used; the old certificate stays until they are mended");
                }
                Ok(Renewal::Unchanged) | Err(_) => {}
            }
        }
    }
}

fn half(given: &str) -> String {
    format!("is not set, but {given} is: give both (paths of PEM files), or neither for RTMP without TLS")
}

fn look(cert: &Path, key: &Path) -> Seen {
    // Follows links: a renewed Kubernetes Secret is a link to another folder.
    let stamp = |path: &Path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.modified().ok()?, meta.len()))
    };
    (stamp(cert), stamp(key))
}

fn load(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read(CERT, cert)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::new(CERT, broken(cert, &error)))?;
    if chain.is_empty() {
        let path = cert.display();
        return Err(TlsError::new(
            CERT,
            format_args!("{path} holds no certificate: give a PEM file with the chain"),
        ));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(KEY, key)?)
        .map_err(|error| TlsError::new(KEY, broken(key, &error)))?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|error| unfit(cert, key, &error))
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let whole = File::open(path).and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes));
    let path = path.display();
    match whole {
        Ok(_) if bytes.len() as u64 > LONGEST_FILE => {
            Err(TlsError::new(setting, format_args!("{path} is longer than 1 MiB: give a PEM file")))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(TlsError::new(
            setting,
            format_args!("{path} cannot be read: {error}; give the path of a PEM file"),
        )),
    }
}

fn broken(path: &Path, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::NoItemsFound => {
            format!("{path} holds no private key that can be used: give a PEM file, without a passphrase")
        }
        _ => format!("{path} is not a whole PEM file: copy it again"),
    }
}

fn unfit(cert: &Path, key: &Path, error: &rustls::Error) -> TlsError {
    let (cert, key) = (cert.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => TlsError::new(
            KEY,
            format_args!("{key} is not the key of the certificate in {cert}: give the pair"),
        ),
        rustls::Error::InvalidCertificate(_) => {
            TlsError::new(CERT, format_args!("{cert} holds no certificate that can be used: {error}"))
        }
        _ => TlsError::new(KEY, format_args!("{key} holds no private key that can be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn cert(&self) -> PathBuf {
            self.0.path().join("tls.crt")
        }

        fn key(&self) -> PathBuf {
            self.0.path().join("tls.key")
        }

        /// A new pair; its key.
        fn write(&self) -> String {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            fs::write(self.cert(), made.cert.pem()).unwrap();
            fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
            made.signing_key.serialize_pem()
        }

        fn open(&self) -> Result<Option<Tls>, TlsError> {
            Tls::open(Some(&self.cert()), Some(&self.key()))
        }
    }

    fn shown(tls: &Tls) -> CertificateDer<'static> {
        tls.0.shown.0.read().unwrap().cert[0].clone()
    }

    #[test]
    fn neither_is_no_tls_and_one_alone_names_the_other() {
        let empty = Path::new("");
        assert!(Tls::open(None, None).unwrap().is_none());
        assert!(Tls::open(Some(empty), Some(empty)).unwrap().is_none());
        for (cert, key, missing) in
            [(Some("a"), None, "TLS_KEY"), (Some("a"), Some(""), "TLS_KEY"), (None, Some("b"), "TLS_CERT")]
        {
            let error = Tls::open(cert.map(Path::new), key.map(Path::new)).unwrap_err();
            assert_eq!(error.setting(), missing, "{error}");
            assert!(error.to_string().starts_with("is not set, but TLS_"), "{error}");
        }
    }

    #[test]
    fn a_pair_that_cannot_be_used_names_the_setting_and_quotes_nothing() {
        let files = Files::new();
        let private = files.write();
        assert!(files.open().unwrap().is_some());
        let certificate = fs::read_to_string(files.cert()).unwrap();
        let other = Files::new();
        let anothers = other.write();
        let encrypted = private.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let cut = &private[..private.len() / 2];
        for (cert, key, setting, mend) in [
            ("", private.as_str(), "TLS_CERT", "no certificate"),
            (&private, &private, "TLS_CERT", "no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &private,
                "TLS_CERT",
                "no certificate",
            ),
            (&certificate[..80], &private, "TLS_CERT", "copy it again"),
            (&certificate, "", "TLS_KEY", "PEM"),
            (&certificate, &certificate, "TLS_KEY", "PEM"),
            (&certificate, &encrypted, "TLS_KEY", "passphrase"),
            (&certificate, cut, "TLS_KEY", "copy it again"),
            (&certificate, &anothers, "TLS_KEY", "not the key of the certificate"),
        ] {
            fs::write(files.cert(), cert).unwrap();
            fs::write(files.key(), key).unwrap();
            let error = files.open().unwrap_err();
            assert_eq!(error.setting(), setting, "{error}");
            let text = error.to_string();
            assert!(text.contains(mend) && !text.contains('\n'), "{mend}: {text}");
            assert!(!text.contains(&private[40..60]), "{text}");
        }
        fs::remove_file(files.key()).unwrap();
        assert_eq!(files.open().unwrap_err().setting(), "TLS_KEY");
        assert_eq!(
            Tls::open(Some(Path::new("/dev/zero")), Some(&files.key())).unwrap_err().setting(),
            "TLS_CERT"
        );
    }

    #[test]
    fn renewed_files_are_shown_and_bad_ones_keep_the_old_pair_and_are_told_once() {
        let files = Files::new();
        files.write();
        let tls = files.open().unwrap().unwrap();
        let first = shown(&tls);
        assert_eq!(tls.renew(), Renewal::Unchanged);

        let half_copied = Files::new();
        half_copied.write();
        fs::rename(half_copied.cert(), files.cert()).unwrap();
        let Renewal::Kept(error) = tls.renew() else { panic!("a certificate without its key") };
        assert_eq!(error.setting(), "TLS_KEY");
        assert_eq!((tls.renew(), shown(&tls)), (Renewal::Unchanged, first.clone()));

        fs::rename(half_copied.key(), files.key()).unwrap();
        assert_eq!(tls.renew(), Renewal::Renewed);
        assert_ne!(shown(&tls), first);

        let second = shown(&tls);
        fs::remove_file(files.cert()).unwrap();
        assert!(matches!(tls.renew(), Renewal::Kept(_)));
        assert_eq!((tls.renew(), shown(&tls)), (Renewal::Unchanged, second.clone()));
        files.write();
        assert_eq!(tls.renew(), Renewal::Renewed);
        assert_ne!(shown(&tls), second);
    }

    #[test]
    fn a_certificate_behind_a_link_that_is_turned_is_seen() {
        let (mounted, old, new) = (Files::new(), Files::new(), Files::new());
        old.write();
        new.write();
        let turn = |to: &Files| {
            for (link, target) in [(mounted.cert(), to.cert()), (mounted.key(), to.key())] {
                let _ = fs::remove_file(&link);
                std::os::unix::fs::symlink(target, link).unwrap();
            }
        };
        turn(&old);
        let tls = mounted.open().unwrap().unwrap();
        let first = shown(&tls);
        turn(&new);
        assert_eq!(tls.renew(), Renewal::Renewed);
        assert_ne!(shown(&tls), first);
    }
}
