//! Separate items with the same merge key: two names of one port, two aliases of one address. The
//! API server accepts such twins, and readers of the list see both.
//!
//! Losing or renaming one of two declared twins is a change. Their order is irrelevant, and another
//! undeclared twin is as free as any other item.

use super::{Agreement, Items, Walk, WalkPlace};
use crate::compare::{
    declared::Declared,
    json::Json,
    twins::{owned, slots, spare, without},
};

impl<'a> Walk<'a, '_> {
    /// The items of one key.
    pub(super) fn twins(&mut self, place: WalkPlace<'a, '_>, items: Items<'a, '_>) {
        let Items {
            firsts,
            seconds,
            olds,
            news,
        } = items;
        let most = seconds.map_or(0, <[_]>::len).max(firsts.len());
        if most <= 1 && olds.len() <= 1 && news.len() <= 1 {
            let first = firsts.first().copied();
            let declared = match seconds {
                None => first.map(Declared::One),
                Some(seconds) => Some(Declared::Two(first, seconds.first().copied())),
            };
            if let Some(declared) = declared {
                let (old, new) = (olds.first().copied(), news.first().copied());
                self.one(declared, WalkPlace { old, new, ..place });
            }
            return;
        }
        let slots = slots(firsts, seconds, place.shape, self.rules);
        let owned = |given: &[Json<'a>]| owned(&slots, given, place.shape, self.rules);
        let (own_old, own_new) = (owned(olds), owned(news));
        let (spare_olds, spare_news) = (spare(olds, &own_old), spare(news, &own_new));
        let came = without(&spare_news, &spare_olds);
        let went = without(&spare_olds, &spare_news);
        // Helm's own patch identifies ports by their number alone, and may leave one of several.
        let is_collapsed = seconds.is_some()
            && self.agreement == Agreement::Every
            && !news.is_empty()
            && news.len() < olds.len()
            && came.is_empty();
        if is_collapsed {
            return;
        }
        let (mut came, mut went) = (came.into_iter(), went.into_iter());
        for ((slot, old), new) in slots.iter().zip(own_old).zip(own_new) {
            if new.is_some() {
                continue;
            }
            let old = old.and_then(|at| olds.get(at)).copied();
            let old = old.or_else(|| went.next());
            let new = came.next();
            self.one(*slot, WalkPlace { old, new, ..place });
        }
    }

    /// One item. Removing it is a change even if each of its values may be absent: in a custom
    /// resource, `{port: 0}` has no value that must be present.
    fn one(&mut self, declared: Declared<'a>, place: WalkPlace<'a, '_>) {
        let before = self.found.len();
        self.at(declared, place);
        if place.old.is_some() && place.new.is_none() && self.found.len() == before {
            self.removed(declared, place);
        }
    }
}
