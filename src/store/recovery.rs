//! A start: rows and journal are brought to the same fact, whatever the end of the last run was.
//!
//! | journal | rows | what is done |
//! |---|---|---|
//! | whole | at the same fact | nothing |
//! | whole | ahead | their newest facts are appended to the journal: the bot died between the two |
//! | whole | behind | the journal's newest facts are applied: sled lost its tail |
//! | whole | damaged or gone | the rows are put away as `store.corrupt-<time>` and made anew from the journal |
//! | damaged or gone | whole | the journal is made anew from the rows, if they have at least as many facts |
//! | damaged or gone | damaged | refused: a person must bring a copy |
//!
//! Rows of an older schema are held to the same; then they are made anew from the journal, and the journal's first line gets the
//! new schema. Rows are always made beside the old ones, so when that fails everything is as before, and the shipmate that wrote
//! them can be installed again. A newer schema, in the journal or in the rows, is refused before anything is touched.
//!
//! sled notices neither a lost tail nor every lost page. The tail is found by comparing with the journal; the rest by the sum of
//! all rows, which is checked when the store is small or anything is odd, and not at each start of a big one.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::chain::{BrokenChain, Head};
use super::committer::{Tip, Writer};
use super::healed::{Healed, Recovery};
use super::journal::{self, Found, Journal, Lines, ReadError};
use super::overlay::{Overlay, RowSum};
use super::sled::{self, Rows, SledStore};
use super::{Direction, LedgerError, SCHEMA, Store, StoreError, facts, lookup, rows};

/// Up to so many rows all are checked at each start; that takes a tenth of a second.
const CHECK_ALL: u64 = 20_000;

/// So many of the newest facts are checked at each start.
const CHECK_NEWEST: u64 = 64;

/// How many facts are applied in one write when rows are made from the journal.
const BATCH: usize = 1000;

/// Where rows are put together before they become the store's.
const STAGING: &str = "store.unfinished";

/// Opens the store of a folder, and puts right what is wrong.
pub(super) fn open(folder: &Path) -> Result<(SledStore, Recovery), StoreError> {
    let lock = sled::lock(folder)?;
    let mut start = Start { folder, recovery: Recovery::default() };
    let journal = Journal::find(folder)?;
    let seen = start.look_at_rows()?;
    let (mut store, mut journal) = start.agree(journal, seen)?;
    journal.raise_schema()?;
    sled::clear_suspicion(folder)?;
    start.clear_staging()?;
    store.attach(journal, lock);
    Ok((store, start.recovery))
}

/// What the rows look like.
enum Seen {
    Missing,
    Damaged(String),
    Whole(Box<SledStore>, Tip),
}

struct Start<'a> {
    folder: &'a Path,
    recovery: Recovery,
}

