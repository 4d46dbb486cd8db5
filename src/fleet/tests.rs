//! The fleet file as people write it: what the example means, and what each mistake is answered with.

mod access;
mod policy;

use super::reader::Document;
use super::*;
use crate::domain::spec::{Batch, EnvValue, HealthCheck, HostPort, Millis, Order, Service};

const EXAMPLE: &str = include_str!("../../fleet.example.toml");

fn example() -> Fleet {
    Fleet::parse("fleet.example.toml", EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What a file's lines are answered with, by the marks `#~ answer` in it.
fn marked(source: &str) -> Vec<String> {
    let answers = |(line, text): (usize, &str)| {
        let answers: Vec<_> = text.split("#~ ").skip(1).map(|answer| format!("{}: {}", line + 1, answer.trim())).collect();
        answers
    };
    let mut marked: Vec<String> =
        source.lines().enumerate().filter(|(_, text)| !text.starts_with("# ")).flat_map(answers).collect();
    marked.sort();
    marked
}

fn answers(source: &str) -> Vec<String> {
    let Err(Problems(problems)) = Fleet::parse("fleet.toml", source) else { return vec![] };
    let mut answers: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}", problem.line.unwrap_or_default(), problem.text)).collect();
    answers.sort();
    answers
}

#[test]
fn every_mistake_is_told_at_once_with_its_line_and_how_to_mend_it() {
    let source = include_str!("tests/mistakes.toml");
    let (expected, given) = (marked(source), answers(source));
    let missing: Vec<_> = expected.iter().filter(|answer| !given.contains(answer)).collect();
    let surplus: Vec<_> = given.iter().filter(|answer| !expected.contains(answer)).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "not said: {missing:#?}\nsaid too: {surplus:#?}");
}

#[test]
fn a_mistake_is_shown_with_its_file_and_line() {
    let Err(problems) = Fleet::parse(
        "fleet.toml",
        "[apps.blog]\nimage = \"blog\"\nenvironment = {}\nenvironments.x.roles.web.hosts = []\nenvironments.x.roles.web.health = { running = \"5s\" }",
    ) else {
        panic!()
    };
    assert_eq!(
        problems.to_string(),
        "fleet.toml:3: unknown key `environment`; did you mean `environments`?\n    environment = {}\n\
         fleet.toml:4: the role has no host: `hosts = [\"appserver1\"]`\n    environments.x.roles.web.hosts = []"
    );
}

#[test]
fn a_password_written_in_the_place_of_its_variable_is_not_quoted() {
    let Err(problems) = Fleet::parse("fleet.toml", include_str!("tests/mistakes.toml")) else { panic!() };
    assert!(!problems.to_string().contains("hunter 2") && !problems.to_string().contains("p@ss"));
}

#[test]
fn an_empty_file_is_told_how_to_begin() {
    for source in ["", "\n# nothing yet\n"] {
        assert_eq!(answers(source), ["1: it is empty: begin with a copy of fleet.example.toml"]);
    }
    assert_eq!(answers("[people]"), ["1: `apps` is missing: begin one with [apps.NAME] and `image`"]);
    assert_eq!(answers("[apps]"), ["1: the fleet has no app: begin one with [apps.NAME] and `image`"]);
}

#[test]
fn the_example_has_every_key_that_is_known() {
    let document = Document::parse("fleet.example.toml", EXAMPLE).unwrap();
    document.root().table("fleet", |table| file::fleet("fleet.example.toml", &table));
    for (kind, keys) in document.asked.borrow().iter() {
        for (key, there) in keys {
            assert!(there, "fleet.example.toml shows no `{key}` of a {kind}");
        }
    }
}

/// A good environment with one role `web`, but for what is added.
fn with_web(app: &str, environment: &str, more: &str) -> String {
    format!("[apps.{app}.environments.{environment}.roles.web]\nhosts = [\"h1\"]\nhealth = {{ running = \"5s\" }}\n{more}\n")
}

