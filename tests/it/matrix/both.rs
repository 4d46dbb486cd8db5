//! One bot in Discord and Matrix at once: each room shows what was asked for in the other, and a person is one person.

use shipmate::chat::discord::Discord;

use super::conversation::fleet;
use super::*;
use crate::discord;
use crate::discord::fake::Fake;
use crate::play::Play;

/// The bot in both, and people who have accounts in both: anna deploys, bert and carl approve.
struct Both {
    meeting: Meeting,
    fake: Fake,
    play: Play,
}

impl Both {
    /// `known` says which accounts the fleet file has of bert: in Discord, and in Matrix.
    async fn new(approval: &str, known: &[&str]) -> Both {
        let (meeting, fake) = (Meeting::encrypted().await, Fake::start().await);
        let names = |who: &str| [format!("discord:{}", fake.user(who)), meeting.person(who).id.clone()];
        let ([anna, anna_in_matrix], [bert, bert_in_matrix]) = (names("anna"), names("bert"));
        let (anna_in_matrix, bert_in_matrix) = (account(&anna_in_matrix).0, account(&bert_in_matrix).0);
        let carl = format!("discord:{}", fake.user("carl"));
        let of_bert: Vec<&str> = [("discord", &bert), ("matrix", &bert_in_matrix)]
            .into_iter()
            .filter(|(platform, _)| known.contains(platform))
            .map(|(_, account)| account.as_str())
            .collect();
        let people: [(&str, &[&str], &str); 3] =
            [("anna", &[&anna, &anna_in_matrix], "deployers"), ("bert", &of_bert, "approvers"), ("carl", &[&carl], "approvers")];
        let rooms = [discord::room().0, meeting.room().0];
        let mut play = Play::new(&fleet(&people, &[&rooms[0], &rooms[1]], approval));
        let other = Arc::new(Discord::new(discord::parts(&fake)).unwrap());
        play.start(vec![other, meeting.chat()]).await;
        fake.until("a session", |fake| (fake.connections().0 > 0).then_some(())).await;
        meeting.the_bot_is_there().await;
        Both { meeting, fake, play }
    }

    /// Both rooms show it; the message in Discord, and the one in Matrix.
    async fn show(&self, words: &[&str]) -> (u64, MessageRef) {
        let (in_discord, _) = self.fake.sees(words).await;
        (in_discord, self.meeting.message(&self.meeting.sees(words).await.id))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_side_asks_for_lives_in_both_and_a_vote_counts_once_for_a_person() {
    let both = Both::new("votes = 2", &["discord", "matrix"]).await;
    let (meeting, fake) = (&both.meeting, &both.fake);
    meeting.say("anna", "!deploy antisocial build-41").await;
    let (there, here) = both.show(&["#1 deploy antisocial production", "needs 2 votes (0 so far)"]).await;
    fake.put_reaction("bert", there, "✅");
    both.show(&["#1 deploy", "needs 2 votes (1 so far)"]).await;
    meeting.react("bert", &here, "✅").await;
    meeting.sees(&["this person has voted already"]).await;
    assert_eq!(both.play.state(1).votes.len(), 1);
    // Whoever asked is the same on the other side.
    fake.put_reaction("anna", there, "✅");
    fake.sees(&["whoever asked can't approve it too"]).await;
    fake.put_reaction("carl", there, "✅");
    both.show(&["#1 antisocial production runs build-41"]).await;
    let edited =
        |text: &str, edits: usize| text.contains("#1 deploy antisocial production") && text.contains("✓ start") && edits > 0;
    assert!(meeting.shown().iter().any(|shown| edited(&shown.text(), shown.edits.len())), "{:#?}", meeting.texts());
    assert!(fake.of_the_bot().iter().any(|(_, said)| edited(&said.text(), said.edits)), "{:#?}", fake.texts());

    // And the other way round.
    fake.say("anna", "!deploy antisocial build-42");
    let (there, here) = both.show(&["#2 deploy", "needs 2 votes (0 so far)"]).await;
    meeting.react("bert", &here, "✅").await;
    both.show(&["#2 deploy", "needs 2 votes (1 so far)"]).await;
    fake.put_reaction("carl", there, "✅");
    both.show(&["#2 antisocial production runs build-42"]).await;
    let count = |texts: Vec<String>| texts.iter().filter(|text| text.contains("antisocial production runs build-42")).count();
    assert_eq!((count(meeting.texts()), count(fake.texts())), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_the_other_side_is_linked_by_a_code() {
    let both = Both::new("votes = 1", &["discord"]).await;
    let (meeting, fake) = (&both.meeting, &both.fake);
    meeting.say("anna", "!deploy antisocial build-41").await;
    let (_, here) = both.show(&["#1 deploy", "needs 1 vote"]).await;
    meeting.react("bert", &here, "✅").await;
    meeting.sees(&["nobody in the fleet file has this account"]).await;
    meeting.say("bert", "!link").await;
    let told = meeting.sees(&["to make", &meeting.bert.id, "yours"]).await.text();
    let typed = told.split('`').find(|part| part.starts_with("!link ")).unwrap_or_else(|| panic!("{told}")).to_owned();
    fake.say("bert", &typed);
    fake.sees(&["is bert's from now on"]).await;
    meeting.unreact("bert", &here, "✅").await;
    meeting.react("bert", &here, "✅").await;
    both.show(&["#1 antisocial production runs build-41"]).await;
    assert_eq!(both.play.state(1).counted, [crate::sample::name("bert")]);
}
