//! The chat in the terminal: standard input are messages by the current person, standard output is the room.
//!
//! It is the embedded default, so that Shipmate can be tried, scripted and tested without an account anywhere. `/as`
//! changes who speaks, `/react` reacts, `/help` lists the rest. On a terminal messages are redrawn in place; in a pipe each change
//! is a line. Being a process's own terminal it has one limit that real services don't have: what was shown and with
//! which key is known for this run only. A message of an earlier run is [`Gone`](ChatError::Gone), and is posted again.

mod desk;
mod look;
mod screen;
mod surface;
mod typed;

use std::io;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::sync::{Mutex, mpsc};

pub use self::look::Look;
pub use self::screen::Size;

use self::desk::{Desk, account};
use self::screen::Screen;
use self::surface::{Lines, Surface, View};
use self::typed::{HELP, Typed};
use super::board::{Author, Board};
use super::input::LineReader;
use super::{Chat, ChatError, ChatEvent, Reply, text};
use crate::domain::message::{Account, MessageRef, RoomId};

/// The name of the one room.
pub const ROOM: &str = "terminal";

/// How many notes may wait until they are shown; more are dropped.
const NOTES: usize = 1000;

/// Shows lines of others (logs) between the messages, so that they don't tear a screen.
#[derive(Clone)]
pub struct Notes(mpsc::Sender<String>);

impl Notes {
    /// Shows one line. False = it won't be shown: nobody listens any more, or far too many lines wait.
    pub fn line(&self, text: &str) -> bool {
        self.0.try_send(text.to_owned()).is_ok()
    }
}

/// The terminal as a chat.
pub struct Console {
    room: RoomId,
    now: fn() -> Timestamp,
    notes: mpsc::Sender<String>,
    ears: Mutex<Option<Ears>>,
    desk: Mutex<Desk>,
}

/// What only the listener uses.
struct Ears {
    input: LineReader<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    notes: mpsc::Receiver<String>,
}

impl Console {
    /// A chat on these streams, with `user` speaking first.
    pub fn new(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        look: Look,
        user: &str,
        now: fn() -> Timestamp,
    ) -> Console {
        let room = RoomId(ROOM.to_owned());
        let mut surface: Box<dyn Surface> = match look {
            Look::Lines => Box::new(Lines::default()),
            Look::Screen { size, colour } => Box::new(Screen::new(size, colour)),
        };
        let speaker = text::clean(user);
        surface.speaks(&speaker);
        let (notes, waiting) = mpsc::channel(NOTES);
        let input = LineReader::new(BufReader::new(Box::new(input) as Box<dyn AsyncRead + Send + Unpin>));
        Console {
            now,
            notes,
            ears: Mutex::new(Some(Ears { input, notes: waiting })),
            desk: Mutex::new(Desk { board: Board::new(room.clone(), now()), surface, output: Box::new(output), speaker }),
            room,
        }
    }

    /// A chat on this process's standard input and output. To be called inside of a tokio runtime.
    ///
    /// # Errors
    /// When the system has no more sockets or threads.
    pub fn stdio(user: &str, now: fn() -> Timestamp) -> io::Result<Console> {
        // Tokio's own standard input holds up the end of the program until one more line is typed; a thread of ours doesn't.
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let input = tokio::net::UnixStream::from_std(ours)?;
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || io::copy(&mut io::stdin().lock(), &mut theirs))?;
        Ok(Console::new(input, tokio::io::stdout(), Look::of_stdio(), user, now))
    }

    /// A handle for lines of others. They are shown as long as somebody listens.
    pub fn notes(&self) -> Notes {
        Notes(self.notes.clone())
    }

    /// Does what was typed. `None` = the person quit.
    async fn typed(&self, line: &str) -> Option<Vec<ChatEvent>> {
        let mut desk = self.desk.lock().await;
        let typed = typed::read(line);
        if let Typed::As(Some(name)) = &typed {
            desk.surface.speaks(name);
            desk.speaker.clone_from(name);
        }
        let mut out = desk.surface.entered(line);
        let (more, events) = match typed {
            Typed::Nothing => (String::new(), Vec::new()),
            Typed::Say(text) => desk.say(text, (self.now)()),
            Typed::As(_) => {
                let note = format!("you are {}", desk.speaker);
                (desk.surface.note(&note), Vec::new())
            }
            Typed::React { emoji, message } => desk.react(emoji, message, (self.now)()),
            Typed::Unreact { emoji, message } => desk.unreact(emoji, message, (self.now)()),
            Typed::Delete { message } => desk.delete(message),
            Typed::Edit { message, text } => (desk.edit(message, text), Vec::new()),
            Typed::Help => (HELP.iter().map(|line| desk.surface.note(line)).collect(), Vec::new()),
            Typed::Wrong(why) => (desk.surface.note(&why), Vec::new()),
            Typed::Quit => return None,
        };
        out.push_str(&more);
        // A broken output is told to whoever posts; what people say still counts.
        let _ = desk.write(&out).await;
        Some(events)
    }
}

