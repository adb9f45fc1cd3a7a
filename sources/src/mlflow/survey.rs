//! Where all the names that are followed point, for a bounded number of calls.
//!
//! A registered model is told of with the newest version of each stage and with all its aliases, one
//! by one as well as in pages. So few names are asked for one by one, and many are picked out of the
//! pages. Pages are counted from the beginning, so that a model made or renamed between two of them
//! can be on neither: what no page had is asked for by its name before it is said not to exist.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::stream;

use super::error::RegistryError;
use super::wire::{RegisteredModel, SearchAnswer, none};
use super::{MlflowClient, ModelVersion, SEARCH};
use crate::location::{RegistryUri, Selector};

/// Which version a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its number.
    pub version: u64,
    /// The version itself, where the registry told of it: it does of the newest one in each stage.
    /// Another that an alias points to, or that is named by its number, is only known to be meant:
    /// [`MlflowClient::resolve`] says whether it is ready, and of a number whether there is one.
    pub details: Option<ModelVersion>,
}

/// What is said of each location.
type Survey = BTreeMap<RegistryUri, Result<Surveyed, RegistryError>>;

/// As many names are asked for one by one.
const FEW: usize = 16;
/// How many of these calls are under way at a time.
const AT_ONCE: usize = 4;
/// How many models there are on a page. Release 2 asks its database for the versions of each by itself.
const PAGE: usize = 200;
/// How many pages are read: so 10,000 models.
const PAGES: usize = 50;

// === impl MlflowClient ===

impl MlflowClient {
    /// Returns which versions are meant now, in a number of calls that does not grow with theirs (the
    /// formula is with the [module](super)). What fails for all is said of each of them.
    pub async fn survey(&self, uris: &[RegistryUri]) -> Survey {
        let names: BTreeSet<&str> = uris.iter().map(|uri| uri.name.as_str()).collect();
        let mut models = BTreeMap::new();
        let missed = match self.pages(&names, &mut models).await {
            Ok(missed) => missed,
            Err(error) => {
                return uris
                    .iter()
                    .map(|uri| (uri.clone(), Err(error.clone())))
                    .collect();
            }
        };
        let mut errors = self.one_by_one(&missed, &mut models).await;
        let mut survey = Survey::new();
        for uri in uris {
            let found = match (
                models.get(uri.name.as_str()),
                errors.get_mut(uri.name.as_str()),
            ) {
                (Some(model), _) => self.meant(model, uri),
                (None, Some(error)) => Err(named(error, uri)),
                (None, None) => Err(RegistryError::Unavailable {
                    url: self.http.shown().to_owned(),
                    status: 200,
                    why: format!(
                        "the model is not among its first {} and too many others are looked for by name",
                        PAGE * PAGES
                    ),
                }),
            };
            survey.insert(uri.clone(), found);
        }
        survey
    }

    /// Looks for models in pages, if there are many to look for, and returns those that were not
    /// found.
    async fn pages<'a>(
        &self,
        names: &BTreeSet<&'a str>,
        models: &mut BTreeMap<String, RegisteredModel>,
    ) -> Result<Vec<&'a str>, RegistryError> {
        if names.len() <= FEW {
            return Ok(names.iter().copied().collect());
        }
        let size = PAGE.to_string();
        let mut token: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![("max_results", size.as_str())];
            query.extend(token.as_deref().map(|token| ("page_token", token)));
            let page = self.http.ask(SEARCH, &query).await;
            let page: SearchAnswer = page.map_err(|error| self.http.failed(error))?;
            let wanted = page.registered_models.into_iter();
            let wanted = wanted.filter(|model| names.contains(model.name.as_str()));
            models.extend(wanted.map(|model| (model.name.clone(), model)));
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() || models.len() == names.len() {
                break;
            }
        }
        let missed = names.iter().filter(|name| !models.contains_key(**name));
        Ok(missed.copied().collect())
    }

    /// Asks for models by their names, for [`FEW`] of them at most.
    async fn one_by_one(
        &self,
        names: &[&str],
        models: &mut BTreeMap<String, RegisteredModel>,
    ) -> BTreeMap<String, RegistryError> {
        let mut errors = BTreeMap::new();
        let asked = names.iter().take(FEW).map(|name| async move {
            let uri = RegistryUri {
                name: (*name).to_owned(),
                selector: Selector::Latest,
            };
            (*name, self.model(&uri).await)
        });
        let mut answers = stream::iter(asked).buffered(AT_ONCE);
        while let Some((name, answer)) = answers.next().await {
            match answer {
                Ok(model) => drop(models.insert(name.to_owned(), model)),
                // One that does not answer is not asked fifteen times more.
                Err(error) if !error.is_about_the_model() => {
                    let rest = names.iter().filter(|name| !models.contains_key(**name));
                    for name in rest {
                        errors
                            .entry((*name).to_owned())
                            .or_insert_with(|| error.clone());
                    }
                    break;
                }
                Err(error) => drop(errors.insert(name.to_owned(), error)),
            }
        }
        errors
    }

    fn meant(&self, model: &RegisteredModel, uri: &RegistryUri) -> Result<Surveyed, RegistryError> {
        let (version, told) = model.find(&uri.selector).ok_or_else(|| none(uri))?;
        let details = told.map(|told| {
            let ready = told.ready(&uri.name, model.aliases_of(version));
            ready.map_err(|error| error.on(self.http.shown()))
        });
        let details = details.transpose()?;
        Ok(Surveyed { version, details })
    }
}

/// Says an error about a model of one of the locations in it.
fn named(error: &RegistryError, uri: &RegistryUri) -> RegistryError {
    match error {
        RegistryError::NotFound { why, .. } => RegistryError::NotFound {
            what: uri.to_string(),
            why: why.clone(),
        },
        other => other.clone(),
    }
}
