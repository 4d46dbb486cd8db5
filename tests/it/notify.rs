//! `contrib/notify`, run for real against the listener.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::http::{MORE_SECRETS, Running, SECRET};

/// Runs the script where openssl and curl are shims that write down their arguments. Returns what they wrote, too.
fn notify(shell: &str, server: &Running, secret: &str, arguments: &[&str]) -> (Output, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = tempfile::tempdir().unwrap();
    let seen = place.path().join("seen");
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(shell)
        .arg(root.join("contrib/notify"))
        .args(arguments)
        .env("PATH", format!("{}:{path}", root.join("tests/it/shims").display()))
        .env("REAL_PATH", path)
        .env("SEEN", &seen)
        .env("SHIPMATE_URL", format!("http://{}/", server.address))
        .env("SHIPMATE_SECRET", secret)
        .output()
        .unwrap();
    let seen = fs::read_to_string(seen).unwrap_or_default();
    (output, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_signs_escapes_and_keeps_the_secret_off_arguments() {
    let server = Running::plain().await;
    let arguments = [
        "app=antisocial",
        "tag=build-42",
        "outcome=SUCCESS",
        "commit=8f6c1a9e",
        "number=42",
        "author=",
        "message=Say \"hi\\\" \u{e4}=\u{7}\nsecond line",
    ];
    for shell in ["sh", "bash"] {
        let (output, seen) = notify(shell, &server, SECRET, &arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"accepted\":[{\"app\":\"antisocial\",\"tag\":\"build-42\"}]}\n");
        assert!(seen.contains("curl") && seen.contains("openssl"), "{seen}");
        assert!(!seen.contains(SECRET) && !seen.contains(&hex::encode(SECRET)), "{seen}");
    }
    let taken = server.intake.taken.lock().unwrap();
    let (_, notice) = &taken[0];
    assert_eq!(notice.message.as_deref(), Some("Say \"hi\\\" \u{e4}="));
    assert_eq!((notice.number, notice.author.as_deref(), taken.len()), (Some(42), None, 2));
    assert_ne!(notice.delivery, taken[1].1.delivery);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_takes_secrets_of_every_form() {
    let server = Running::plain().await;
    for secret in MORE_SECRETS {
        let (output, seen) = notify("sh", &server, secret, &["app=antisocial", "tag=build-42", "outcome=failure"]);
        assert!(output.status.success(), "{output:?}");
        assert!(!seen.contains(secret), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_fails_loudly() {
    let server = Running::plain().await;
    let (output, _) = notify("sh", &server, "wrong", &["app=antisocial", "tag=build-42", "outcome=success"]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("fits no secret"), "{output:?}");
    let (output, _) = notify("sh", &server, SECRET, &["app"]);
    assert_eq!(output.status.code(), Some(2));
    let (output, _) = notify("sh", &server, "", &["app=antisocial"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("SHIPMATE_SECRET"), "{output:?}");
}