#[test]
fn two_roles_dont_take_one_port_of_a_host() {
    let file = |first: &str, second: &str| {
        let own_folder = "[apps.b.environments.x]\ntag_folder = false";
        let images = "[apps.a]\nimage = \"a\"\n[apps.b]\nimage = \"b\"\n";
        format!("{images}{}{}{own_folder}", with_web("a", "x", first), with_web("b", "x", second))
    };
    let port = |port: &str| format!("publish = {{ container = 80, host = {port} }}");
    assert_eq!(answers(&file(&port("80"), &port("[80, 81]"))), ["9: the port 80 of the host `h1` is taken by web of a in x"]);
    assert_eq!(answers(&file(&port("80, address = \"127.0.0.1\""), &port("80, address = \"10.0.0.1\""))), [""; 0]);
    assert_eq!(
        answers(&file(&port("80, address = \"0.0.0.0\""), &port("80"))),
        ["9: the port 80 of the host `h1` is taken by web of a in x"]
    );
    assert_eq!(answers(&file(&port("\"ephemeral\""), &port("80"))), [""; 0]);
}

#[test]
fn two_environments_dont_write_the_same_tag_files() {
    let file = |more: &str| {
        let (one, other) = (with_web("a", "one", ""), with_web("a", "two", ""));
        format!("[apps.a]\nimage = \"a\"\n{one}{other}[apps.a.environments.two]\n{more}\n")
    };
    assert_eq!(
        answers(&file("")),
        ["11: on the host `h1` the TAG files of a in one are in /var/www/a too: give one of them another folder, \
          `tag_folder = \"/var/www/{app}/{environment}\"`"]
    );
    assert_eq!(answers(&file("tag_folder = \"/var/www/{app}/{environment}/\"")), [""; 0]);
}

#[test]
fn a_role_managed_by_commands_needs_its_tag_file() {
    let service = "service = { start = [\"x\"], stop = [\"x\"], status = [\"x\"] }\n[apps.a.environments.x]\ntag_folder = false";
    assert_eq!(
        answers(&format!("[apps.a]\nimage = \"a\"\n{}", with_web("a", "x", service))),
        ["7: what a role managed by commands starts is what the TAG file says, so `tag_folder` can't be false"]
    );
}

#[test]
fn three_keys_make_an_app() {
    let source = "[apps.blog]\nimage = \"ghcr.io/example/blog\"\n[apps.blog.environments.production.roles.web]\nhosts = [\"deploy@web1\"]\n\
                  publish = { container = 8000 }\nhealth = { http = \"/\" }";
    let fleet = Fleet::parse("fleet.toml", source).unwrap();
    let blog: AppName = "blog".parse().unwrap();
    let spec = fleet.environment(&blog, None).unwrap();
    assert_eq!((spec.roll.clone(), spec.tasks.clone()), (vec![vec!["web".parse().unwrap()]], vec![]));
    assert_eq!((spec.tag_folder.as_deref(), spec.pulls_at_once, spec.min_free_mib), (Some("/var/www/blog"), 8, 1024));
    let host = &spec.hosts[&"deploy@web1".parse().unwrap()];
    assert_eq!((host.address.as_str(), host.docker_socket.as_str()), ("web1", "/var/run/docker.sock"));
    let web = &spec.roles[&"web".parse().unwrap()];
    assert_eq!(
        (web.order, web.batch, web.wait, web.drain, web.grace),
        (Order::StopFirst, Batch::Hosts(1), Millis(0), Millis(0), Millis::seconds(10))
    );
    assert_eq!(web.container().publish.as_ref().map(|publish| publish.host.clone()), Some(HostPort::Fixed(vec![8000])));
    let HealthCheck::Http { path, host: None, codes, deadline, interval, timeout, .. } = &web.health else {
        panic!("{:?}", web.health)
    };
    assert_eq!((path.as_str(), codes.as_slice()), ("/", &[(200, 399)][..]));
    assert_eq!((*deadline, *interval, *timeout), (Millis::seconds(60), Millis(500), Millis::seconds(5)));
    assert!(fleet.warnings.is_empty() && fleet.secrets_needed().is_empty() && *fleet.login(&spec.image) == Login::Anonymous);
}

