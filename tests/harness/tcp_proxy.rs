//! A TCP proxy that fails as networks do.
//!
//! It stands between silt and one server, and passes everything on until it is told to break something:
//! all connections that are open, those to come, or the one that carries a certain byte of the server's
//! replies or the answer to a certain request. What it was armed with says when it has struck.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};

use super::silt::WAIT_LIMIT;

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Both sides see its end.
    Cut,
    /// Both sides get an RST, and what is under way is lost.
    Reset,
    /// The client sees its end, the server doesn't.
    HalfClose,
    /// It stays open, and nothing comes through any more.
    BlackHole,
}

/// Which connection a fault strikes, and when.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// When so many more bytes came from the server, whichever connection brings the last of them.
    ReplyBytes(u64),
    /// When the server answers a request that holds these bytes. It has acted, and nobody hears of it.
    AnswerTo(Vec<u8>),
}

/// What happens to those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entrance {
    Open,
    /// As if nobody listened.
    Refused,
    /// Taken, and never answered.
    BlackHole,
}

struct Armed {
    trigger: Trigger,
    fault: Fault,
    /// How often it still strikes.
    left: u32,
    struck: mpsc::UnboundedSender<()>,
}

#[derive(Default)]
struct Mood {
    delay: Duration,
    armed: Option<Armed>,
    /// Bytes of replies, and those that come through in their place.
    forged: Option<(Vec<u8>, Vec<u8>)>,
}

/// Tells when an armed fault has struck.
pub struct Struck {
    fault: Fault,
    times: u32,
    strikes: mpsc::UnboundedReceiver<()>,
}

impl Struck {
    /// Waits until it has struck as often as it was to.
    pub async fn wait(mut self) {
        for _ in 0..self.times {
            let strike = tokio::time::timeout(WAIT_LIMIT, self.strikes.recv()).await;
            assert!(strike.is_ok(), "{:?} did not strike", self.fault);
        }
    }
}

/// The proxy. It ends, with all its connections, when it is dropped.
pub struct TcpProxy {
    address: SocketAddr,
    entrance: watch::Sender<Entrance>,
    strikes: broadcast::Sender<Fault>,
    mood: Arc<Mutex<Mood>>,
}

impl TcpProxy {
    /// A proxy that passes everything on to a server.
    pub async fn before(server: SocketAddr) -> Self {
        // Bound without listening, it keeps the port while connections are refused.
        let holder = reusable();
        holder.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();
        let (entrance, entrances) = watch::channel(Entrance::Open);
        let (strikes, _) = broadcast::channel(16);
        let mood = Arc::new(Mutex::new(Mood::default()));
        let house = House {
            server,
            strikes: strikes.downgrade(),
            mood: Arc::clone(&mood),
        };
        let listener = listen(address);
        tokio::spawn(async move {
            house.receive(listener, entrances).await;
            drop(holder);
        });
        Self {
            address,
            entrance,
            strikes,
            mood,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections that are open.
    pub fn strike(&self, fault: Fault) {
        // None may be open.
        let _ = self.strikes.send(fault);
    }

    /// Refuses new connections.
    pub fn refuse(&self) {
        self.entrance.send_replace(Entrance::Refused);
    }

    /// Takes new connections and never answers them.
    pub fn swallow(&self) {
        self.entrance.send_replace(Entrance::BlackHole);
    }

    /// Holds every piece of the server's replies back for so long.
    pub fn delay(&self, delay: Duration) {
        self.mood.lock().unwrap().delay = delay;
    }

    /// Puts other bytes, as many, in the place of these in every reply that comes in one piece.
    pub fn forge(&self, genuine: &[u8], forged: &[u8]) {
        assert_eq!(genuine.len(), forged.len());
        self.mood.lock().unwrap().forged = Some((genuine.to_vec(), forged.to_vec()));
    }

    /// New connections are well again. What is broken stays so.
    pub fn mend(&self) {
        self.entrance.send_replace(Entrance::Open);
        *self.mood.lock().unwrap() = Mood::default();
    }

    /// Breaks one connection when the time has come.
    pub fn arm(&self, trigger: Trigger, fault: Fault) -> Struck {
        self.arm_times(1, trigger, fault)
    }

    /// The same so many times, one after another.
    pub fn arm_times(&self, times: u32, trigger: Trigger, fault: Fault) -> Struck {
        let (struck, strikes) = mpsc::unbounded_channel();
        self.mood.lock().unwrap().armed = Some(Armed {
            trigger,
            fault,
            left: times,
            struck,
        });
        Struck {
            fault,
            times,
            strikes,
        }
    }
}

fn reusable() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = reusable();
    socket.bind(address).unwrap();
    socket.listen(128).unwrap()
}

/// Where connections are received.
struct House {
    server: SocketAddr,
    strikes: broadcast::WeakSender<Fault>,
    mood: Arc<Mutex<Mood>>,
}

impl House {
    async fn receive(self, listener: TcpListener, mut entrances: watch::Receiver<Entrance>) {
        let address = listener.local_addr().unwrap();
        let mut listener = Some(listener);
        loop {
            let entrance = *entrances.borrow_and_update();
            if entrance == Entrance::Refused {
                listener = None;
            } else {
                listener.get_or_insert_with(|| listen(address));
            }
            tokio::select! {
                changed = entrances.changed() => if changed.is_err() { return },
                Ok((client, _)) = accepted(listener.as_ref()) => {
                    // Whoever came in before the news did.
                    let Some(strikes) = self.strikes.upgrade() else { return };
                    match *entrances.borrow() {
                        Entrance::Refused => client.set_zero_linger().unwrap(),
                        Entrance::BlackHole => drop(tokio::spawn(swallow(client))),
                        Entrance::Open => self.connect(client, strikes.subscribe()),
                    }
                }
            }
        }
    }

