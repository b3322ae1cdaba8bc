//! Stands between silt and Azurite and fails as a test wishes.
//!
//! It names each request by what it asks for, counts it, and answers, stalls, resets, loses the reply
//! or holds the request for the test to decide. Written by hand and of plain threads: a test blocks
//! while it waits for silt, and a fault below HTTP (a reset, half a conversation) is nothing that a
//! library of HTTP does well. Each connection carries one request, so the end of a reply is the end
//! of its connection, and replies pass without being understood.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::http::{Answer, Kind, Request};
use super::silt::WAIT_LIMIT;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This is the answer; the server never hears of it.
    Answer(Answer),
    /// No answer comes; the server never hears of it.
    Stall,
    /// The connection is reset; the server never hears of it.
    Reset,
    /// The server acts, and the connection is reset.
    LoseReply,
    /// The server acts, and no answer comes.
    StallReply,
    /// The server acts, and this comes in place of its reply.
    Misreport(Answer),
    /// The test decides.
    Hold(Moment, Sender<Held>),
}

/// When a request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is on its way to the server.
    Before,
    /// The server has acted, the reply is on its way.
    After,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug)]
pub struct Which {
    /// `None`: all.
    kind: Option<Kind>,
    /// So many pass first.
    passing: u32,
    /// So many are hit then.
    hits: u32,
}

impl Which {
    /// The nth of a kind from now on, counted from 1.
    pub fn nth(kind: Kind, nth: u32) -> Self {
        Self {
            kind: Some(kind),
            passing: nth - 1,
            hits: 1,
        }
    }

    /// The next of a kind.
    pub fn next(kind: Kind) -> Self {
        Self::nth(kind, 1)
    }

    /// All of a kind until the proxy is mended.
    pub fn every(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            passing: 0,
            hits: u32::MAX,
        }
    }

    /// Everything until the proxy is mended.
    pub fn all() -> Self {
        Self {
            kind: None,
            passing: 0,
            hits: u32::MAX,
        }
    }
}

/// A request that came.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub kind: Kind,
    pub at: Instant,
    pub body_len_bytes: usize,
    /// Whether a fault hit it.
    pub is_hit: bool,
}

/// A running proxy.
pub struct HttpProxy {
    port: u16,
    account: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Host and port of Azurite.
    server: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_over: bool,
    faults: Vec<(Which, Fault)>,
    seen: Vec<Seen>,
    /// Blocks of the flush that is under way.
    blocks: u8,
}

