//! What the server may answer in place of changes: each error at each place of a stream's life.

use std::time::Instant;

use bson::{Document, doc};
use futures::TryStreamExt as _;

use crate::harness::fail_point::{FailPoint, Strikes};
use crate::harness::ledger::Ledger;
use crate::harness::rounds::at_once;
use crate::harness::scene::Scene;
use crate::harness::servers::{Pool, Server};
use crate::harness::silt::{Signal, Silt, WAIT_LIMIT};
use crate::harness::unique;

/// Servers, each with a failpoint of its own, and so cases at once.
const WIDTH: usize = 4;

/// The codes that the driver specification calls resumable.
const RESUMABLE: [i32; 18] = [
    6, 7, 43, 63, 89, 91, 133, 150, 189, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436,
];

/// What the server does to a command.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// This code, with or without the label that the server gives to what a driver may resume.
    Code { code: i32, label: bool },
    /// Not even an answer.
    ClosedConnection,
}

/// Where it does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The stream of the very first start is opened.
    FirstOpen,
    /// The stream of a running feed is opened anew.
    Open,
    /// It is open, and nothing was read yet.
    FirstGetMore,
    /// Changes were read, and wait in memory.
    GetMoreBehindChanges,
    /// The same, and the first attempt to open the stream again fails too.
    Reopen,
}

const PLACES: [Place; 5] = [
    Place::FirstOpen,
    Place::Open,
    Place::FirstGetMore,
    Place::GetMoreBehindChanges,
    Place::Reopen,
];
/// What was read and waits.
const CHANGES: usize = 100;
/// What comes behind the failure.
const MORE: usize = 5;

/// What silt makes of it.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    GoesOn,
    /// Until a person has done this, and says so.
    Halts(&'static str),
    /// With status 1, and says this.
    Ends(&'static str),
}

#[derive(Debug)]
struct Case {
    failure: Failure,
    place: Place,
    outcome: Outcome,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{self:?}");
        }
    }
}

fn cases() -> impl Iterator<Item = Case> + Send {
    let code = |code: i32, label| Failure::Code { code, label };
    let resumable = RESUMABLE.into_iter();
    let going_on = resumable
        .flat_map(move |number| [code(number, true), code(number, false)])
        // A code that passes although no driver counts it as resumable; one that nobody knows and that the server calls
        // resumable.
        .chain([code(8, false), code(999, true), Failure::ClosedConnection])
        .map(|failure| (failure, Outcome::GoesOn));
    let others = [
        (13, Outcome::Halts("Grant find and changeStream")),
        (260, Outcome::Halts("delete its checkpoint")),
        (280, Outcome::Halts("delete its checkpoint")),
        (286, Outcome::Halts("ON_HISTORY_LOST=restart")),
        (10334, Outcome::Halts("FULL_DOCUMENT=default")),
        (72, Outcome::Halts("error-codes")),
        (999, Outcome::Halts("error-codes")),
        (18, Outcome::Ends("authSource")),
        (40573, Outcome::Ends("--replSet")),
    ];
    let others = others
        .into_iter()
        .map(move |(number, outcome)| (code(number, false), outcome));
    going_on.chain(others).flat_map(|(failure, outcome)| {
        PLACES.into_iter().map(move |place| Case {
            failure,
            place,
            outcome,
        })
    })
}

#[test]
fn whatever_the_server_answers_nothing_is_lost_and_nothing_doubled() {
    let servers = Pool::mongods(WIDTH);
    at_once(cases(), WIDTH, async |case| {
        let server = servers.take();
        Trial::new(&server, case).await.run().await;
        servers.give_back(server);
    });
}

/// One case on its way.
struct Trial {
    case: Case,
    app_name: String,
    scene: Scene,
    ledger: Ledger,
}

impl Trial {
    async fn new(server: &Server, case: Case) -> Self {
        let app_name = unique("silt");
        let uri = format!("{}&heartbeatFrequencyMS=500", server.uri());
        let scene = Scene::on(&uri)
            .await
            .with("MONGODB_URI", &format!("{uri}&appName={app_name}"))
            .with("LOG_LEVEL", "debug");
        // The stream of a collection that isn't there yet is a special one.
        scene.database.create_collection("users").await.unwrap();
        let ledger = Ledger::of(&scene, "users").await;
        Self {
            case,
            app_name,
            scene,
            ledger,
        }
    }