    fn connect(&self, client: TcpStream, strikes: broadcast::Receiver<Fault>) {
        let (server, mood) = (self.server, Arc::clone(&self.mood));
        tokio::spawn(async move {
            // A server that isn't there: the client sees a connection that ends.
            if let Ok(server) = TcpStream::connect(server).await {
                let connection = Connection {
                    client,
                    server,
                    mood,
                    asked: Vec::new(),
                    is_awaited: false,
                };
                // Either side may end it at any time.
                let _ = connection.carry(strikes).await;
            }
        });
    }
}

async fn accepted(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Reads what comes until nothing more does, and answers nothing.
async fn swallow(mut client: TcpStream) {
    let mut nothing = vec![0; 64 * 1024];
    while matches!(client.read(&mut nothing).await, Ok(1..)) {}
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    mood: Arc<Mutex<Mood>>,
    /// The end of what the client has sent.
    asked: Vec<u8>,
    /// Whether the client has sent what a fault waits for.
    is_awaited: bool,
}

impl Connection {
    async fn carry(mut self, mut strikes: broadcast::Receiver<Fault>) -> std::io::Result<()> {
        let (mut request, mut reply) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                len = self.client.read(&mut request) => match len? {
                    0 => return Ok(()),
                    len => {
                        self.note_request(&request[..len]);
                        self.server.write_all(&request[..len]).await?;
                    }
                },
                len = self.server.read(&mut reply) => match len? {
                    0 => return Ok(()),
                    len => {
                        let delay = self.mood.lock().unwrap().delay;
                        tokio::time::sleep(delay).await;
                        self.forge(&mut reply[..len]);
                        let (passing, fault) = self.note_reply(len);
                        self.client.write_all(&reply[..passing]).await?;
                        if let Some(fault) = fault {
                            return self.suffer(fault).await;
                        }
                    }
                },
                fault = strikes.recv() => return match fault {
                    Ok(fault) => self.suffer(fault).await,
                    // The proxy is gone.
                    Err(_) => Ok(()),
                },
            }
        }
    }

    fn note_request(&mut self, piece: &[u8]) {
        let mood = self.mood.lock().unwrap();
        let Some(Trigger::AnswerTo(marker)) = mood.armed.as_ref().map(|armed| &armed.trigger)
        else {
            return;
        };
        self.asked.extend_from_slice(piece);
        self.is_awaited |= self
            .asked
            .windows(marker.len())
            .any(|bytes| bytes == marker);
        // The marker may come in two pieces.
        let old = self.asked.len().saturating_sub(marker.len() - 1);
        self.asked.drain(..old);
    }

    fn forge(&self, piece: &mut [u8]) {
        if let Some((genuine, forged)) = &self.mood.lock().unwrap().forged {
            let found = piece
                .windows(genuine.len())
                .position(|bytes| bytes == genuine);
            if let Some(at) = found {
                piece[at..at + forged.len()].copy_from_slice(forged);
            }
        }
    }

    /// How much of a piece of a reply passes, and what happens then.
    fn note_reply(&mut self, len: usize) -> (usize, Option<Fault>) {
        let mut mood = self.mood.lock().unwrap();
        let Some(armed) = &mut mood.armed else {
            self.is_awaited = false;
            return (len, None);
        };
        let passing = match &mut armed.trigger {
            Trigger::ReplyBytes(left) if *left > len as u64 => {
                *left -= len as u64;
                return (len, None);
            }
            Trigger::ReplyBytes(left) => std::mem::take(left) as usize,
            Trigger::AnswerTo(_) if self.is_awaited => 0,
            Trigger::AnswerTo(_) => return (len, None),
        };
        let fault = armed.fault;
        // Whether anybody waits for it makes no difference.
        let _ = armed.struck.send(());
        armed.left -= 1;
        if armed.left == 0 {
            mood.armed = None;
        }
        (passing, Some(fault))
    }