impl HttpProxy {
    /// A proxy in front of an endpoint `http://host:port/account`.
    pub fn new(endpoint: &str) -> Self {
        let rest = endpoint.strip_prefix("http://").unwrap();
        let (server, account) = rest.split_once('/').unwrap();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.listen(&listener)
        });
        Self {
            port,
            account: account.to_owned(),
            shared,
        }
    }

    /// Where silt finds it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.port, self.account)
    }

    /// Lets these requests fail. The newest fault that fits a request is the one that hits it.
    pub fn fail(&self, which: Which, fault: Fault) {
        self.shared
            .state
            .lock()
            .unwrap()
            .faults
            .push((which, fault));
    }

    /// Holds a request.
    pub fn hold(&self, which: Which, moment: Moment) -> Point {
        let (sender, held) = channel();
        self.fail(which, Fault::Hold(moment, sender));
        Point { which, held }
    }

    /// Ends all faults.
    pub fn mend(&self) {
        self.shared.state.lock().unwrap().faults.clear();
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.state.lock().unwrap().seen.clear();
    }

    /// Waits until the requests seen so far fit.
    pub fn wait_until(&self, what: &str, fits: impl Fn(&[Seen]) -> bool) {
        let begun = Instant::now();
        let mut state = self.shared.state.lock().unwrap();
        while !fits(&state.seen) {
            let left = WAIT_LIMIT.saturating_sub(begun.elapsed());
            assert!(
                left > Duration::ZERO,
                "waited in vain for {what}: {:?}",
                state.seen
            );
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until so many requests were hit.
    pub fn wait_for_hits(&self, count: usize) {
        self.wait_until("hits", |seen| {
            seen.iter().filter(|seen| seen.is_hit).count() >= count
        });
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        // A test that fails while it waits leaves the lock poisoned; it is to fail alone.
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).is_over = true;
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// A place where a request is to be held.
pub struct Point {
    which: Which,
    held: Receiver<Held>,
}

impl Point {
    /// Waits until it is.
    pub fn reached(&self) -> Held {
        self.held
            .recv_timeout(WAIT_LIMIT)
            .unwrap_or_else(|_| panic!("{:?} never came", self.which))
    }
}

/// A request that is held. Dropped, it is given up: the connection is closed.
#[derive(Debug)]
pub struct Held {
    go: Sender<Sender<()>>,
}

impl Held {
    /// Lets it go on, and waits until it is through, whether the client is still there or not.
    pub fn release(self) {
        let (sender, done) = channel();
        self.go.send(sender).unwrap();
        // The other side ends by being dropped.
        let _ = done.recv_timeout(WAIT_LIMIT);
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.state.lock().unwrap().is_over {
                return;
            }
            let shared = Arc::clone(self);
            // A client or a server that goes away is part of what is tested.
            std::thread::spawn(move || shared.serve(client?));
        }
    }

    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        let Some(request) = Request::read(&client)? else {
            return Ok(());
        };
        let pass = || request.forward(&self.server);
        let kind = request.kind();
        if matches!(kind, Kind::Block(_)) && is_gone(&client) {
            // Of a try that was given up. The server acts, but it is no block of the try that came since.
            return pass().map(drop);
        }
        let Some(fault) = self.admit(kind, request.body_len_bytes) else {
            let reply = pass()?;
            if kind == Kind::List {
                self.state.lock().unwrap().blocks = 0;
            }
            return (&client).write_all(&reply);
        };
        match fault {
            Fault::Answer(answer) => (&client).write_all(&answer.bytes()),
            Fault::Stall => await_end(&client),
            Fault::Reset => reset(&client),
            Fault::LoseReply => pass().and_then(|_| reset(&client)),
            Fault::StallReply => pass().and_then(|_| await_end(&client)),
            Fault::Misreport(answer) => pass().and_then(|_| (&client).write_all(&answer.bytes())),
            Fault::Hold(moment, held) => {
                let reply = (moment == Moment::After).then(pass).transpose()?;
                let (go, decision) = channel();
                drop(held.send(Held { go }));
                let Ok(_done) = decision.recv() else {
                    return Ok(());
                };
                (&client).write_all(&reply.map_or_else(pass, Ok)?)
            }
        }
    }

    /// Notes a request, and says what is to happen to it.
    fn admit(&self, kind: Kind, body_len_bytes: usize) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let kind = state.count_block(kind);
        let fault = state.fault(kind);
        state.seen.push(Seen {
            kind,
            at: Instant::now(),
            body_len_bytes,
            is_hit: fault.is_some(),
        });
        self.changed.notify_all();
        fault
    }
}

impl State {
    /// Which block of its flush it is. Before a flush is tried again, the folder is listed; what comes
    /// of the try before after that is known by its client, which has gone.
    fn count_block(&mut self, kind: Kind) -> Kind {
        match kind {
            Kind::Block(_) => {
                self.blocks += 1;
                Kind::Block(self.blocks)
            }
            Kind::Commit => {
                self.blocks = 0;
                kind
            }
            _ => kind,
        }
    }

    fn fault(&mut self, kind: Kind) -> Option<Fault> {
        let fitting = self.faults.iter_mut().rev();
        for (which, fault) in fitting.filter(|(which, _)| which.kind.is_none_or(|it| it == kind)) {
            if which.passing > 0 {
                which.passing -= 1;
            } else if which.hits > 0 {
                which.hits -= u32::from(which.hits < u32::MAX);
                return Some(fault.clone());
            }
        }
        None
    }
}

/// Whether the client has gone, without waiting for it.
fn is_gone(client: &TcpStream) -> bool {
    let peeked = client
        .set_nonblocking(true)
        .and_then(|()| client.peek(&mut [0]));
    let blocking = client.set_nonblocking(false);
    matches!(peeked, Ok(0)) || blocking.is_err()
}

/// Says nothing until the client gives up.
fn await_end(mut client: &TcpStream) -> std::io::Result<()> {
    client.read(&mut [0]).map(|_| ())
}

/// Closes the connection in the way of a crash: without a farewell.
fn reset(client: &TcpStream) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO))?;
    Ok(())
}
