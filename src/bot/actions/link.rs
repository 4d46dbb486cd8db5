//! `!link`, `!unlink`: a second account of a person.
//!
//! The code is given to the account that nobody knows yet, and typed by the person whom it is to belong to. So whoever else reads
//! the code could only give their own rights away, never get those of another.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::bot::access::Authorized;
use crate::bot::{Bot, Refusal, views};
use crate::chat::Reply;
use crate::domain::message::{Account, Message};
use crate::domain::spec::Millis;
use crate::runbook::Invocation;

/// How long a code is good for.
const GOOD_FOR: Millis = Millis::seconds(600);

/// How many codes may be open: more would only be somebody who floods us.
const MOST: usize = 100;

/// The codes that were given out, each with the account that got it and since when. They end with the process.
pub type Codes = BTreeMap<String, (Account, Timestamp)>;

pub(super) async fn link(bot: &Bot, asked: &Invocation, message: &Message) -> Result<Reply, Refusal> {
    let now = bot.now();
    let person = bot.person(&message.author)?;
    match (&asked.word, person) {
        (None, Some(person)) => Ok(views::link_where(&person, &bot.prefix)),
        (None, None) => give_code(bot, &message.author, now),
        (Some(_), None) => Ok(views::link_from_known(&message.author)),
        (Some(code), Some(person)) => {
            // Or an account of somebody else could vote in this person's name, where it takes a proof to do so.
            if let Some(doubt) = message.doubt.filter(|_| bot.fleet.environments().any(|spec| spec.policy.wants_proof())) {
                return Ok(views::unproven_link(doubt));
            }
            let taken = codes(bot, now).remove(&code.to_lowercase());
            let Some((account, _)) = taken else { return Ok(views::no_such_link_code()) };
            bot.ledger.link(account.clone(), person.clone(), now).await?;
            Ok(views::linked(&account, &person))
        }
    }
}

fn give_code(bot: &Bot, account: &Account, now: Timestamp) -> Result<Reply, Refusal> {
    let code = crate::bot::act::nonce()?;
    let mut codes = codes(bot, now);
    if codes.len() >= MOST {
        return Ok(views::too_many_codes());
    }
    codes.retain(|_, (of, _)| of != account);
    codes.insert(code.clone(), (account.clone(), now));
    Ok(views::link_code(&code, account, GOOD_FOR, &bot.prefix))
}

fn codes(bot: &Bot, now: Timestamp) -> std::sync::MutexGuard<'_, Codes> {
    let mut codes = bot.codes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    codes.retain(|_, (_, since)| GOOD_FOR.after(*since) > now);
    codes
}

pub(super) async fn unlink(bot: &Bot, asked: &Authorized<Invocation>) -> Result<Reply, Refusal> {
    let account = Account(asked.what().word.clone().unwrap_or_default());
    match bot.ledger.linked(&account)? {
        Some(person) if person == *asked.by() => {
            bot.ledger.unlink(account.clone(), person.clone(), bot.now()).await?;
            Ok(views::unlinked(&account, &person))
        }
        Some(_) => Ok(views::not_your_link(&account)),
        None => Ok(views::not_linked(&account)),
    }
}
