//! Sets of repositories that a caller may read, for queries that look in many.

use super::glob::RepositoryGlob;
use crate::name::RepositoryName;

/// What may be read of one catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogScope {
    pub catalog: String,
    /// `None`: all of it.
    pub only: Option<Vec<RepositoryGlob>>,
}

impl CatalogScope {
    pub fn whole(catalog: &str) -> Self {
        Self { catalog: catalog.to_owned(), only: None }
    }

    pub fn matching(glob: &RepositoryGlob) -> Self {
        Self { catalog: glob.catalog().to_owned(), only: Some(vec![glob.clone()]) }
    }

    /// Whether a repository of this catalog is in it.
    pub fn admits(&self, repository: &RepositoryName) -> bool {
        self.only.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(repository)))
    }
}

/// A set of repositories that a caller may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadScope {
    Everything,
    /// Each catalog stands here once.
    Only {
        catalogs: Vec<CatalogScope>,
        repositories: Vec<RepositoryName>,
    },
}

impl ReadScope {
    /// Reads nothing.
    pub fn nothing() -> Self {
        Self::Only { catalogs: Vec::new(), repositories: Vec::new() }
    }

    /// Reads one catalog.
    pub fn catalog(catalog: &str) -> Self {
        Self::Only { catalogs: vec![CatalogScope::whole(catalog)], repositories: Vec::new() }
    }

    pub fn contains(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Everything => true,
            Self::Only { catalogs, repositories } => {
                catalogs.iter().any(|scope| scope.catalog == repository.catalog() && scope.admits(repository))
                    || repositories.contains(repository)
            }
        }
    }

    /// Adds what may be read of a catalog to what is known of it.
    pub(super) fn add(&mut self, more: CatalogScope) {
        let Self::Only { catalogs, .. } = self else { return };
        match catalogs.iter_mut().find(|scope| scope.catalog == more.catalog) {
            None => catalogs.push(more),
            Some(known) => match (&mut known.only, more.only) {
                (None, _) => {}
                (only, None) => *only = None,
                (Some(globs), Some(more)) => globs.extend(more),
            },
        }
    }

    /// Both together.
    pub(super) fn union(mut self, other: Self) -> Self {
        match other {
            Self::Everything => Self::Everything,
            Self::Only { catalogs, repositories } => {
                for scope in catalogs {
                    self.add(scope);
                }
                if let Self::Only { repositories: own, .. } = &mut self {
                    own.extend(repositories);
                }
                self
            }
        }
    }
}
