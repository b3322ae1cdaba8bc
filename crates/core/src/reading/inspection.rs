//! What a whole file says, every line parsed.

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::block::{Block, Line};
use super::line::Change;
use super::namespace;
use super::parser::{FileParser, Parsed};
use crate::file::damage::Damage;
use crate::file::hour_file::{Hour, HourFileName};
use crate::namespace::Namespace;
use crate::position::{ClusterTime, LastChange};

/// Operation types whose namespace is always that of their collection.
const DOCUMENT_OPERATIONS: [&str; 4] = ["insert", "update", "replace", "delete"];

/// What a whole hour file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: HourFileName,
    /// Its length.
    pub len_bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Changes in it.
    pub changes: u64,
    /// Those of each operation type.
    pub operations: BTreeMap<String, u64>,
    /// Its first change.
    pub first: LastChange,
    /// Its last change.
    pub last: LastChange,
}

/// Reads one hour file to its end and checks all that the file alone can show: its frame, each line's syntax,
/// its metadata, that its changes belong to its hour and its collection, and that their cluster times never
/// decrease. Whether tokens are unique is left to the caller, who sees every change.
#[derive(Debug)]
pub struct Inspection {
    parser: FileParser,
    digest: Sha256,
    len_bytes: u64,
    checks: Checks,
}

#[derive(Debug)]
struct Checks {
    name: HourFileName,
    namespace: Namespace,
    changes: u64,
    operations: BTreeMap<String, u64>,
    first: Option<LastChange>,
    last: Option<LastChange>,
    latest: Option<ClusterTime>,
}

impl Inspection {
    /// Begins a file of this collection.
    #[must_use]
    pub fn new(namespace: Namespace, name: HourFileName) -> Self {
        Self {
            parser: FileParser::new(name.format).of(namespace.clone()),
            digest: Sha256::new(),
            len_bytes: 0,
            checks: Checks {
                name,
                namespace,
                changes: 0,
                operations: BTreeMap::new(),
                first: None,
                last: None,
                latest: None,
            },
        }
    }

    /// Takes the next bytes. `each` sees every change, and may find it damaged.
    ///
    /// # Errors
    ///
    /// The file isn't what silt writes, or `each` says so.
    pub fn feed(
        &mut self,
        bytes: Bytes,
        each: impl FnMut(&Change<'_>, &Line<'_>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        self.digest.update(&bytes);
        self.len_bytes += bytes.len() as u64;
        self.parser.feed(bytes);
        self.parse(each)
    }

    /// Takes the word that the file ends here.
    ///
    /// # Errors
    ///
    /// Those of [`Inspection::feed`].
    pub fn finish(
        mut self,
        each: impl FnMut(&Change<'_>, &Line<'_>) -> Result<(), Damage>,
    ) -> Result<Summary, Damage> {
        self.parser.end();
        self.parse(each)?;
        let checks = self.checks;
        let (Some(first), Some(last)) = (checks.first, checks.last) else {
            return Err(Damage::Broken("it holds no change".to_owned()));
        };
        if let Some(head) = self.parser.head() {
            let is_true = head.first_cluster_time == Some(first.cluster_time)
                && head.last_cluster_time == Some(last.cluster_time)
                && head.last_resume_token.as_ref() == Some(&last.token);
            if !is_true {
                return Err(Damage::Broken(
                    "its metadata names another first or last change than it holds".to_owned(),
                ));
            }
        }
        Ok(Summary {
            name: checks.name,
            len_bytes: self.len_bytes,
            sha256: self.digest.finalize().into(),
            changes: checks.changes,
            operations: checks.operations,
            first,
            last,
        })
    }

    fn parse(
        &mut self,
        mut each: impl FnMut(&Change<'_>, &Line<'_>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        loop {
            match self.parser.parse()? {
                Parsed::Block(block) => self.checks.take(&block, &mut each)?,
                // Only a parser that resumes seeks.
                Parsed::NeedsInput | Parsed::Seek(_) | Parsed::End => return Ok(()),
            }
        }
    }
}

impl Checks {
    fn take(
        &mut self,
        block: &Block,
        mut each: impl FnMut(&Change<'_>, &Line<'_>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        let mut last = None;
        for line in block.lines() {
            let change = Change::parse(line.bytes);
            let change = change.map_err(|error| line.place.damage(&error))?;
            self.expect_place(&change, &line)?;
            if self.first.is_none() {
                let first = change.identity();
                self.first = Some(first.map_err(|error| line.place.damage(&error))?);
            }
            let operation = change.operation.as_deref().unwrap_or_default();
            match self.operations.get_mut(operation) {
                Some(count) => *count += 1,
                None => drop(self.operations.insert(operation.to_owned(), 1)),
            }
            self.changes += 1;
            each(&change, &line)?;
            last = Some((change, line));
        }
        if let Some((change, line)) = last {
            let last = change.identity();
            self.last = Some(last.map_err(|error| line.place.damage(&error))?);
        }
        Ok(())
    }

    fn expect_place(&mut self, change: &Change<'_>, line: &Line<'_>) -> Result<(), Damage> {
        if change.token.is_none() {
            return Err(line.place.damage("the change has no _id"));
        }
        if Hour::of(change.cluster_time) != self.name.hour {
            let time = change.cluster_time;
            return Err(line
                .place
                .damage(&format!("its cluster time {time} is of another hour")));
        }
        if let Some(latest) = self.latest
            && change.cluster_time < latest
        {
            let time = change.cluster_time;
            return Err(line.place.damage(&format!(
                "its cluster time {time} is before {latest}, that of an earlier change"
            )));
        }
        self.latest = Some(change.cluster_time);
        let operation = change.operation.as_deref().unwrap_or_default();
        let collection = change.collection.as_deref();
        let collection = collection.filter(|_| DOCUMENT_OPERATIONS.contains(&operation));
        namespace::expect(&self.namespace, change.database.as_deref(), collection)
    }
}