impl Start<'_> {
    fn look_at_rows(&self) -> Result<Seen, StoreError> {
        let store = match sled::open_rows(self.folder)? {
            Rows::Missing => return Ok(Seen::Missing),
            Rows::Damaged(why) => return Ok(Seen::Damaged(why)),
            Rows::Open(store) => store,
        };
        Ok(match damage(self.look_at(&store))? {
            Ok(tip) => Seen::Whole(store, tip),
            Err(why) => {
                store.close();
                Seen::Damaged(why)
            }
        })
    }

    fn look_at(&self, store: &SledStore) -> Result<Tip, StoreError> {
        let tip = Tip::load(store)?;
        if tip.schema > SCHEMA {
            return Err(StoreError::Newer { path: self.folder.to_owned(), found: tip.schema, known: SCHEMA });
        }
        check_newest(store, tip)?;
        if tip.sum.rows <= CHECK_ALL || sled::is_suspect(self.folder) {
            check_all(store, tip)?;
        }
        Ok(tip)
    }

    fn agree(&mut self, journal: Found, seen: Seen) -> Result<(SledStore, Journal), StoreError> {
        match (journal, seen) {
            (Found::Whole { journal, last, cut }, seen) => {
                if cut > 0 {
                    self.recovery.healed.push(Healed::TornLine { bytes: cut });
                }
                self.agree_with(journal, last, seen)
            }
            (Found::Missing, Seen::Missing) => {
                Ok((self.make_rows(self.folder)?, Journal::create(self.folder, std::iter::empty())?))
            }
            (Found::Missing, Seen::Whole(store, tip)) => self.journal_from_rows(*store, tip, "it was gone".to_owned()),
            (Found::Broken { why, lines }, Seen::Whole(_, tip)) if lines > tip.seq => {
                Err(self.lost(format!("the journal: {why}; the store has only {} of its {lines} records", tip.seq)))
            }
            (Found::Broken { why, .. }, Seen::Whole(store, tip)) => self.journal_from_rows(*store, tip, why),
            (Found::Missing, Seen::Damaged(why)) => Err(self.lost(format!("the store: {why}; the journal is gone"))),
            (Found::Broken { why, .. }, Seen::Missing) => Err(self.lost(format!("the store is gone; the journal: {why}"))),
            (Found::Broken { why, .. }, Seen::Damaged(also)) => Err(self.lost(format!("the store: {also}; the journal: {why}"))),
        }
    }

    /// With a whole journal there is always a way.
    fn agree_with(&mut self, mut journal: Journal, last: Head, seen: Seen) -> Result<(SledStore, Journal), StoreError> {
        let why = match seen {
            Seen::Missing if last == Head::GENESIS => return Ok((self.make_rows(self.folder)?, journal)),
            Seen::Missing => "it was gone".to_owned(),
            Seen::Damaged(why) => why,
            Seen::Whole(store, tip) => match damage(self.reconcile(&store, tip, &mut journal, last))? {
                Ok(()) => return self.bring_up_to_date(*store, tip, journal),
                Err(why) => {
                    store.close();
                    why
                }
            },
        };
        let (store, kept) = self.make_rows_anew(&mut journal, last, &format!("store.corrupt-{}", now()))?;
        self.recovery.healed.push(Healed::StoreRebuilt { why, kept, records: last.seq });
        Ok((store, journal))
    }

    /// Makes rows of an older schema anew. Rows and journal must be whole, and the rows must have no fact that the journal lacks.
    fn bring_up_to_date(&mut self, store: SledStore, tip: Tip, mut journal: Journal) -> Result<(SledStore, Journal), StoreError> {
        if tip.schema == SCHEMA {
            return Ok((store, journal));
        }
        store.close();
        // The old rows go away with the staging folder: all that was in them is in the journal.
        let (store, _) = self.make_rows_anew(&mut journal, tip.head(), &format!("{STAGING}/older"))?;
        self.recovery.healed.push(Healed::Upgraded { from: tip.schema, records: tip.seq });
        Ok((store, journal))
    }

    /// Makes the rows anew from the journal, which ends with `last`; the old ones get the name `away`. Nothing is changed before
    /// the new ones are whole.
    fn make_rows_anew(&self, journal: &mut Journal, last: Head, away: &str) -> Result<(SledStore, Option<PathBuf>), StoreError> {
        let made = self.make_rows_beside(last).and_then(|()| journal.raise_schema());
        if let Err(error) = made {
            // On a full disk their space is needed; the first error is the one to tell.
            let _ = self.clear_staging();
            return Err(error);
        }
        let kept = sled::move_rows(self.folder, &self.folder.join(away))?;
        sled::move_rows(&self.folder.join(STAGING), &self.folder.join(sled::FOLDER))?;
        Ok((self.make_rows(self.folder)?, kept))
    }

    fn make_rows_beside(&self, last: Head) -> Result<(), StoreError> {
        self.clear_staging()?;
        let staging = self.folder.join(STAGING);
        fs::create_dir(&staging).map_err(|error| StoreError::io(&staging, &error))?;
        let store = self.make_rows(&staging)?;
        let applied = self.apply_journal(&store, Head::GENESIS, last);
        store.close();
        applied
    }

    fn clear_staging(&self) -> Result<(), StoreError> {
        let staging = self.folder.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(&staging, &error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn reconcile(&mut self, store: &SledStore, tip: Tip, journal: &mut Journal, last: Head) -> Result<(), StoreError> {
        let strange = || StoreError::Damaged("it has other records than the journal".to_owned());
        if tip.seq < last.seq && tip.schema < SCHEMA {
            return Err(StoreError::Damaged(format!("it lacks the newest of the journal's {} records", last.seq)));
        }
        if tip.seq < last.seq {
            // sled lost its tail, so nothing of the rest is taken for granted.
            check_all(store, tip)?;
            self.apply_journal(store, tip.head(), last)?;
            self.recovery.healed.push(Healed::StoreCaughtUp { records: last.seq - tip.seq });
            return Ok(());
        }
        let rows = Overlay::new(store);
        let there = if last.seq == 0 { Head::GENESIS } else { facts::must_get(&rows, last.seq)?.head() };
        if there != last {
            return Err(strange());
        }
        let mut lines = Vec::new();
        for entry in facts::entries(&rows, last, tip.seq) {
            entry?.write(&mut lines);
        }
        if tip.seq > last.seq {
            journal.append(&lines)?;
            self.recovery.healed.push(Healed::JournalCaughtUp { records: tip.seq - last.seq });
        }
        Ok(())
    }

    /// Applies what the journal has after `from`, which the rows must have reached, up to `last`.
    fn apply_journal(&self, store: &SledStore, from: Head, last: Head) -> Result<(), StoreError> {
        let mut lines = Lines::open(&self.folder.join(journal::FILE)).map_err(|error| self.unreadable(error))?;
        let mut open = lookup::open_deployments(store)?;
        let mut tip = Tip::load(store)?;
        let mut over = false;
        while !over {
            let mut writer = Writer::new(store, &mut open, tip);
            for _ in 0..BATCH {
                let Some(entry) = lines.next()? else {
                    over = true;
                    break;
                };
                let entry = entry.map_err(|broken| self.unreadable(ReadError::Broken(broken)))?;
                if entry.seq == from.seq && entry.hash != from.hash {
                    return Err(StoreError::Damaged("it has other records than the journal".to_owned()));
                }
                if entry.seq > from.seq {
                    let (at, fact) = entry.open().map_err(|broken| self.unknown(broken))?;
                    writer.replay(&entry, at, &fact).map_err(|error| self.refused(entry.seq, error))?;
                }
            }
            let written = writer.finish()?;
            store.write(written.changes, &[])?;
            tip = written.tip;
        }
        if tip.head() == last { Ok(()) } else { Err(self.lost(format!("the journal ends at record {}", tip.seq))) }
    }

    fn journal_from_rows(&mut self, store: SledStore, tip: Tip, why: String) -> Result<(SledStore, Journal), StoreError> {
        check_all(&store, tip)?;
        let kept = journal::put_away(self.folder, &format!("journal.corrupt-{}", now()))?;
        let rows = Overlay::new(&store);
        let journal = Journal::create(self.folder, facts::entries(&rows, Head::GENESIS, tip.seq))?;
        self.recovery.healed.push(Healed::JournalRebuilt { why, kept, records: tip.seq });
        self.bring_up_to_date(store, tip, journal)
    }

    fn make_rows(&self, folder: &Path) -> Result<SledStore, StoreError> {
        match sled::make_rows(folder)? {
            Rows::Open(store) => Ok(*store),
            Rows::Missing => Err(self.lost("a new store can't be made".to_owned())),
            Rows::Damaged(why) => Err(self.lost(format!("a new store can't be made: {why}"))),
        }
    }

    fn lost(&self, why: String) -> StoreError {
        StoreError::Lost { path: self.folder.to_owned(), why }
    }

    fn unreadable(&self, error: ReadError) -> StoreError {
        match error {
            ReadError::Broken(broken) => self.lost(format!("the journal: {broken}")),
            ReadError::Store(error) => error,
        }
    }

    fn unknown(&self, broken: BrokenChain) -> StoreError {
        StoreError::UnknownFact { path: self.folder.join(journal::FILE), broken }
    }

    fn refused(&self, seq: u64, error: LedgerError) -> StoreError {
        match error {
            LedgerError::Store(error) => error,
            error => self.lost(format!("record {seq} of the journal can't be applied: {error}")),
        }
    }
}

/// Tells damage, which has a remedy, from all other errors.
fn damage<T>(result: Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Damaged(why)) => Ok(Err(why)),
        Err(error) => Err(error),
    }
}

