//! What is benchmarked: inserts of orders, whose events are about 745 bytes long.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, RawDocumentBuf, Timestamp, doc};
use fastrand::Rng;

/// 2024-01-15T14:00:00Z.
const BEGUN_AT_MS: i64 = 1_705_327_200_000;
const STATES: [&str; 4] = ["placed", "paid", "shipped", "returned"];

/// An order, the same for the same number.
pub fn order(number: u32) -> bson::Document {
    let mut random = Rng::with_seed(u64::from(number));
    let made_at = DateTime::from_millis(BEGUN_AT_MS + i64::from(number) * 7);
    let lines: Vec<Bson> = (0..3)
        .map(|_| {
            let cents = random.i32(100..50_000);
            Bson::Document(doc! {
                "sku": word(&mut random, 8),
                "quantity": random.i32(1..9),
                "price": f64::from(cents) / 100.0,
            })
        })
        .collect();
    doc! {
        "_id": object_id(&mut random),
        "number": i64::from(number),
        "customer": { "name": word(&mut random, 18), "since": made_at, "isMember": random.bool() },
        "state": STATES[random.usize(..STATES.len())],
        "madeAt": made_at,
        "total": random.i64(100..5_000_000),
        "lines": lines,
        "address": { "street": word(&mut random, 22), "city": word(&mut random, 12), "zip": word(&mut random, 6) },
        "note": if random.bool() { Bson::Null } else { Bson::String(word(&mut random, 24)) },
    }
}

/// The events of orders as a server would send them.
#[allow(
    dead_code,
    reason = "what comes from a real server needs no model of it"
)]
pub fn events(count: u32) -> Vec<RawDocumentBuf> {
    (0..count).map(event).collect()
}

/// The insert of an order as a server would send it.
pub fn event(number: u32) -> RawDocumentBuf {
    let order = order(number);
    let token = format!("82{number:08X}000000012B022C0100296E5A1004{:0<90}", "51F0");
    let event = doc! {
        "_id": { "_data": token },
        "operationType": "insert",
        "clusterTime": Timestamp { time: 1_705_327_200 + number / 1000, increment: number % 1000 + 1 },
        "wallTime": DateTime::from_millis(BEGUN_AT_MS + i64::from(number)),
        "ns": { "db": "shop", "coll": "orders" },
        "documentKey": { "_id": order.get_object_id("_id").unwrap() },
        "fullDocument": order,
    };
    RawDocumentBuf::try_from(&event).unwrap()
}

fn object_id(random: &mut Rng) -> ObjectId {
    let mut bytes = [0; 12];
    random.fill(&mut bytes);
    ObjectId::from_bytes(bytes)
}

/// Letters and digits, which gzip can't make much smaller than by a quarter.
fn word(random: &mut Rng, letters: usize) -> String {
    std::iter::repeat_with(|| random.alphanumeric())
        .take(letters)
        .collect()
}