    async fn run(mut self) {
        let (silt, failing) = match self.case.place {
            Place::FirstOpen | Place::FirstGetMore => {
                let failing = self.arm().await;
                (Silt::start(&self.scene.settings), failing)
            }
            Place::Open => {
                let silt = self.watching();
                let failing = self.arm().await;
                self.kill_cursor().await;
                // The request that waits comes back, and the next one finds no cursor.
                self.ledger.insert(&self.scene, 1).await;
                (silt, failing)
            }
            Place::GetMoreBehindChanges | Place::Reopen => {
                let mut silt = self.watching();
                self.ledger.insert(&self.scene, CHANGES).await;
                silt.wait_until_read("users", CHANGES as u64);
                let failing = self.arm().await;
                // The request that waits comes back, and the next one fails.
                self.ledger.insert(&self.scene, 1).await;
                (silt, failing)
            }
        };
        failing.struck(1).await;
        self.ledger.insert(&self.scene, MORE).await;
        let silt = match self.case.outcome {
            Outcome::GoesOn => self.goes_on(silt),
            Outcome::Halts(remedy) => self.halts(silt, remedy, &failing).await,
            Outcome::Ends(remedy) => self.ends(silt, remedy, &failing).await,
        };
        failing.disarm().await;
        self.ledger.verify(&self.scene, silt).await;
    }

    fn watching(&self) -> Silt {
        Silt::watching(&self.scene.settings, &["users"])
    }

    async fn arm(&self) -> FailPoint {
        let Case {
            failure,
            place,
            outcome,
        } = self.case;
        let failure = match failure {
            Failure::Code { code, label } => {
                let labels: &[&str] = match label {
                    true => &["ResumableChangeStreamError"],
                    false => &[],
                };
                doc! { "errorCode": code, "errorLabels": labels }
            }
            Failure::ClosedConnection => doc! { "closeConnection": true },
        };
        let (commands, times) = match place {
            // The driver may try three times before silt hears of it.
            Place::FirstOpen | Place::Open => (&["aggregate"][..], 3),
            Place::FirstGetMore | Place::GetMoreBehindChanges => (&["getMore"][..], 1),
            // A stream that the driver resumes by itself would begin anew where it was first opened.
            Place::Reopen => (&["getMore", "aggregate"][..], 2),
        };
        let strikes = match outcome {
            Outcome::GoesOn => Strikes::Times(times),
            Outcome::Halts(_) | Outcome::Ends(_) => Strikes::Always,
        };
        FailPoint::arm(
            &self.scene.client,
            &self.app_name,
            commands,
            strikes,
            &failure,
        )
        .await
    }

    /// Kills silt's cursor, so that its stream must be opened anew.
    async fn kill_cursor(&self) {
        let begun = Instant::now();
        let cursors = loop {
            // Between two requests it may be neither idle nor at work.
            let cursors = self.cursors().await;
            if !cursors.is_empty() {
                break cursors;
            }
            assert!(begun.elapsed() < WAIT_LIMIT, "silt has no cursor");
        };
        let kill = doc! { "killCursors": "users", "cursors": cursors };
        self.scene.database.run_command(kill).await.unwrap();
    }

    async fn cursors(&self) -> Vec<i64> {
        let namespace = format!("{}.users", self.scene.database.name());
        let pipeline = [
            doc! { "$currentOp": { "allUsers": true, "idleCursors": true } },
            doc! { "$match": { "ns": namespace, "cursor.cursorId": { "$exists": true } } },
        ];
        let admin = self.scene.client.database("admin");
        let found = admin.aggregate(pipeline).await.unwrap();
        let found: Vec<Document> = found.try_collect().await.unwrap();
        let id = |found: &Document| found.get_document("cursor").unwrap().get_i64("cursorId");
        found.iter().map(|found| id(found).unwrap()).collect()
    }

    fn goes_on(&self, mut silt: Silt) -> Silt {
        silt.wait_until_read("users", self.ledger.acknowledged.len() as u64);
        let halted = silt.log.iter().filter(|line| is_halt(line)).count();
        assert_eq!(halted, 0, "{}", silt.text());
        silt
    }

    async fn halts(&self, mut silt: Silt, remedy: &str, failing: &FailPoint) -> Silt {
        let line = silt.wait_where("halted", is_halt);
        let error = line["error"].as_str().unwrap();
        assert!(error.contains(remedy), "{error}");
        if self.case.place == Place::GetMoreBehindChanges {
            // What was read is brought to safety.
            silt.wait_for_flushed("users", CHANGES as u64);
        }
        failing.disarm().await;
        silt.signal(Signal::USR1);
        silt.wait_until_read("users", self.ledger.acknowledged.len() as u64);
        silt
    }

    async fn ends(&self, silt: Silt, remedy: &str, failing: &FailPoint) -> Silt {
        let (code, silt) = silt.wait();
        assert_eq!(code, 1, "{}", silt.text());
        let says_it = |line: &serde_json::Value| {
            line["level"] == "ERROR" && line["error"].as_str().unwrap().contains(remedy)
        };
        assert!(silt.log.iter().any(says_it), "{}", silt.text());
        let archived = self.scene.archived("users").len();
        if self.case.place == Place::GetMoreBehindChanges {
            assert!(archived >= CHANGES, "not drained: {}", silt.text());
        }
        failing.disarm().await;
        self.watching()
    }
}

fn is_halt(line: &serde_json::Value) -> bool {
    line["message"].as_str().unwrap().starts_with("halted")
}
