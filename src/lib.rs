//! Shipmate: a chat-ops bot that drives deploys of Dockerised apps over SSH.
//!
//! Three ideas carry it. The plan is data: what a deployment will do is resolved before anything is touched, shown, carried out, and
//! undone in reverse. The journal is the truth: an action's intent is durable before it acts, and the state is what one
//! function makes of the events. Chat is a view: what a room should show is a pure function of the state.
//!
//! The modules in reading order:
//!
//! | module | what |
//! |---|---|
//! | [`domain`] | pure values: names, builds, plans, the planner, a deployment's state and events |
//! | [`fleet`], [`settings`] | fleet.toml and deploy.env, checked |
//! | [`runbook`] | what can be typed, and what was |
//! | [`store`] | the facts, and the rows that are derived from them |
//! | [`engine`] | the seam to the hosts; `ssh` for real ones, `rehearsal` in memory |
//! | [`pipeline`] | carries a deployment from where its journal says it is to its end |
//! | [`builds`], [`http`] | what CI announces, and the listener for it |
//! | [`chat`] | the seam to the chats; the terminal; the socket for people on the same machine |
//! | [`bot`] | from what people say to what is done, and every sentence that the bot says |
//! | [`cli`] | the command line |
//! | [`secret`], [`problem`], [`nearest`], [`clock`] | secrets and their redaction; mistakes in files; "did you mean"; the time |

pub mod bot;
pub mod builds;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod fleet;
pub mod http;
pub mod nearest;
pub mod pipeline;
pub mod problem;
pub mod runbook;
pub mod secret;
pub mod settings;
pub mod store;
