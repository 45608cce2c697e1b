//! The publishers of the tests: real programs, and rml_rtmp's client in this process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;

/// A program that publishes; killed when it is dropped before its end.
pub(crate) struct Program {
    child: Child,
    stderr: mpsc::Receiver<String>,
}

impl Program {
    #[allow(clippy::panic, reason = "a test helper: says what is missing")]
    fn spawn(program: &str, args: &[&str]) -> Self {
        let child = Command::new(program)
            .args(args)
            // Only GStreamer reads these: its RTMP connection tells what it hears from the server.
            .env("GST_DEBUG", "rtmpconnection:6")
            .env("GST_DEBUG_NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!(
                "{program} is missing ({error}); on Debian: apt-get install ffmpeg gstreamer1.0-tools \
                 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
            )
        });
        let mut pipe = child.stderr.take().expect("stderr");
        let (sender, stderr) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        Self { child, stderr }
    }

    /// Waits for the end, at most `limit`; true with what it said when it ended well.
    pub(crate) fn end_within(mut self, limit: Duration) -> (bool, String) {
        let said = self.stderr.recv_timeout(limit).expect("the publisher exits before the deadline");
        (self.child.wait().expect("its exit status").success(), said)
    }

    /// Kills it and returns what it had said.
    pub(crate) fn kill(mut self) -> String {
        let _ = self.child.kill();
        self.stderr.recv_timeout(Duration::from_secs(10)).expect("the end of what it said")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sound {
    pub(crate) rate: u32,
    pub(crate) channels: u32,
    /// Paced by the clock, and long; otherwise about a second, as fast as it goes.
    pub(crate) live: bool,
}

pub(crate) fn ffmpeg(url: &str, sound: Sound) -> Program {
    ffmpeg_from(0, url, sound)
}

/// Stream time begins at `seconds`.
pub(crate) fn ffmpeg_from(seconds: u32, url: &str, sound: Sound) -> Program {
    let source = format!("sine=frequency=440:sample_rate={}", sound.rate);
    let channels = sound.channels.to_string();
    let pace: &[&str] = if sound.live { &["-re"] } else { &[] };
    let length = if sound.live { "60" } else { "1" };
    let input = ["-f", "lavfi", "-i", &source, "-t", length, "-ac", &channels];
    let offset = seconds.to_string();
    let output = ["-c:a", "aac", "-b:a", "96k", "-output_ts_offset", &offset, "-f", "flv", url];
    Program::spawn("ffmpeg", &[&["-v", "error"], pace, &input, &output].concat())
}

/// `sink` is `rtmp2sink` (GStreamer's own RTMP) or `rtmpsink` (librtmp).
pub(crate) fn gstreamer(sink: &str, url: &str, sound: Sound) -> Program {
    let source = format!("audiotestsrc is-live={} samplesperbuffer=1024", sound.live);
    let buffers = format!("num-buffers={}", if sound.live { 3000 } else { 50 });
    let caps = format!("audio/x-raw,rate={},channels={}", sound.rate, sound.channels);
    let location = format!("location={url}");
    let line = format!(
        "{source} {buffers} ! {caps} ! voaacenc bitrate=96000 ! aacparse ! flvmux streamable=true ! {sink}"
    );
    let mut args = vec!["-e"];
    args.extend(line.split(' '));
    args.push(&location);
    Program::spawn("gst-launch-1.0", &args)
}

/// What rml_rtmp's client was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Accepted,
    Status(String),
    Closed,
}

/// rml_rtmp's client on a blocking socket.
pub(crate) struct Rml {
    stream: TcpStream,
    session: ClientSession,
}

impl Rml {
    /// Connects and asks to publish.
    pub(crate) fn publish(address: std::net::SocketAddr, app: &str, key: &str) -> (Option<Self>, Told) {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        let mut handshake = Handshake::new(PeerType::Client);
        stream.write_all(&handshake.generate_outbound_p0_and_p1().expect("C0, C1")).expect("write");
        let rest = loop {
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).expect("S0 to S2");
            match handshake.process_bytes(&buffer[..n]).expect("a good handshake") {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    stream.write_all(&response_bytes).expect("write");
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    stream.write_all(&response_bytes).expect("write");
                    break remaining_bytes;
                }
            }
        };
        let (session, initial) = ClientSession::new(ClientSessionConfig::new()).expect("session");
        let mut client = Self { stream, session };
        client.write(initial);
        let results = client.session.handle_input(&rest).expect("server bytes");
        client.write(results);
        let connect = client.session.request_connection(app.to_owned()).expect("connect");
        client.write(vec![connect]);
        let told = client.negotiate(key);
        (matches!(told, Told::Accepted).then_some(client), told)
    }

    fn negotiate(&mut self, key: &str) -> Told {
        let mut buffer = [0; 4096];
        loop {
            let n = self.stream.read(&mut buffer).unwrap_or_default();
            if n == 0 {
                return Told::Closed;
            }
            let results = self.session.handle_input(&buffer[..n]).expect("server bytes");
            for event in self.write(results) {
                match event {
                    ClientSessionEvent::ConnectionRequestAccepted => {
                        let kind = PublishRequestType::Live;
                        let publish = self.session.request_publishing(key.to_owned(), kind).expect("publish");
                        self.write(vec![publish]);
                    }
                    ClientSessionEvent::PublishRequestAccepted => return Told::Accepted,
                    ClientSessionEvent::UnhandleableOnStatusCode { code } => return Told::Status(code),
                    _ => {}
                }
            }
        }
    }

    /// Metadata, an AAC header, then `frames` frames of their number.
    pub(crate) fn send(&mut self, header: &[u8], frames: u32) {
        let mut metadata = StreamMetadata::new();
        metadata.encoder = Some("roomscribe test".into());
        metadata.audio_codec_id = Some(10);
        let metadata = self.session.publish_metadata(&metadata).expect("metadata");
        self.write(vec![metadata]);
        self.audio(header.to_vec(), 0);
        for n in 0..frames {
            self.audio([&[0xaf, 1][..], &n.to_be_bytes(), &[0; 300]].concat(), n * 23);
        }
    }

    fn audio(&mut self, body: Vec<u8>, time: u32) {
        let packet = self.session.publish_audio_data(Bytes::from(body), RtmpTimestamp::new(time), false);
        self.write(vec![packet.expect("audio")]);
    }

    pub(crate) fn stop(&mut self) {
        let results = self.session.stop_publishing().expect("stop");
        self.write(results);
    }

    /// Says that no more comes and waits for the server's end: a close with unread bytes would be a reset, and the
    /// server might lose what was on its way.
    pub(crate) fn close(mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        self.is_closed_by_server();
    }

    /// Reads until the server closes; true when it did in time.
    pub(crate) fn is_closed_by_server(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn write(&mut self, results: Vec<ClientSessionResult>) -> Vec<ClientSessionEvent> {
        let mut events = Vec::new();
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    self.stream.write_all(&packet.bytes).expect("write");
                }
                ClientSessionResult::RaisedEvent(event) => events.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        events
    }
}
