//! Every limit of a feed, with its unit in its name.

/// How long a batch may still grow after its hour has ended. Without it, catching up on past hours would commit
/// change by change.
pub const HOUR_END_GRACE_MS: u64 = 1000;

/// The longest delay between two attempts, in milliseconds.
pub const RETRY_DELAY_MAX_MS: u64 = 60_000;

/// A change, or a document, of this size is large: the driver's copies of it count.
pub const LARGE_CHANGE_BYTES: u64 = 2 * 1024 * 1024;

/// How many changes may be read before the batch that holds back the feed's position is flushed. At most this
/// many are read again after a crash, which takes some ten seconds.
pub const HOLD_LIMIT_CHANGES: u64 = 1_000_000;

/// The most bytes of watermarks in a checkpoint: some 20,000 with short names and tokens.
pub const WATERMARKS_LIMIT_BYTES: usize = 8 << 20;

/// The most bytes of a checkpoint. A document of MongoDB has 16 MiB
/// (<https://www.mongodb.com/docs/manual/reference/limits/#bson-documents>). The position alone has more than 10 MB after a
/// change whose `_id` has 5 MB, because a token holds it in hexadecimal digits.
pub const CHECKPOINT_LIMIT_BYTES: usize = 15 << 20;

/// The most bytes of a line: a reader takes a longer one for damage. The Extended JSON of an event can be fourteen times
/// as long as its BSON (`""` is the name of an empty regular expression), and an event has up to some 48 MiB. Its BSON in
/// base64 is only a third longer.
pub const LINE_LIMIT_BYTES: usize = 256 << 20;

/// How often the position of a feed is saved while several of its collections are being flushed.
pub const SAVE_EVERY_MS: u64 = 1000;

/// The limits that the state machine keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A batch with this many changes is due.
    pub batch_size_changes: u32,
    /// A batch with this many encoded bytes is sealed; see [`Limits::batch_seal_bytes`].
    pub batch_limit_bytes: u64,
    /// An hour file that could exceed this with the next batch continues in the next part.
    pub file_limit_bytes: u64,
    /// An hour file with this many commits continues in the next part.
    pub file_limit_commits: u32,
    /// Failures of one flush in a row before it is reported as failing. It is retried nevertheless.
    pub retry_attempts: u32,
    /// The first delay between two attempts; it doubles up to [`RETRY_DELAY_MAX_MS`].
    pub retry_delay_ms: u64,
    /// How often an idle feed's position is saved.
    pub idle_checkpoint_ms: u64,
    /// How many changes of other collections may be read before the batch that holds back the feed's position is
    /// flushed.
    pub hold_limit_changes: u64,
    /// A checkpoint with more watermarks omits those that a tail can be judged without. Otherwise a save would cost more,
    /// the more collections there are. Up to this number they are kept, because a tail that is older than its watermark
    /// shows that the lake has lost files.
    pub watermarks_max: usize,
}

impl Limits {
    /// The most encoded bytes of a batch of several changes: at most half a file, however small that is.
    #[must_use]
    pub fn batch_seal_bytes(&self) -> u64 {
        self.batch_limit_bytes.min(self.file_limit_bytes / 2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_size_changes: 1000,
            batch_limit_bytes: 8 * 1024 * 1024,
            file_limit_bytes: 100 * 1024 * 1024,
            file_limit_commits: u32::MAX,
            retry_attempts: 3,
            retry_delay_ms: 1000,
            idle_checkpoint_ms: 60_000,
            hold_limit_changes: HOLD_LIMIT_CHANGES,
            watermarks_max: 100,
        }
    }
}