/// The newest fact of a store.
pub(super) fn head(store: &dyn Store) -> Result<Head, StoreError> {
    Ok(Tip::load(store)?.head())
}

fn check_newest(store: &dyn Store, tip: Tip) -> Result<(), StoreError> {
    let rows = Overlay::new(store);
    let first = tip.seq.saturating_sub(CHECK_NEWEST);
    let mut head = if first == 0 { Head::GENESIS } else { facts::must_get(&rows, first)?.head() };
    for entry in facts::entries(&rows, head, tip.seq) {
        head = entry?.head();
    }
    if head == tip.head() { Ok(()) } else { Err(StoreError::Damaged("its newest record isn't the one that it names".to_owned())) }
}

/// Whether every row is there, in its newest form, and no other.
fn check_all(store: &dyn Store, tip: Tip) -> Result<(), StoreError> {
    let mut sum = RowSum::default();
    let mut range = Vec::new()..vec![u8::MAX];
    loop {
        let page = store.scan(range.clone(), Direction::Forward, BATCH)?;
        for (key, value) in page.iter().filter(|(key, _)| key != rows::HEAD) {
            sum.add(key, value);
        }
        match page.into_iter().nth(BATCH - 1) {
            Some((last, _)) => range.start = [last, vec![0]].concat(),
            None if sum == tip.sum => return Ok(()),
            None if sum.rows == tip.sum.rows => return Err(StoreError::Damaged("some of its rows aren't the newest".to_owned())),
            None => return Err(StoreError::Damaged(format!("it has {} rows and should have {}", sum.rows, tip.sum.rows))),
        }
    }
}

/// For the names of what is put away.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
