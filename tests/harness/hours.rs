//! Turns the hour of a server.
//!
//! A server takes any cluster time of the next year from a client who says that he has seen it, as drivers
//! tell each other's servers. So a test turns the hour when it likes, on a server of its own. silt's wall
//! clock is earlier then, which must make no difference.

use bson::{Timestamp, doc};
use mongodb::{Client, ClusterTime};

use super::ledger::operation_time;

const SECONDS_PER_HOUR: u32 = 3600;
/// The last operation that a server counts within a second.
const LAST_OF_SECOND: u32 = i32::MAX as u32;
/// Makes the server's hour end after so many more operations. Others may take some of them.
pub async fn turn_hour(client: &Client, operations: u32) {
    let now = operation_time(client).await;
    let next_hour = (now.time / SECONDS_PER_HOUR + 1) * SECONDS_PER_HOUR;
    let seen = doc! {
        "clusterTime": Timestamp { time: next_hour - 1, increment: LAST_OF_SECOND - operations },
        // A server without access control asks for no signature.
        "signature": {
            "hash": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![0; 20] },
            "keyId": 0_i64,
        },
    };
    let seen: ClusterTime = bson::deserialize_from_document(seen).unwrap();
    let mut session = client.start_session().await.unwrap();
    session.advance_cluster_time(&seen);
    let admin = client.database("admin");
    let ping = admin.run_command(doc! { "ping": 1 });
    ping.session(&mut session).await.unwrap();
}