#[test]
fn a_second_port_means_start_first() {
    let order = |more: &str| {
        let fleet = Fleet::parse("f", &format!("[apps.a]\nimage = \"a\"\n{}", with_web("a", "x", more))).unwrap();
        fleet.environments().next().unwrap().roles.values().next().unwrap().order
    };
    assert_eq!(order(""), Order::StopFirst);
    assert_eq!(order("publish = { container = 80 }"), Order::StopFirst);
    assert_eq!(order("publish = { container = 80, host = \"ephemeral\" }"), Order::StartFirst);
    assert_eq!(order("publish = { container = 80, host = [80, 81] }"), Order::StartFirst);
    assert_eq!(order("publish = { container = 80, host = [80, 81] }\norder = \"stop-first\""), Order::StopFirst);
}

#[test]
fn a_role_s_variables_and_files_go_before_the_environment_s() {
    let fleet = Fleet::parse(
        "f",
        &format!(
            "[apps.a]\nimage = \"a\"\n{}[apps.a.environments.x]\nenv = {{ A = \"common\", B = {{ secret = \"S\" }} }}\nenv_files = [\"/common\", \"/b\"]",
            with_web("a", "x", "env = { A = \"own\" }\nenv_files = [\"/common\", \"/own\"]")
        ),
    )
    .unwrap();
    let container = fleet.environments().next().unwrap().roles.values().next().unwrap().container();
    assert_eq!(container.env["A"], EnvValue::Text("own".to_owned()));
    assert_eq!(container.env["B"], EnvValue::Secret("S".to_owned()));
    assert_eq!(container.env_files, ["/b", "/common", "/own"]);
    let unset: Vec<String> = fleet.secrets_unset(|_| false).iter().map(ToString::to_string).collect();
    assert_eq!(unset, ["f:9: `S` has no value, which `B` of a in x needs: set it in deploy.env"]);
    assert!(fleet.secrets_unset(|name| name == "S").is_empty());
}

#[test]
fn a_port_is_published_at_the_host_s_address_if_docker_can_listen_there() {
    let address = |hosts: &str, more: &str| {
        let publish = format!("publish = {{ container = 80{more} }}\n[hosts.h2]\naddress = \"10.0.0.2\"");
        let source = format!("[apps.a]\nimage = \"a\"\n{}", with_web("a", "x", &publish)).replace("[\"h1\"]", hosts);
        let fleet = Fleet::parse("f", &source).unwrap();
        let role = fleet.environments().next().unwrap().roles.values().next().unwrap().clone();
        role.container().publish.clone().unwrap().address
    };
    assert_eq!(address("[\"10.0.0.1\", \"h2\", \"deploy@10.0.0.3\"]", ""), None);
    assert_eq!(address("[\"h1\", \"h2\"]", "").as_deref(), Some("0.0.0.0"));
    assert_eq!(address("[\"h1\"]", ", address = \"127.0.0.1\"").as_deref(), Some("127.0.0.1"));
}

