//! A load balancer that is told by commands, and the address that it is told.

use std::net::IpAddr;

use super::act::{Act, noted};
use super::environment::fill;
use super::failure::missing;
use crate::domain::deployment::{Failure, Outcome};
use crate::domain::plan::Target;
use crate::domain::spec::{RouterSpec, Service};

/// Where a target serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Endpoint { address, port } = self;
        if address.contains(':') { write!(f, "[{address}]:{port}") } else { write!(f, "{address}:{port}") }
    }
}

impl Act<'_> {
    pub(super) async fn join(self, target: &Target, container: Option<&str>) -> Result<Outcome, Failure> {
        self.route(target, container, "join", |router| &router.join).await
    }

    pub(super) async fn leave(self, target: &Target, container: Option<&str>) -> Result<Outcome, Failure> {
        self.route(target, container, "leave", |router| &router.leave).await
    }

    async fn route(
        self,
        target: &Target,
        container: Option<&str>,
        verb: &str,
        words: impl FnOnce(&RouterSpec) -> &Vec<String>,
    ) -> Result<Outcome, Failure> {
        let Some(router) = &self.role(&target.role)?.router else { return Ok(noted("no balancer")) };
        let words = words(router);
        let address = if words.iter().any(|word| word.contains("{address}")) {
            self.address(target, container).await?
        } else {
            String::new()
        };
        let values = [
            ("app", self.plan.app.as_str()),
            ("environment", self.plan.environment.as_str()),
            ("role", target.role.as_str()),
            ("host", target.host.as_str()),
            ("address", &address),
        ];
        let words: Vec<String> = words.iter().map(|word| fill(word, &values)).collect();
        let link = self.engine.links.get(&router.host).await?;
        self.command(&link, &words, router.deadline.duration(), &format!("the {verb} command of the balancer {}", router.name))
            .await?;
        Ok(if address.is_empty() { Outcome::default() } else { noted(address) })
    }

    async fn address(self, target: &Target, container: Option<&str>) -> Result<String, Failure> {
        if let Some(endpoint) = self.endpoint(target, container).await? {
            let address = endpoint.to_string();
            if let Some(name) = container {
                self.engine.remember_joined(target, name, &address);
            }
            return Ok(address);
        }
        // A dead container with an ephemeral port has none any more, yet the balancer must be told the old one.
        container.and_then(|name| self.engine.joined_address(target, name)).ok_or_else(|| {
            missing(format!("{target} has no port that the balancer could be told: if it still sends requests to the old one, take that out by hand"))
        })
    }

    /// Where a target serves now; `None` if it publishes no port, or none is known while it doesn't run.
    pub(super) async fn endpoint(self, target: &Target, container: Option<&str>) -> Result<Option<Endpoint>, Failure> {
        let role = self.role(&target.role)?;
        let host = self.host(&target.host)?;
        let spec = match (&role.service, container) {
            (Service::Commands(commands), _) => {
                return Ok(commands.port.map(|port| Endpoint { address: host.address.clone(), port }));
            }
            (Service::Docker(spec), Some(_)) => spec,
            (Service::Docker(_), None) => return Ok(None),
        };
        let Some(found) = self.docker(&target.host).await?.inspect(container.unwrap_or_default()).await? else { return Ok(None) };
        let Some(port) = found.port() else { return Ok(None) };
        let wanted = spec.publish.as_ref().and_then(|publish| publish.address.clone());
        let particular = wanted.filter(|address| !address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()));
        let bound = found.address().map(|address| address.to_string());
        Ok(Some(Endpoint { address: particular.or(bound).unwrap_or_else(|| host.address.clone()), port }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_bracketed() {
        assert_eq!(Endpoint { address: "2001:db8::1".into(), port: 80 }.to_string(), "[2001:db8::1]:80");
        assert_eq!(Endpoint { address: "10.0.0.1".into(), port: 80 }.to_string(), "10.0.0.1:80");
    }
}
