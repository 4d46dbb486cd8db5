//! What `/healthz` tells: whether the store, the chats and the hosts are well.
//!
//! The hosts' part is what the last look at each said, not a new connection: a probe every few seconds must not become an
//! SSH login every few seconds.

use crate::bot::Bot;
use crate::http::{Condition, Health, HealthReport};

/// The bot's vital signs.
pub struct Vitals(pub Bot);

impl Health for Vitals {
    fn report(&self) -> HealthReport {
        let bot = &self.0;
        HealthReport {
            parts: vec![
                ("store", condition(bot.ledger.trouble().or_else(|| bot.ledger.refuses_actions()))),
                ("hosts", condition(listed(bot.troubled_hosts()))),
                ("chat", condition(listed(bot.troubled_chats()))),
            ],
        }
    }
}

fn condition(trouble: Option<String>) -> Condition {
    trouble.map_or(Condition::Well, Condition::Degraded)
}

fn listed(troubled: Vec<String>) -> Option<String> {
    (!troubled.is_empty()).then(|| troubled.join("; "))
}
