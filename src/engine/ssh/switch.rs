//! Starting and stopping the containers of services.

use super::act::{Act, noted};
use super::container::{Container, Created, EvenRunning, Life, Stopped};
use super::design::{APP, DIGEST, Design, ENVIRONMENT, Part, ROLE};
use super::docker::DockerHost;
use super::failure::{missing, refused};
use crate::domain::deployment::{Failure, Outcome};
use crate::domain::plan::{Origin, Target};

impl Act<'_> {
    pub(super) async fn start(self, target: &Target, name: &str, origin: Origin) -> Result<Outcome, Failure> {
        let docker = self.docker(&target.host).await?;
        let made = match origin {
            Origin::New { port } => self.make(&docker, target, name, Part::Service { port }).await?,
            Origin::Kept => Created::NameTaken,
        };
        if made == Created::NameTaken {
            let Some(found) = docker.inspect(name).await? else {
                let host = &target.host;
                return Err(missing(format!(
                    "{host} doesn't have the container {name} any more: a new deployment makes another one"
                )));
            };
            self.is_ours(&found, target, name, origin != Origin::Kept)?;
            if found.life == Life::Running {
                return Ok(noted("it runs already"));
            }
        }
        if origin != Origin::Kept {
            docker.connect_further(name, &self.role(&target.role)?.container().networks).await?;
        }
        docker.start(name).await?;
        Ok(Outcome::default())
    }

    pub(super) async fn stop(self, target: &Target, name: &str) -> Result<Outcome, Failure> {
        let grace = self.role(&target.role)?.grace;
        let docker = self.docker(&target.host).await?;
        Ok(match docker.stop(name, grace).await? {
            Stopped::Ended => Outcome::default(),
            Stopped::Killed => noted(format!("killed: it went on for {:.0} s after TERM", grace.duration().as_secs_f64())),
        })
    }

    pub(super) async fn remove(self, target: &Target, name: &str) -> Result<(), Failure> {
        self.docker(&target.host).await?.remove(name, EvenRunning::Yes).await
    }

    /// Makes a container, unless there is one of this name. It isn't started.
    pub(super) async fn make(self, docker: &DockerHost, target: &Target, name: &str, part: Part<'_>) -> Result<Created, Failure> {
        let role = self.role(&target.role)?;
        let design = Design { plan: self.plan, target, part, role, host: self.host(&target.host)? };
        let spec = role.container();
        let files = self.engine.env_files(docker.link(), spec, &self.public(target)).await?;
        let variables = super::environment::variables(spec, files, &design.places(), &self.engine.secrets)?;
        docker.create(name, design.body(variables)?).await
    }

    /// A name alone proves nothing: the container must be one that this plan could have made, or kept.
    pub(super) fn is_ours(self, found: &Container, target: &Target, name: &str, of_this_release: bool) -> Result<(), Failure> {
        let has = |key: &str, value: &str| found.labels.get(key).is_some_and(|label| label == value);
        let Target { role, host } = target;
        if !has(APP, self.plan.app.as_str()) || !has(ENVIRONMENT, self.plan.environment.as_str()) || !has(ROLE, role.as_str()) {
            return Err(refused(format!("{host} has a container {name} that isn't {role}'s: remove or rename it")));
        }
        if of_this_release && !has(DIGEST, self.plan.release.digest.as_str()) {
            return Err(refused(format!(
                "{host} has a container {name} with another image than {}: remove it",
                self.plan.release.digest.short()
            )));
        }
        Ok(())
    }
}
