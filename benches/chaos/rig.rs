//! The rig from the outside: faults, and what really runs on the hosts.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::patience::{End, Outcome, broken};

/// The hosts that run the app, with the roles that each runs; `rig` calls them 1, 2 and 3.
const ROLES: [(&str, &[&str]); 3] = [("appserver1", &["web"]), ("appserver2", &["web"]), ("appserver3", &["beat", "worker"])];

/// What a host says of itself: running containers by role and tag, then the file TAG.
const LOOK: &str = r#"docker ps --format '{{.Label "shipmate.role"}} {{.Label "shipmate.tag"}}' | sort; cat /var/www/antisocial/TAG || echo "no TAG""#;

/// The longest that a request to the site may take.
const SITE: Duration = Duration::from_secs(5);

/// The rig, up; down when dropped.
pub struct Rig {
    variables: BTreeMap<String, String>,
}

/// The rig's own program, on a net and in a folder that nobody else uses.
fn rig(words: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rig/rig"));
    let net = std::env::var("RIG_NET").unwrap_or_else(|_| "5".to_owned());
    command.args(words).env("RIG_NET", net).stdin(Stdio::null());
    command
}

fn output(command: &mut Command, what: impl Display) -> Outcome<String> {
    let output = command.output().map_err(broken(&what))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(End::Broken(format!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// `rig WORDS...`, out of reach of the terminal's Ctrl-C: half a fault helps nobody.
pub fn does(words: &[&str]) -> Outcome<()> {
    output(rig(words).process_group(0), format!("rig {}", words.join(" "))).map(drop)
}

impl Rig {
    /// Brings it up, with nothing on its hosts but images.
    pub fn up() -> Outcome<Rig> {
        let mut up = Rig { variables: BTreeMap::new() };
        // Within reach of the terminal: where sudo is needed, this is when it asks for the password.
        output(&mut rig(&["up", "3"]), "rig up")?;
        does(&["reset"])?;
        let variables = output(&mut rig(&["env"]), "rig env")?;
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.replace('\\', "")));
        up.variables = variables.lines().filter_map(pair).collect();
        Ok(up)
    }

    /// A variable of `rig env`.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// How hosts and site differ from an environment that runs a release: one line for each difference.
    pub fn differences(&self, tag: &str) -> Outcome<Vec<String>> {
        let looks = thread::scope(|scope| {
            let looks = ROLES.map(|(host, roles)| (host, roles, scope.spawn(move || self.on(host, LOOK))));
            looks.map(|(host, roles, look)| (host, roles, look.join()))
        });
        let mut differences = Vec::new();
        for (host, roles, look) in looks {
            let said = look.map_err(|_| End::Broken(format!("the look at {host} panicked")))??;
            let containers = roles.iter().map(|role| format!("{role} {tag}"));
            let expected: Vec<String> = containers.chain([format!("export TAG={tag}")]).collect();
            if said.lines().ne(&expected) {
                differences.push(format!("{host} has [{}], not [{}]", said.trim().replace('\n', ", "), expected.join(", ")));
            }
        }
        differences.extend(self.servers(tag)?);
        Ok(differences)
    }

    /// The balancer sends to each web host once, and each server of it answers with the tag.
    fn servers(&self, tag: &str) -> Outcome<Vec<String>> {
        let list = self.on("balancer", "lb-list")?;
        let mut servers: Vec<(&str, &str)> = list.lines().filter_map(|line| line.split_once(' ')).collect();
        servers.sort_unstable();
        let web = ROLES.iter().filter(|(_, roles)| roles.contains(&"web")).map(|(host, _)| *host);
        let mut differences = Vec::new();
        if servers.iter().map(|(host, _)| *host).ne(web) {
            differences.push(format!("the balancer sends to [{}]", list.trim().replace('\n', ", ")));
        }
        let addresses = servers.into_iter().map(|(_, address)| address);
        for address in addresses.chain([self.variable("RIG_LB")]) {
            match exchange(address, b"GET / HTTP/1.0\r\n\r\n", SITE) {
                Ok(answer) if answer.trim().ends_with(&format!("\n{tag}")) => {}
                Ok(answer) => differences.push(format!("{address} doesn't answer {tag}: {answer:?}")),
                Err(error) => differences.push(format!("{address} doesn't answer: {error}")),
            }
        }
        Ok(differences)
    }

    fn on(&self, host: &str, line: &str) -> Outcome<String> {
        let config = PathBuf::from(self.variable("RIG_SSH_CONFIG"));
        output(
            Command::new("ssh").arg("-F").arg(config).args([host, line]).process_group(0).stdin(Stdio::null()),
            format!("ssh {host}"),
        )
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Err(error) = does(&["down"]) {
            eprintln!("chaos: {error}");
        }
    }
}

/// One HTTP request, and all that comes back before the connection ends, however it does.
pub fn exchange(address: &str, request: &[u8], deadline: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => return Err(error),
        Ok(_) | Err(_) => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
