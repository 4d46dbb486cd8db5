//! What a registry has under a tag, asked through a host's engine: the host must be able to pull it, not the bot.
//!
//! Registries answer through engines in prose only, so what they mean is read from words that their answers have had for years.

use super::docker::{DockerHost, Trouble};
use super::limits::API_CALL;
use super::registries::Credentials;
use crate::domain::names::{Digest, Repository, Tag};
use crate::engine::ResolveError;

impl DockerHost {
    /// The content that the registry has under the tag now, as this host's engine sees it.
    ///
    /// # Errors
    /// When the registry has no such tag, or doesn't answer.
    pub async fn resolve(&self, image: &Repository, tag: &Tag, credentials: Option<&Credentials>) -> Result<Digest, ResolveError> {
        let (host, registry) = (self.host(), image.registry());
        let api = self.authorized(credentials, API_CALL).map_err(|failure| ResolveError::Unavailable(failure.message))?;
        let why = match self.call(API_CALL, api.inspect_registry_image(&format!("{image}:{tag}"), None)).await {
            Ok(found) => match found.descriptor.digest.as_deref().map(str::parse::<Digest>) {
                Some(Ok(digest)) => return Ok(digest),
                Some(Err(_)) | None => format!("the registry {registry} names no digest that Shipmate knows for {image}:{tag}"),
            },
            Err(Trouble::Missing(why) | Trouble::Refused(why)) if is_unauthorized(&why) => {
                unauthorized(host.as_str(), registry, &why)
            }
            Err(Trouble::Missing(why) | Trouble::Refused(why)) if is_unknown(&why) => {
                return Err(ResolveError::Unknown { registry: registry.to_owned(), image: image.to_string(), tag: tag.clone() });
            }
            Err(Trouble::Missing(why) | Trouble::Refused(why)) => {
                format!(
                    "the registry {registry} gave no answer about {image}:{tag} to {host}: {why}. Is it up, and can the host reach it?"
                )
            }
            Err(trouble) => self.failure(&format!("ask the registry {registry} about {image}:{tag}"), trouble).message,
        };
        Err(ResolveError::Unavailable(why))
    }
}

/// The registry answered that it has no such thing.
pub fn is_unknown(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    ["manifest unknown", "name unknown", "not found", "no such image", "does not exist"].iter().any(|text| why.contains(text))
        && !["no such host", "connection refused", "unauthorized", "denied"].iter().any(|text| why.contains(text))
}

/// The registry answered that we may not see it.
pub fn is_unauthorized(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    ["unauthorized", "denied", "no basic auth credentials", "authentication required"].iter().any(|text| why.contains(text))
}

/// What to do about that.
pub fn unauthorized(host: &str, registry: &str, why: &str) -> String {
    format!(
        "the registry {registry} doesn't let {host} in ({why}): set its user name and password in Shipmate's settings, or \
         run `docker login {registry}` on the host and set `login = \"host\"` for this registry"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_tag_a_silent_registry_and_refused_credentials_are_told_apart() {
        let unknown = [
            "manifest for reg/app:x not found: manifest unknown: manifest unknown",
            "errors:\nname unknown: repository name not known to registry",
        ];
        let silent = [
            "Get \"http://127.0.0.1:5000/v2/\": dial tcp 127.0.0.1:5000: connect: connection refused",
            "Get \"https://reg/v2/\": dial tcp: lookup reg: no such host",
            "Get \"https://reg/v2/\": net/http: request canceled while waiting for connection",
        ];
        let refused = [
            "unauthorized: authentication required",
            "pull access denied for app, repository does not exist or may require 'docker login'",
        ];
        assert!(unknown.iter().all(|why| is_unknown(why) && !is_unauthorized(why)));
        assert!(silent.iter().all(|why| !is_unknown(why) && !is_unauthorized(why)));
        assert!(refused.iter().all(|why| !is_unknown(why) && is_unauthorized(why)));
    }
}
