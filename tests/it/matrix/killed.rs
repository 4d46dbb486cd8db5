//! kill -9 in the middle of a conversation: the real program, on real hosts, in an encrypted room.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::rig::Rig;

/// Where the program listens for builds; each test of the whole program has its own port.
const PORT: u16 = 8082;

/// The program and what it lives in.
struct Whole {
    rig: Rig,
    meeting: Meeting,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Whole {
    async fn new() -> Whole {
        let rig = tokio::task::block_in_place(Rig::fresh);
        let meeting = Meeting::encrypted().await;
        let folder = tempfile::tempdir().unwrap();
        let fleet = include_str!("../../data/voyage.toml")
            .replace("@NET@", rig.variable("RIG_NET"))
            .replace("@IMAGE@", rig.variable("RIG_IMAGE"))
            .replace("accounts = [\"terminal:anna\"]", &format!("accounts = [\"{}\"]", meeting.account("anna")))
            .replace("accounts = [\"terminal:carl\"]", &format!("accounts = [\"{}\"]", meeting.account("bert")))
            .replace("min_free_mib", "approval = { votes = 1, groups = [\"deployers\"], commands = [\"deploy\"] }\nmin_free_mib");
        let rooms = format!("[[rooms]]\nroom = \"{}\"\napps = [\"antisocial\"]\n", meeting.room());
        std::fs::write(folder.path().join("fleet.toml"), format!("{fleet}\n{rooms}")).unwrap();
        Whole { rig, meeting, folder, child: None }
    }

    fn starts(&mut self) {
        let (folder, server, bot) = (self.folder.path(), self.meeting.server, &self.meeting.bot);
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_shipmate"));
        program
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", std::env::var("HOME").unwrap_or_else(|_| "/root".into()))
            .env("SHIPMATE_LISTEN", format!("127.0.{}.252:{PORT}", self.rig.variable("RIG_NET")))
            .env("SHIPMATE_STORE", folder.join("data"))
            .env("SHIPMATE_FLEET", folder.join("fleet.toml"))
            .env("SHIPMATE_SSH_CONFIG", self.rig.variable("RIG_SSH_CONFIG"))
            .env("SHIPMATE_TERMINAL_USER", "nobody")
            .env("ANTISOCIAL_SECRET_KEY", "secret")
            .env("SHIPMATE_MATRIX_HOMESERVER", &server.url)
            .env("SHIPMATE_MATRIX_USER", &bot.id)
            .env("SHIPMATE_MATRIX_PASSWORD", &bot.password);
        // As long as its terminal is there it lives.
        program.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        self.child = Some(program.spawn().unwrap());
    }

    /// With SIGKILL.
    fn dies(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn count(&self, words: &str) -> usize {
        self.meeting.texts().iter().filter(|text| text.contains(words)).count()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.dies();
        }
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_twice_in_a_conversation_goes_on_and_says_nothing_twice() {
    let mut whole = Whole::new().await;
    whole.starts();
    whole.meeting.the_bot_is_there().await;
    // build-47 takes 5 s until it listens.
    whole.meeting.say("anna", "!deploy antisocial build-47").await;
    let call = whole.meeting.sees(&["#1 deploy antisocial production", "needs 1 vote"]).await;
    whole.dies();
    whole.meeting.react("bert", &whole.meeting.message(&call.id), "✅").await;
    let asked = whole.meeting.send("anna", text("!queue")).await;
    whole.starts();
    whole.meeting.sees(&["✓ start", "… healthy"]).await;
    whole.dies();
    whole.starts();
    whole.meeting.sees(&["going on with #1"]).await;
    whole.meeting.sees(&["#1 antisocial production runs build-47"]).await;
    whole.meeting.say("anna", "!history antisocial").await;
    whole.meeting.sees(&["build-47", "succeeded"]).await;

    let texts = whole.meeting.texts();
    // The call and the live message, and what closes them.
    let shown = ["#1 deploy antisocial production", "#1 antisocial production runs build-47", "#2"].map(|words| whole.count(words));
    assert_eq!(shown, [2, 1, 0], "{texts:#?}");
    // What was asked while it was dead is answered once.
    let answers = |shown: &&Shown| shown.first["m.relates_to"]["m.in_reply_to"]["event_id"] == *asked;
    assert_eq!(whole.meeting.shown().iter().filter(answers).count(), 1, "{texts:#?}");
    assert!(whole.meeting.shown().iter().all(|shown| shown.encrypted), "{texts:#?}");
    let token = whole.meeting.server.token_of(&whole.meeting.bot.id).await;
    let devices = whole.meeting.server.call(&token, Method::GET, "/_matrix/client/v3/devices", Value::Null).await;
    assert_eq!(devices["devices"].as_array().unwrap().len(), 1, "{devices}");
    assert_eq!(whole.rig.runs("appserver1"), ["web build-47"]);
}
