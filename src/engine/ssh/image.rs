//! Images of a host: is it there, pull it by content, know it by tag, remove it.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::docker::{DockerHost, Trouble};
use super::failure::{missing, refused};
use super::limits::{API_CALL, PULL_SILENCE, PULL_TOTAL, SLOW_API_CALL};
use super::registries::Credentials;
use super::resolve::{is_unauthorized, is_unknown, unauthorized};
use crate::domain::deployment::{Failure, FailureKind};
use crate::domain::names::{Digest, Repository, Tag};

/// How far a pull is.
#[derive(Debug, Default)]
struct Progress {
    layers: HashMap<String, (u64, u64)>,
    shown: String,
}

impl Progress {
    /// Takes an event; the note to show if it changed.
    fn note(&mut self, event: CreateImageInfo) -> Option<&str> {
        let layer = event.id?;
        let detail = event.progress_detail.unwrap_or_default();
        let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
        match event.status.as_deref() {
            Some("Downloading") => {
                let (done, total) = self.layers.entry(layer).or_default();
                *done = count(detail.current).unwrap_or(*done);
                *total = count(detail.total).unwrap_or(*total).max(*done);
            }
            Some("Download complete" | "Pull complete") => {
                if let Some((done, total)) = self.layers.get_mut(&layer) {
                    *done = *total;
                }
            }
            _ => return None,
        }
        let (done, total) = self.layers.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        let note = format!("pulled {} of {} MiB", mib(done), mib(total));
        (total > 0 && note != self.shown).then(|| {
            self.shown = note;
            self.shown.as_str()
        })
    }

    fn total(&self) -> u64 {
        self.layers.values().map(|(_, total)| total).sum()
    }
}

/// `16.0`, with tenths rounded down.
fn mib(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What a pull did.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It was there.
    Already,
    /// It came, with so many MiB.
    Came(String),
}

impl DockerHost {
    /// The id of the image with this content; `None` if it isn't there.
    ///
    /// # Errors
    /// When the engine doesn't say.
    pub async fn image_id(&self, reference: &str) -> Result<Option<String>, Failure> {
        match self.call(API_CALL, self.api().inspect_image(reference)).await {
            Ok(image) => Ok(image.id),
            Err(Trouble::Missing(_)) => Ok(None),
            Err(trouble) => Err(self.failure(&format!("look at the image {reference}"), trouble)),
        }
    }