    async fn suffer(mut self, fault: Fault) -> std::io::Result<()> {
        match fault {
            Fault::Cut => {}
            Fault::Reset => {
                self.client.set_zero_linger()?;
                self.server.set_zero_linger()?;
            }
            Fault::HalfClose => {
                self.client.shutdown().await?;
                tokio::io::copy(&mut self.client, &mut self.server).await?;
            }
            Fault::BlackHole => swallow(self.client).await,
        }
        Ok(())
    }
}

/// A proxy that does nothing would let every test pass.
#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// A proxy before a server that answers every piece with the same bytes.
    async fn before_echo() -> TcpProxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = TcpProxy::before(listener.local_addr().unwrap()).await;
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reading, mut writing) = connection.split();
                    let _ = tokio::io::copy(&mut reading, &mut writing).await;
                });
            }
        });
        proxy
    }

    /// Sends these bytes and reads what comes until the connection ends or so many bytes came.
    async fn echo(connection: &mut TcpStream, sent: &[u8]) -> std::io::Result<Vec<u8>> {
        connection.write_all(sent).await?;
        let mut received = Vec::new();
        while received.len() < sent.len() && connection.read_buf(&mut received).await? > 0 {}
        Ok(received)
    }

    async fn connect(proxy: &TcpProxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    #[tokio::test]
    async fn each_fault_is_what_it_says() {
        let proxy = before_echo().await;
        for (fault, end) in [
            (Fault::Cut, Ok(())),
            (Fault::HalfClose, Ok(())),
            (Fault::Reset, Err(ErrorKind::ConnectionReset)),
        ] {
            let mut connection = connect(&proxy).await;
            assert_eq!(echo(&mut connection, b"well").await.unwrap(), b"well");
            let struck = proxy.arm(Trigger::ReplyBytes(3), fault);
            connection.write_all(b"broken").await.unwrap();
            struck.wait().await;
            let mut rest = Vec::new();
            let read = connection.read_to_end(&mut rest).await;
            assert_eq!(
                read.map(drop).map_err(|error| error.kind()),
                end,
                "{fault:?}"
            );
            assert!(rest.is_empty() || rest == b"bro", "{fault:?}: {rest:?}");
        }
    }

    #[tokio::test]
    async fn the_answer_to_a_request_is_lost_and_no_other() {
        let proxy = before_echo().await;
        let (mut one, mut other) = (connect(&proxy).await, connect(&proxy).await);
        let struck = proxy.arm(Trigger::AnswerTo(b"marker".to_vec()), Fault::Cut);
        assert_eq!(echo(&mut other, b"mark").await.unwrap(), b"mark");
        assert_eq!(echo(&mut one, b"a mar").await.unwrap(), b"a mar");
        assert_eq!(echo(&mut one, b"ker").await.unwrap(), b"");
        struck.wait().await;
        assert_eq!(echo(&mut other, b"marked").await.unwrap(), b"marked");
    }

    #[tokio::test]
    async fn a_forged_reply_differs_in_its_bytes_alone() {
        let proxy = before_echo().await;
        proxy.forge(b"6.0", b"4.2");
        let mut connection = connect(&proxy).await;
        let received = echo(&mut connection, b"version 6.0.27").await.unwrap();
        assert_eq!(received, b"version 4.2.27");
        proxy.mend();
        assert_eq!(echo(&mut connection, b"6.0").await.unwrap(), b"6.0");
    }

    #[tokio::test]
    async fn who_comes_is_refused_or_never_answered_until_it_is_mended() {
        let proxy = before_echo().await;
        proxy.refuse();
        // Whoever comes before the listener is gone is reset.
        let is_refused = |error: std::io::Error| error.kind() == ErrorKind::ConnectionRefused;
        while !TcpStream::connect(proxy.address())
            .await
            .is_err_and(is_refused)
        {
            tokio::task::yield_now().await;
        }
        proxy.swallow();
        let mut swallowed = loop {
            if let Ok(connection) = TcpStream::connect(proxy.address()).await {
                break connection;
            }
            tokio::task::yield_now().await;
        };
        let answer = echo(&mut swallowed, b"x");
        let answer = tokio::time::timeout(Duration::from_millis(100), answer).await;
        assert!(answer.is_err(), "{answer:?}");
        proxy.mend();
        let mut well = connect(&proxy).await;
        assert_eq!(echo(&mut well, b"well").await.unwrap(), b"well");
    }
}