#[async_trait]
impl Chat for Console {
    fn forgets(&self) -> bool {
        true
    }

    fn rooms(&self) -> Vec<RoomId> {
        vec![self.room.clone()]
    }

    async fn listen(&self, to: mpsc::Sender<ChatEvent>, _: Option<Timestamp>) -> Result<(), ChatError> {
        let Some(mut ears) = self.ears.lock().await.take() else {
            return Err(ChatError::Unavailable("somebody listens to the terminal already".to_owned()));
        };
        let mut desk = self.desk.lock().await;
        let prompt = desk.surface.open();
        let _ = desk.write(&prompt).await;
        drop(desk);
        if to.send(ChatEvent::Connected { room: self.room.clone() }).await.is_err() {
            return Ok(());
        }
        let mut somebody_is_there = false;
        loop {
            tokio::select! {
                line = ears.input.next() => {
                    // An input that can't be read is at its end.
                    let Ok(Some(line)) = line else { break };
                    let Some(events) = self.typed(&line).await else {
                        somebody_is_there = true;
                        break;
                    };
                    for event in events {
                        somebody_is_there = true;
                        if to.send(event).await.is_err() {
                            return Ok(());
                        }
                    }
                }
                Some(note) = ears.notes.recv() => {
                    let mut desk = self.desk.lock().await;
                    let out = desk.surface.note(&note);
                    let _ = desk.write(&out).await;
                }
                () = to.closed() => return Ok(()),
            }
        }
        let mut desk = self.desk.lock().await;
        let out = desk.surface.close();
        let _ = desk.write(&out).await;
        drop(desk);
        if somebody_is_there {
            let _ = to.send(ChatEvent::Closed).await;
        } else {
            tracing::info!("nobody is at the terminal; the bot runs until SIGTERM");
        }
        Ok(())
    }

    async fn post(&self, room: &RoomId, reply: &Reply, key: &str) -> Result<MessageRef, ChatError> {
        if *room != self.room {
            return Err(ChatError::Unavailable(format!("the terminal has no room `{room}`")));
        }
        let mut desk = self.desk.lock().await;
        if let Some(number) = desk.board.with_key(key) {
            return Ok(desk.board.reference(number));
        }
        let number = desk.board.next();
        let out = desk.surface.show(number, View { reply, reactions: None, last: false }, (self.now)());
        desk.present(number, &out).await?;
        desk.add(Author::Bot(reply.clone()));
        desk.board.posted(key, number);
        Ok(desk.board.reference(number))
    }

    async fn edit(&self, message: &MessageRef, reply: &Reply, last: bool) -> Result<(), ChatError> {
        let mut desk = self.desk.lock().await;
        let gone = || ChatError::Gone(message.clone());
        let number = desk.board.find(message).ok_or_else(gone)?;
        let entry = desk.board.get_mut(number).ok_or_else(gone)?;
        match &mut entry.author {
            Author::Bot(shown) => *shown = reply.clone(),
            // The bot edits nobody else's messages, here as anywhere.
            Author::Person { .. } => return Err(gone()),
        }
        let out = desk.show(number, last, (self.now)());
        desk.present(number, &out).await
    }

    async fn react(&self, message: &MessageRef, emoji: &str) -> Result<(), ChatError> {
        let mut desk = self.desk.lock().await;
        let gone = || ChatError::Gone(message.clone());
        let number = desk.board.find(message).ok_or_else(gone)?;
        let entry = desk.board.get_mut(number).ok_or_else(gone)?;
        let emoji = text::clean(emoji);
        if entry.react(None, &emoji) != Ok(true) {
            return Ok(());
        }
        let note = match &entry.author {
            Author::Bot(_) => None,
            Author::Person { name, text } => Some(format!("{emoji} to {name}'s `{}`", text.replace('`', "'"))),
        };
        let out = match note {
            Some(note) => desk.surface.note(&note),
            None => desk.show(number, false, (self.now)()),
        };
        desk.present(number, &out).await
    }

    async fn reactions(&self, message: &MessageRef) -> Result<Vec<(Account, String)>, ChatError> {
        let desk = self.desk.lock().await;
        let gone = || ChatError::Gone(message.clone());
        let entry = desk.board.find(message).and_then(|number| desk.board.get(number)).ok_or_else(gone)?;
        Ok(entry.reactions.iter().filter_map(|(who, emoji)| Some((account(who.as_deref()?), emoji.clone()))).collect())
    }
}
