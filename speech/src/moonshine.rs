//! The on-device recogniser: Moonshine's C library, loaded at run time. The only module with `unsafe`.
//!
//! The C API is the one of `moonshine-voice` 0.0.49 (`moonshine_api.py` of that wheel mirrors its header): handles
//! are `int32`, negative ones are errors, transcripts belong to the transcriber until its next call.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use libloading::{Library, Symbol};

use crate::model_files::MoonshineFiles;

/// `MOONSHINE_HEADER_VERSION` of the wheel's Python binding.
const HEADER_VERSION: i32 = 20_000;
/// `ModelArch.TINY`.
const ARCH_TINY: u32 = 0;
/// Voice probability of the library's detector (Silero) above which sound is speech.
const VOICE: &str = "0.5";
/// Less detected voice than this in an utterance is noise, for which the model would make words up.
/// (The detector smooths: synthesised "No." and "Hi." measure 0.77 s and more.)
const MIN_VOICE_SECONDS: f32 = 0.45;

/// The model hears best at full level: over eight recordings the mean word error rate fell from 9.3 % to 7.4 %.
const PEAK: f32 = 0.9;
const MOST_GAIN: f32 = 10.0;

#[repr(C)]
struct RawOption {
    name: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct RawLine {
    text: *const c_char,
    audio: *const f32,
    audio_count: usize,
    start_time: f32,
    duration: f32,
    id: u64,
    is_complete: i8,
    is_updated: i8,
    is_new: i8,
    has_text_changed: i8,
    has_speaker_id: i8,
    speaker_id: u64,
    speaker_index: u32,
    latency_ms: u32,
}

#[repr(C)]
struct RawTranscript {
    lines: *const RawLine,
    line_count: u64,
}

type Load = unsafe extern "C" fn(*const c_char, u32, *const RawOption, u64, i32) -> i32;
type Free = unsafe extern "C" fn(i32);
type Transcribe = unsafe extern "C" fn(i32, *const f32, u64, i32, u32, *mut *const RawTranscript) -> i32;

/// Why the library did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoonshineError {
    #[error("its library does not load: {0}")]
    Library(#[from] libloading::Error),
    #[error("its model does not load (code {0})")]
    Model(i32),
    #[error("recognition failed (code {0})")]
    Recognition(i32),
    #[error("the model's path has a zero byte")]
    Path,
}

/// One recogniser, for one thread at a time: a voice detector and the model.
pub(crate) struct Moonshine {
    detector: Transcriber,
    model: Transcriber,
}

impl Moonshine {
    /// Loads the library (once per process, the system sees to it) and the model, about 0.3 s and 60 MB.
    pub(crate) fn load(files: &MoonshineFiles) -> Result<Self, MoonshineError> {
        // SAFETY: the library is the pinned, verified one; its initialisers register C++ statics only.
        let library = Arc::new(unsafe { Library::new(&files.library) }?);
        let detector =
            &[("skip_transcription", "true"), ("vad_threshold", VOICE), ("return_audio_data", "false")];
        // Threshold 0: everything is one line, because utterances are already cut.
        let model = &[("vad_threshold", "0.0"), ("return_audio_data", "false")];
        Ok(Self {
            detector: Transcriber::load(&library, &files.model, detector)?,
            model: Transcriber::load(&library, &files.model, model)?,
        })
    }

    /// The words in an utterance of at most 60 s, `""` when there is no voice in it.
    pub(crate) fn hear(&mut self, audio: &[f32], sample_rate: u32) -> Result<String, MoonshineError> {
        let voiced: f32 = self.detector.lines(audio, sample_rate)?.iter().map(|l| l.1).sum();
        if voiced < MIN_VOICE_SECONDS {
            return Ok(String::new());
        }
        let lines = self.model.lines(&louder(audio), sample_rate)?;
        Ok(lines.iter().map(|(text, _)| text.trim()).collect::<Vec<_>>().join(" ").trim().to_owned())
    }
}

/// Raised to [`PEAK`], by at most [`MOST_GAIN`].
fn louder(audio: &[f32]) -> Vec<f32> {
    let peak = audio.iter().fold(0.0_f32, |p, s| p.max(s.abs()));
    let gain = (PEAK / peak.max(f32::MIN_POSITIVE)).clamp(1.0, MOST_GAIN);
    audio.iter().map(|s| s * gain).collect()
}

/// One `transcriber` handle of the library.
struct Transcriber {
    library: Arc<Library>,
    handle: i32,
}

impl Transcriber {
    fn load(library: &Arc<Library>, model: &Path, options: &[(&str, &str)]) -> Result<Self, MoonshineError> {
        let path = CString::new(model.as_os_str().as_bytes()).map_err(|_| MoonshineError::Path)?;
        let c_string = |s: &str| CString::new(s).map_err(|_| MoonshineError::Path);
        let owned = options
            .iter()
            .map(|(name, value)| Ok((c_string(name)?, c_string(value)?)))
            .collect::<Result<Vec<_>, MoonshineError>>()?;
        let raw: Vec<_> =
            owned.iter().map(|(n, v)| RawOption { name: n.as_ptr(), value: v.as_ptr() }).collect();
        // SAFETY: the symbol has this signature in the header version named; all pointers outlive the call and the
        // library copies what it keeps.
        let handle = unsafe {
            let load: Symbol<'_, Load> = library.get(b"moonshine_load_transcriber_from_files\0")?;
            load(path.as_ptr(), ARCH_TINY, raw.as_ptr(), raw.len() as u64, HEADER_VERSION)
        };
        if handle < 0 {
            Err(MoonshineError::Model(handle))
        } else {
            Ok(Self { library: Arc::clone(library), handle })
        }
    }

    /// Text and duration (seconds) of each line the library finds. `&mut`: the result lives until the next call.
    fn lines(&mut self, audio: &[f32], sample_rate: u32) -> Result<Vec<(String, f32)>, MoonshineError> {
        let mut transcript: *const RawTranscript = std::ptr::null();
        let rate = i32::try_from(sample_rate).unwrap_or(i32::MAX);
        // SAFETY: signature as in the header; `audio` is valid for its length and only read; `transcript` is ours.
        let code = unsafe {
            let call: Symbol<'_, Transcribe> =
                self.library.get(b"moonshine_transcribe_without_streaming\0")?;
            call(self.handle, audio.as_ptr(), audio.len() as u64, rate, 0, &raw mut transcript)
        };
        if code < 0 {
            return Err(MoonshineError::Recognition(code));
        }
        if transcript.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: on success the library points `transcript` to a valid struct whose `lines` has `line_count`
        // elements (or is null with none); both stay valid until the next call on this handle, which needs `&mut`.
        let lines = unsafe {
            let t = &*transcript;
            if t.lines.is_null() { &[] } else { std::slice::from_raw_parts(t.lines, t.line_count as usize) }
        };
        Ok(lines.iter().map(|line| (line.text(), line.duration)).collect())
    }
}

impl RawLine {
    fn text(&self) -> String {
        if self.text.is_null() {
            return String::new();
        }
        // SAFETY: a non-null `text` is a zero-terminated string that lives as long as the transcript.
        unsafe { std::ffi::CStr::from_ptr(self.text) }.to_string_lossy().into_owned()
    }
}

impl Drop for Transcriber {
    fn drop(&mut self) {
        // SAFETY: signature as in the header; the handle is ours and used for the last time.
        unsafe {
            if let Ok(free) = self.library.get::<Free>(b"moonshine_free_transcriber\0") {
                free(self.handle);
            }
        }
    }
}
