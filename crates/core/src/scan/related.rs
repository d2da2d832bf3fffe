//! Paths, and whether others lead to, into or past them: in one look-up, because an object may differ at as many
//! paths as it has fields.

use std::collections::HashSet;

use crate::compare::path::{FieldPath, Step};

/// Some paths.
#[derive(Debug, Default)]
pub(super) struct RelatedPaths<'p> {
    paths: HashSet<&'p [Step]>,
    /// Every place above one of them.
    above: HashSet<&'p [Step]>,
}

impl<'p> RelatedPaths<'p> {
    pub(super) fn of(paths: impl IntoIterator<Item = &'p FieldPath>) -> Self {
        let mut related = Self::default();
        for path in paths {
            let steps = path.steps();
            related.paths.insert(steps);
            let above = (0..steps.len()).filter_map(|depth| steps.get(..depth));
            related.above.extend(above);
        }
        related
    }

    /// Whether the path is one of them, or above or below one.
    pub(super) fn touch(&self, path: &FieldPath) -> bool {
        let steps = path.steps();
        let mut to_here = (0..=steps.len()).filter_map(|depth| steps.get(..depth));
        self.above.contains(steps) || to_here.any(|above| self.paths.contains(above))
    }

    /// Whether the path is one of them.
    pub(super) fn include(&self, path: &FieldPath) -> bool {
        self.paths.contains(path.steps())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::itself(".a.b", true, true)]
    #[case::above(".a", true, false)]
    #[case::everything_above(".", true, false)]
    #[case::below(".a.b[name=c].d", true, false)]
    #[case::a_sibling(".a.c", false, false)]
    #[case::similar(".a.bc", false, false)]
    fn a_path_touches_those_on_its_way(
        #[case] path: &str,
        #[case] touches: bool,
        #[case] is_one: bool,
    ) {
        let paths = [FieldPath::of(["a", "b"]), FieldPath::of(["x"])];
        let related = RelatedPaths::of(&paths);
        let path = if path == "." {
            FieldPath::root()
        } else {
            path.parse().unwrap()
        };
        assert_eq!(related.touch(&path), touches);
        assert_eq!(related.include(&path), is_one);
        assert!(!RelatedPaths::default().touch(&path));
    }
}
