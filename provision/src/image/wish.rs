//! What image is wanted, and which of those in the cache will do.

use super::store::{Made, Stored};
use super::{ImageChoice, OFFICIAL_URL, mirror};

/// What image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which kind.
    pub choice: ImageChoice,
    /// Where Debian's cloud images are.
    pub image_url: String,
    /// Which of them: `latest`, or the date of one.
    pub image_release: String,
    /// The package mirror to build from; none for the machine's own.
    pub mirror: Option<String>,
    /// Whether an image that is built must have compilers and kernel headers.
    pub dev_tools: bool,
}

impl Wish {
    /// The plainest wish for a kind of image.
    pub fn of(choice: ImageChoice) -> Self {
        Self {
            choice,
            image_url: OFFICIAL_URL.to_owned(),
            image_release: "latest".to_owned(),
            mirror: None,
            dev_tools: true,
        }
    }

    /// Whether a cached image will do.
    ///
    /// An official one must be of the release asked for, from the place asked for; `latest` is satisfied by whatever
    /// was the latest when it was fetched, so that a VM starts without the network. A built one must be made by
    /// today's recipe, from the mirror asked for if one was named, and must have the development tools if they are
    /// wanted; one that has them also satisfies a wish for a lean image, for it can do all the lean one can.
    pub(super) fn is_met_by(&self, made: &Made) -> bool {
        match (&self.choice, made) {
            (ImageChoice::Auto | ImageChoice::Official, Made::Official { image_url, release, .. }) => {
                *image_url == trimmed(&self.image_url) && *release == self.image_release
            }
            (ImageChoice::Auto | ImageChoice::Mirror, Made::Mirror { mirror, dev_tools, recipe }) => {
                let wanted = self.mirror.as_deref().map(trimmed);
                let same_place = wanted.is_none() || mirror.as_deref() == wanted;
                same_place && (*dev_tools || !self.dev_tools) && *recipe == mirror::recipe(*dev_tools)
            }
            _ => false,
        }
    }

    /// The newest image that will do; of two built ones rather that with just the tools wanted.
    pub(super) fn best_of(&self, mut images: Vec<Stored>) -> Option<Stored> {
        images.retain(|stored| self.is_met_by(&stored.made));
        let exact = |stored: &Stored| match stored.made {
            Made::Mirror { dev_tools, .. } => dev_tools == self.dev_tools,
            Made::Official { .. } => true,
        };
        images.into_iter().max_by(|a, b| {
            (exact(a), &a.made_utc, &a.image.sha256).cmp(&(exact(b), &b.made_utc, &b.image.sha256))
        })
    }
}

/// A URL without the slashes at its end.
pub(super) fn trimmed(url: &str) -> &str {
    url.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::store::tests::example;

    fn built(dev_tools: bool, mirror: Option<&str>) -> Made {
        Made::Mirror { mirror: mirror.map(Into::into), dev_tools, recipe: mirror::recipe(dev_tools) }
    }

    fn official(release: &str) -> Made {
        Made::Official { image_url: OFFICIAL_URL.into(), release: release.into(), sha512: "x".into() }
    }

    #[test]
    fn lean_does_not_do_for_dev_tools_and_dev_tools_do_for_lean() {
        let full = Wish::of(ImageChoice::Mirror);
        let lean = Wish { dev_tools: false, ..full.clone() };
        assert!(full.is_met_by(&built(true, None)) && !full.is_met_by(&built(false, None)));
        assert!(lean.is_met_by(&built(true, None)) && lean.is_met_by(&built(false, None)));
    }

    #[test]
    fn a_named_mirror_and_todays_recipe_count() {
        let any = Wish::of(ImageChoice::Auto);
        let named = Wish { mirror: Some("http://m".into()), ..any.clone() };
        assert!(any.is_met_by(&built(true, Some("http://m"))));
        assert!(named.is_met_by(&built(true, Some("http://m"))) && !named.is_met_by(&built(true, None)));
        let slash = Wish { mirror: Some("http://m/".into()), ..any.clone() };
        assert!(slash.is_met_by(&built(true, Some("http://m"))));
        let old = Made::Mirror { mirror: None, dev_tools: true, recipe: "old".into() };
        assert!(!any.is_met_by(&old));
    }

    #[test]
    fn kind_place_and_release_count_for_official_ones() {
        let latest = Wish::of(ImageChoice::Official);
        assert!(latest.is_met_by(&official("latest")) && !latest.is_met_by(&official("20250530-2128")));
        assert!(!latest.is_met_by(&built(true, None)));
        assert!(!Wish::of(ImageChoice::Mirror).is_met_by(&official("latest")));
        let slash = Wish { image_url: format!("{OFFICIAL_URL}/"), ..latest.clone() };
        assert!(slash.is_met_by(&official("latest")));
        assert!(!Wish { image_url: "http://m".into(), ..latest }.is_met_by(&official("latest")));
        assert!(!Wish::of(ImageChoice::File("/a".into())).is_met_by(&official("latest")));
    }

    #[test]
    fn the_newest_of_the_exact_ones_is_best() {
        let images = || {
            vec![
                example("a", "2026-01-01T00:00:00Z", built(false, None)),
                example("b", "2026-01-02T00:00:00Z", built(false, None)),
                example("c", "2026-01-03T00:00:00Z", built(true, None)),
            ]
        };
        let lean = Wish { dev_tools: false, ..Wish::of(ImageChoice::Auto) };
        assert_eq!(lean.best_of(images()).unwrap().image.sha256, "b");
        assert_eq!(Wish::of(ImageChoice::Auto).best_of(images()).unwrap().image.sha256, "c");
        assert!(lean.best_of(Vec::new()).is_none());
    }
}
