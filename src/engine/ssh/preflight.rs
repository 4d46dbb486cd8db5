//! Before anything is touched: the host answers, its engine answers, it has the space. And the image comes.

use super::act::{Act, noted};
use super::failure::refused;
use super::image::Pulled;
use super::limits::SCRIPT;
use super::probe::{self, Probe};
use super::registries;
use crate::domain::deployment::{Failure, FailureKind, Outcome};
use crate::domain::names::HostName;

impl Act<'_> {
    pub(super) async fn preflight(self, host: &HostName, min_free_mib: u64) -> Result<Outcome, Failure> {
        let look = Probe::default().command().map_err(|error| refused(error.to_string()))?;
        let (link, answer) = self.engine.links.get_with(host, &look).await?;
        let docker = self.engine.docker_over(&link, self.host(host)?).await?;
        let answer = async {
            match answer {
                Some(answer) => Ok(answer),
                None => link.ask(&look, SCRIPT).await,
            }
        };
        let (answer, info, ()) = tokio::try_join!(answer, docker.info(), self.balancers_answer(host))?;
        let root = info.docker_root_dir.unwrap_or_default();
        let Some(free) = docker.free_mib(&probe::parse(&answer), &root).await? else {
            return Err(refused(format!("`df` says nothing of {root} on {host}")));
        };
        if free < min_free_mib {
            return Err(Failure::new(
                FailureKind::DiskFull,
                format!(
                    "{host} has {free} MiB free at {root}, and {min_free_mib} MiB are asked for: `docker system prune` there frees \
                     space, or set `min_free_mib` lower"
                ),
            ));
        }
        Ok(noted(format!("{free} MiB free")))
    }

    /// A balancer that can't be told would be found out only in the middle of the switch.
    async fn balancers_answer(self, host: &HostName) -> Result<(), Failure> {
        let here = self.plan.roles.values().filter(|role| role.hosts.contains(host));
        for router in here.filter_map(|role| role.router.as_ref()) {
            self.engine.links.get(&router.host).await?;
        }
        Ok(())
    }

    pub(super) async fn pull(self, host: &HostName) -> Result<Outcome, Failure> {
        let docker = self.docker(host).await?;
        let engine = self.engine;
        let image = &self.plan.image;
        let login = registries::credentials(&engine.registries, image.registry(), docker.link(), &engine.redactor).await?;
        let release = &self.plan.release;
        let pulled = docker.pull(image, &release.tag, &release.digest, login.as_ref(), &|note| self.output.progress(note)).await?;
        Ok(noted(match pulled {
            Pulled::Already => "already there".to_owned(),
            Pulled::Came(mib) => format!("{mib} MiB"),
        }))
    }
}
