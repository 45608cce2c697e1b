//! A blocking shell around the core: what a server needs beside it, in one thread per connection.
#![allow(dead_code, reason = "each test crate uses its part")]

pub(crate) mod digest;
pub(crate) mod publisher;
pub(crate) mod wire;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use roomscribe_rtmp::{Event, Limits, Metadata, Rejection, ServerSession, SessionError, Stats};

/// What one connection did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) app: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) tc_url: String,
    pub(crate) metadata: Vec<Metadata>,
    pub(crate) audio: Vec<(u32, Vec<u8>)>,
    pub(crate) unpublished: bool,
    pub(crate) error: Option<SessionError>,
    pub(crate) closed: bool,
    pub(crate) stats: Stats,
}

/// One publisher per key; a newer one takes over. Only `good_key` may publish.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    live: Option<TcpStream>,
}

impl Server {
    pub(crate) fn start(good_key: &'static str, rejection: Rejection, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let index = {
                    let mut state = shared.0.lock().expect("state");
                    state.records.push(Record::default());
                    state.records.len() - 1
                };
                let connection = Connection { good_key, rejection, state: shared.clone(), index };
                let limits = limits.clone();
                std::thread::spawn(move || connection.run(stream, limits));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtmp://{}{path}", self.address)
    }

    /// Waits until `condition` holds of the connections so far and returns them.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&[Record]) -> bool) -> Vec<Record> {
        let guard = self.state.0.lock().expect("state");
        let limit = Duration::from_secs(20);
        let (guard, result) =
            self.state.1.wait_timeout_while(guard, limit, |state| !condition(&state.records)).expect("state");
        assert!(!result.timed_out(), "waited 20 s for: {what}; {}", summary(&guard.records));
        guard.records.clone()
    }
}

fn summary(records: &[Record]) -> String {
    let line = |r: &Record| {
        format!(
            "[app {:?} key {:?} audio {} error {:?} closed {}]",
            r.app,
            r.key,
            r.audio.len(),
            r.error,
            r.closed
        )
    };
    records.iter().map(line).collect()
}

struct Connection {
    good_key: &'static str,
    rejection: Rejection,
    state: Arc<(Mutex<State>, Condvar)>,
    index: usize,
}

impl Connection {
    fn run(self, mut stream: TcpStream, limits: Limits) {
        let mut session = ServerSession::new(limits, [42; 32], Duration::ZERO);
        let error = self.serve(&mut stream, &mut session).err().flatten();
        let _ = stream.write_all(session.outbound());
        // A close with unread bytes would be a reset, and the peer might never see why.
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = std::io::copy(&mut (&stream).take(1 << 20), &mut std::io::sink());
        let _ = stream.shutdown(Shutdown::Both);
        self.update(|record| {
            record.error = error;
            record.closed = true;
            record.stats = session.stats();
        });
    }

    /// `Err(None)`: the peer is gone, or it was rejected.
    fn serve(&self, stream: &mut TcpStream, session: &mut ServerSession) -> Result<(), Option<SessionError>> {
        let start = Instant::now();
        let mut buffer = [0; 16 * 1024];
        loop {
            // Without it each small write of the client waits for our delayed acknowledgement (about 40 ms).
            #[cfg(target_os = "linux")]
            socket2::SockRef::from(&*stream).set_tcp_quickack(true).map_err(|_| None)?;
            let deadline = session.next_deadline().ok_or(None)?;
            let patience = deadline.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(patience)).map_err(|_| None)?;
            match stream.read(&mut buffer) {
                Ok(0) => return Err(None),
                Ok(n) => session.receive(&buffer[..n], start.elapsed()).map_err(Some)?,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    session.handle_timeout(start.elapsed()).map_err(Some)?;
                }
                Err(_) => return Err(None),
            }
            while let Some(event) = session.poll_event() {
                self.on_event(event, session, stream, start.elapsed())?;
            }
            self.update(|record| record.stats = session.stats());
            let written = session.outbound().len();
            stream.write_all(session.outbound()).map_err(|_| None)?;
            session.sent(written);
        }
    }

    fn on_event(
        &self,
        event: Event,
        session: &mut ServerSession,
        stream: &TcpStream,
        now: Duration,
    ) -> Result<(), Option<SessionError>> {
        match event {
            Event::Publish { app, stream_key, tc_url } => {
                let good = stream_key.expose() == self.good_key;
                self.update(|record| {
                    record.app = Some(app);
                    record.key = Some(stream_key.expose().to_owned());
                    record.tc_url = tc_url;
                });
                if !good {
                    session.reject_publish(self.rejection);
                    return Err(None);
                }
                let old =
                    self.state.0.lock().expect("state").live.replace(stream.try_clone().expect("clone"));
                if let Some(old) = old {
                    let _ = old.shutdown(Shutdown::Both);
                }
                session.accept_publish(now);
            }
            Event::Metadata(metadata) => self.update(|record| record.metadata.push(metadata)),
            Event::Audio { timestamp_ms, body } => {
                self.update(|record| record.audio.push((timestamp_ms, body.clone())));
                session.recycle(body);
            }
            Event::Unpublished => self.update(|record| record.unpublished = true),
        }
        Ok(())
    }

    fn update(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.state.0.lock().expect("state").records.get_mut(self.index) {
            change(record);
        }
        self.state.1.notify_all();
    }
}