#[test]
fn the_example_means_what_it_says() {
    let fleet = example();
    let antisocial: AppName = "antisocial".parse().unwrap();
    let spec = fleet.environment(&antisocial, None).unwrap();
    assert_eq!(spec.environment.as_str(), "production");
    let roll: Vec<Vec<&str>> = spec.roll.iter().map(|group| group.iter().map(|role| role.as_str()).collect()).collect();
    assert_eq!(roll, [vec!["web"], vec!["worker", "beat"]]);
    let tasks: Vec<_> =
        spec.tasks.iter().map(|task| (task.name.as_str(), task.role.as_str(), task.irreversible, task.on_revert)).collect();
    assert_eq!(tasks, [("migrate", "web", true, false), ("collectstatic", "web", false, true)]);
    let web = &spec.roles[&"web".parse().unwrap()];
    assert_eq!(web.container().options.memory, Some(512 << 20));
    assert_eq!(web.container().options.milli_cpus, Some(1500));
    assert_eq!(web.router.as_ref().map(|router| (router.name.as_str(), router.host.as_str())), Some(("lb", "balancer")));
    assert_eq!(spec.hosts[&"appserver1".parse().unwrap()].address, "10.0.0.11");
    let legacy = fleet.environment(&"legacy".parse().unwrap(), None).unwrap();
    let Service::Commands(commands) = &legacy.roles[&"web".parse().unwrap()].service else { panic!() };
    assert_eq!((commands.port, commands.status[0].as_str()), (Some(8000), "systemctl"));
    assert_eq!(*fleet.login(&legacy.image), Login::Host);
    let needed: Vec<_> = fleet.secrets_needed().iter().map(|need| need.variable.as_str()).collect();
    assert_eq!(needed, ["REGISTRY_USER", "REGISTRY_PASSWORD", "ANTISOCIAL_SECRET_KEY"]);
    assert_eq!(fleet.warnings, []);
    assert_eq!(fleet.hosts().len(), 6);
    let anna = fleet.person(&Account("terminal:anna".to_owned())).unwrap();
    assert_eq!(fleet.groups[&"deployers".parse().unwrap()], BTreeSet::from([anna.name.clone()]));
    assert_eq!(fleet.person(&Account("terminal:Anna".to_owned())), None);
}

#[test]
fn parts_that_nothing_uses_are_warned_about() {
    let unused =
        "[hosts.h2]\n[routers.lb]\nhost = \"h3\"\njoin = [\"j\"]\nleave = [\"l\"]\n[registries.\"ghcr.io\"]\nlogin = \"host\"\n";
    let fleet = Fleet::parse("f", &format!("[apps.a]\nimage = \"a\"\n{}{unused}", with_web("a", "x", ""))).unwrap();
    let warnings: Vec<String> = fleet.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "f:7: no role uses the host `h2`\n    [hosts.h2]",
            "f:8: no role uses the router `lb`\n    [routers.lb]",
            "f:12: no app's image comes from the registry `ghcr.io`\n    [registries.\"ghcr.io\"]"
        ]
    );
}

#[test]
fn a_mistyped_name_is_answered_with_the_one_that_was_meant() {
    let fleet = example();
    let app = |name: &str| fleet.app(name).map(|(name, _)| name.to_string()).map_err(|error| error.to_string());
    assert_eq!(app("antisocial"), Ok("antisocial".to_owned()));
    assert_eq!(app("antisocal"), Err("no app `antisocal`; did you mean `antisocial`?".to_owned()));
    assert_eq!(app("x\u{202e}; rm"), Err("no app `x; rm`; there are `antisocial` and `legacy`".to_owned()));
    let environment = |app: &str, name: Option<&str>| {
        let environment = name.map(|name| name.parse().unwrap());
        fleet
            .environment(&app.parse().unwrap(), environment.as_ref())
            .map(|spec| spec.environment.to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(environment("antisocial", Some("staging")), Ok("staging".to_owned()));
    assert_eq!(
        environment("antisocial", Some("stagign")),
        Err("antisocial has no environment `stagign`; did you mean `staging`?".to_owned())
    );
    assert_eq!(environment("blog", None), Err("no app `blog`; there are `antisocial` and `legacy`".to_owned()));
}

#[test]
fn without_a_default_the_environment_has_to_be_named() {
    let web = |environment: &str| with_web("a", environment, "").replace("h1", environment);
    let fleet = Fleet::parse("f", &format!("[apps.a]\nimage = \"a\"\n{}{}", web("production"), web("staging"))).unwrap();
    let error = fleet.environment(&"a".parse().unwrap(), None).unwrap_err();
    assert_eq!(error.to_string(), "a runs in several environments; say which: `production` and `staging`");
}

#[test]
fn a_file_that_isnt_there_is_told_how_to_make_it() {
    let problems = Fleet::load(Path::new("/nowhere/fleet.toml")).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "/nowhere/fleet.toml: there is no such file: begin with a copy of fleet.example.toml, or say where it is with SHIPMATE_FLEET"
    );
}