    /// Makes sure that the host has the content, known by the tag too: that is what people and docker-runner scripts look for.
    ///
    /// # Errors
    /// When it can't be pulled; tells an absent image, a silent registry, refused credentials and a full disk apart.
    pub async fn pull(
        &self,
        image: &Repository,
        tag: &Tag,
        digest: &Digest,
        credentials: Option<&Credentials>,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Pulled, Failure> {
        let reference = format!("{image}@{digest}");
        if self.is_tagged(image, tag, &reference).await? {
            return Ok(Pulled::Already);
        }
        let doing = format!("pull {image}:{tag} ({})", digest.short());
        let until = Instant::now() + PULL_TOTAL;
        let options = CreateImageOptionsBuilder::new().from_image(&reference).build();
        let api = self.authorized(credentials, PULL_SILENCE)?;
        let mut events = Box::pin(api.create_image(Some(options), None, None));
        let mut seen = Progress::default();
        loop {
            match timeout_at(until.min(Instant::now() + PULL_SILENCE), events.next()).await {
                Ok(None) => break,
                Ok(Some(Ok(event))) => {
                    if let Some(note) = seen.note(event) {
                        progress(note);
                    }
                }
                Ok(Some(Err(error))) => {
                    let trouble = self.trouble(error).await;
                    return Err(self.pull_failure(&doing, image, trouble));
                }
                Err(_elapsed) => return Err(self.pull_failure(&doing, image, Trouble::Timeout(PULL_SILENCE))),
            }
        }
        // A pull that ends without an error item has been seen to be none: only the image proves it.
        if !self.is_tagged(image, tag, &reference).await? {
            let trouble = self.silent(&"the pull ended early").await;
            return Err(match trouble {
                Trouble::Lost => self.failure(&doing, Trouble::Lost),
                _ => missing(format!("can't {doing} on {}: it ended without an error, but the image isn't there", self.host())),
            });
        }
        Ok(Pulled::Came(mib(seen.total())))
    }

    fn pull_failure(&self, doing: &str, image: &Repository, trouble: Trouble) -> Failure {
        let (host, registry) = (self.host(), image.registry());
        match trouble {
            Trouble::Missing(why) | Trouble::Refused(why) if is_unknown(&why) => {
                missing(format!("can't {doing} on {host}: the registry {registry} doesn't have it"))
            }
            Trouble::Missing(why) | Trouble::Refused(why) if is_unauthorized(&why) => {
                refused(unauthorized(host.as_str(), registry, &why))
            }
            Trouble::Missing(why) => refused(format!("can't {doing} on {host}: {why}")),
            Trouble::Timeout(_) => Failure::new(
                FailureKind::Timeout,
                format!(
                    "can't {doing} on {host}: no progress for {} s, or no end after {} s",
                    PULL_SILENCE.as_secs(),
                    PULL_TOTAL.as_secs()
                ),
            ),
            trouble => self.failure(doing, trouble),
        }
    }

    /// Whether the content is there; if it is, `image:tag` means it from now on.
    async fn is_tagged(&self, image: &Repository, tag: &Tag, reference: &str) -> Result<bool, Failure> {
        let name = format!("{image}:{tag}");
        let (content, tagged) = tokio::try_join!(self.image_id(reference), self.image_id(&name))?;
        let Some(content) = content else { return Ok(false) };
        if tagged.as_ref() != Some(&content) {
            let options = TagImageOptionsBuilder::new().repo(image.as_str()).tag(tag.as_str()).build();
            let tagged = self.call(API_CALL, self.api().tag_image(&content, Some(options))).await;
            tagged.map_err(|trouble| self.failure(&format!("tag {name}"), trouble))?;
        }
        Ok(true)
    }

    /// The contents of the repository that the host has.
    ///
    /// # Errors
    /// When the engine doesn't say.
    pub async fn images(&self, image: &Repository) -> Result<Vec<Digest>, Failure> {
        let name = familiar(image);
        let filters = HashMap::from([("reference", vec![name])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).digests(true).build();
        let found = self.call(API_CALL, self.api().list_images(Some(options))).await;
        let found = found.map_err(|trouble| self.failure("list the images", trouble))?;
        let references = found.iter().flat_map(|image| &image.repo_digests);
        let mut digests: Vec<Digest> =
            references.filter_map(|reference| reference.strip_prefix(name)?.strip_prefix('@')?.parse().ok()).collect();
        digests.sort();
        digests.dedup();
        Ok(digests)
    }

    /// Removes a content with all the tags that it has in its repository; the engine refuses while a container needs it.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn remove_image(&self, reference: &str) -> Result<(), Failure> {
        let doing = format!("remove the image {reference}");
        let image = match self.call(API_CALL, self.api().inspect_image(reference)).await {
            Ok(image) => image,
            Err(Trouble::Missing(_)) => return Ok(()),
            Err(trouble) => return Err(self.failure(&doing, trouble)),
        };
        let repository = reference.split('@').next().unwrap_or(reference);
        let ours = |name: &String| name.strip_prefix(familiar_name(repository)).is_some_and(|tag| tag.starts_with(':'));
        // With its last tag a content goes too; a digest alone would leave the tags behind.
        let tags = image.repo_tags.unwrap_or_default().into_iter().filter(ours);
        for name in tags.chain([reference.to_owned()]) {
            let options = RemoveImageOptionsBuilder::new().build();
            match self.call(SLOW_API_CALL, self.patient(SLOW_API_CALL).remove_image(&name, Some(options), None)).await {
                Ok(_) | Err(Trouble::Missing(_)) => (),
                Err(trouble) => return Err(self.failure(&doing, trouble)),
            }
        }
        Ok(())
    }
}

/// The name under which an engine lists a repository: Docker Hub's own names go without their registry.
fn familiar(image: &Repository) -> &str {
    familiar_name(image.as_str())
}

fn familiar_name(repository: &str) -> &str {
    let name = repository.strip_prefix("docker.io/").or_else(|| repository.strip_prefix("index.docker.io/")).unwrap_or(repository);
    name.strip_prefix("library/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    fn event(id: &str, status: &str, current: i64, total: i64) -> CreateImageInfo {
        let detail = ProgressDetail { current: Some(current), total: Some(total) };
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: Some(detail),
            ..CreateImageInfo::default()
        }
    }

    #[test]
    fn progress_adds_up_the_layers_and_says_each_thing_once() {
        let mut progress = Progress::default();
        assert_eq!(progress.note(event("a", "Pulling fs layer", 0, 0)), None);
        assert_eq!(progress.note(event("a", "Downloading", 1 << 20, 16 << 20)), Some("pulled 1.0 of 16.0 MiB"));
        assert_eq!(progress.note(event("a", "Downloading", (1 << 20) + 9, 16 << 20)), None);
        assert_eq!(progress.note(event("b", "Downloading", 0, 1 << 20)), Some("pulled 1.0 of 17.0 MiB"));
        assert_eq!(progress.note(event("a", "Download complete", 0, 0)), Some("pulled 16.0 of 17.0 MiB"));
    }

    #[test]
    fn docker_hub_goes_without_saying() {
        let name = |text: &str| familiar(&text.parse().unwrap()).to_owned();
        assert_eq!(name("docker.io/thraxil/antisocial"), "thraxil/antisocial");
        assert_eq!(name("docker.io/library/nginx"), "nginx");
        assert_eq!(name("reg:5000/thraxil/antisocial"), "reg:5000/thraxil/antisocial");
    }
}
