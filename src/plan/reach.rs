//! What is behind the pointers of a function's arguments: which of it is captured, within the bounds of a call.
//!
//! Texts that are arguments themselves have `--string` bytes each. All else shares `--bytes`: each argument with pointers gets the same part of
//! it and spends it breadth first, what is nearer before what is behind it; then the arguments spend together what is left over, in the same
//! order. Texts are given a little at first, and in the end all that nobody needed, in equal parts. So what is captured depends on types and
//! options only.

use std::collections::VecDeque;

use lastwords_abi::step::{ELEMENTS, OUTCOME_BYTES, PLACES, RING};
use lastwords_abi::{MAX_COPY_BYTES, MAX_STEPS, align8};

use super::blocks::{Block, Part};
use super::containers::CONTROL_BYTES;
use super::counted::{aim_at, count_behind};
use super::fragments::Fragments;
use super::nodes::Node;
use super::pointers::followable;
use super::steps::{Aim, Count, StepList};
use super::tails::Tail;
use super::{Follow, Followed, Limits};
use crate::dwarf::types::TypeId;

/// Bytes that a text is given at first.
pub(super) const FIRST_TEXT_BYTES: u32 = 32;
/// Bytes of a value that are worth a step, if it does not fit as a whole.
const LEAST_PART_BYTES: u32 = 32;
/// Elements whose own pointers are followed, at the most.
pub(super) const MAX_ELEMENTS: u32 = 8;
/// Elements in a place of their own that point to nothing, at the most: of a hash table, as many as control bytes are captured.
const MAX_PLAIN_ELEMENTS: u32 = CONTROL_BYTES as u32;
/// Pointers of a list of texts, the NULL that ends it included.
const LIST_ENTRIES: u32 = 8;
/// Bytes of a pointer.
pub(super) const POINTER_BYTES: u32 = 8;

/// A pointer that could be followed.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Index of its argument.
    argument: usize,
    /// Where in the argument, or in what it was found behind, it lies.
    at: u32,
    /// What it leads to, from where it lies in a record's data.
    aim: Aim,
    /// What that is.
    what: Followed,
    /// Where in a record's data its length or end lies.
    count: Option<Count>,
    /// How many pointers to values are followed to get there, this one included if it is one. What containers hold is theirs.
    level: u32,
    /// It is all of its argument.
    is_argument: bool,
    /// What it was found behind.
    parent: Option<usize>,
}

impl Candidate {
    /// A pointer in an argument itself.
    pub fn of_argument(argument: usize, at: u32, base: u32, what: Followed, count: Option<Count>) -> Self {
        Self {
            argument,
            at,
            aim: aim_at(what, base),
            what,
            count,
            level: level_of(what),
            is_argument: false,
            parent: None,
        }
    }

    /// The argument consists of it.
    pub fn whole(self) -> Self {
        Self { is_argument: true, ..self }
    }
}

/// What is captured so far.
pub struct Reach<'a> {
    fragments: &'a Fragments<'a>,
    limits: Limits,
    steps: &'a mut StepList,
    /// What was followed, and to which step. A text has none until the end.
    taken: Vec<(Candidate, Option<usize>)>,
    /// Bytes that nobody has spent.
    left: u32,
    /// Steps that there may be so far, those of texts included.
    most_steps: usize,
}

impl<'a> Reach<'a> {
    /// Nothing yet.
    pub fn new(fragments: &'a Fragments<'a>, limits: Limits, steps: &'a mut StepList) -> Self {
        Self { fragments, limits, steps, taken: Vec::new(), left: limits.reach_bytes, most_steps: MAX_STEPS as usize }
    }

    /// Follows the pointers of all arguments, of which there are `arguments`. Returns for each of them what is behind it.
    pub fn follow(mut self, candidates: Vec<Candidate>, arguments: usize) -> Vec<Vec<Follow>> {
        let (texts, others): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|it| it.is_argument && self.is_text(it.what));
        let mut queues: Vec<VecDeque<Candidate>> = vec![VecDeque::new(); arguments];
        others.into_iter().for_each(|candidate| queues[candidate.argument].push_back(candidate));
        self.taken.extend(texts.into_iter().map(|text| (text, None)));
        let spenders = queues.iter().filter(|queue| !queue.is_empty()).count() as u32;
        let part = self.left.checked_div(spenders).unwrap_or(0) & !7;
        let mut waiting = Vec::new();
        // So are the steps: an argument with many small parts leaves some to the others.
        let used = self.steps.count() + self.pending();
        let share = (MAX_STEPS as usize).saturating_sub(used).checked_div(spenders as usize).unwrap_or(0);
        self.most_steps = used;
        for mut queue in queues.into_iter().filter(|queue| !queue.is_empty()) {
            let mut purse = part.min(self.left);
            self.left -= purse;
            self.most_steps += share;
            self.spend(&mut queue, &mut purse, &mut waiting, false);
            self.left += purse;
        }
        self.most_steps = MAX_STEPS as usize;
        waiting.sort_by_key(|candidate| candidate.level);
        let mut purse = std::mem::take(&mut self.left);
        self.spend(&mut waiting.into(), &mut purse, &mut Vec::new(), true);
        self.left = purse;
        self.read_texts();
        (0..arguments).map(|argument| self.tree(argument, None)).collect()
    }

    /// Takes from the front of the queue what the purse can pay, and queues what is behind it. The rest has to wait.
    fn spend(&mut self, queue: &mut VecDeque<Candidate>, purse: &mut u32, waiting: &mut Vec<Candidate>, may_cut: bool) {
        while let Some(candidate) = queue.pop_front() {
            match self.take(&candidate, *purse, queue, may_cut) {
                Some(price) => {
                    *purse -= price;
                    queue.extend(self.behind_last());
                }
                None => waiting.push(candidate),
            }
        }
    }

    /// What it costs to follow a pointer, while `others` wait. `None` where that is too much.
    fn take(&mut self, candidate: &Candidate, purse: u32, others: &VecDeque<Candidate>, may_cut: bool) -> Option<u32> {
        if self.steps.count() + self.pending() >= self.most_steps {
            return None;
        }
        if self.is_text(candidate.what) {
            let price = text_price(FIRST_TEXT_BYTES.min(self.limits.string_bytes));
            (price <= purse).then(|| self.taken.push((*candidate, None)))?;
            return Some(price);
        }
        let room = purse.checked_sub(OUTCOME_BYTES)? & !7;
        if let Some((of, element)) = candidate.what.elements() {
            return self.take_elements(candidate, (of, element), room, others);
        }
        let size = match candidate.what {
            Followed::Bytes(bytes) | Followed::Node(Node { bytes, .. }) | Followed::Front { bytes, .. } => bytes.into(),
            Followed::Blocks(blocks) => blocks.table_bytes().into(),
            Followed::Edges(edges) => edges.captured_bytes().into(),
            Followed::Texts => LIST_ENTRIES * POINTER_BYTES,
            Followed::Value(ty) if candidate.level <= self.limits.depth => {
                u32::try_from(followable(ty, self.fragments.types())?).unwrap_or(u32::MAX).min(MAX_COPY_BYTES)
            }
            _ => return None,
        };
        let size = match size <= room {
            true => size,
            false if may_cut && room >= LEAST_PART_BYTES => room,
            false => return None,
        };
        let step = match candidate.count {
            // A table of pointers, of which there may be less.
            Some(count) => self.steps.elements(ELEMENTS, candidate.aim, count, size)?,
            None => self.steps.follow(candidate.aim, size)?,
        };
        self.taken.push((*candidate, Some(step)));
        Some(OUTCOME_BYTES + align8(size))
    }

    /// The first elements, as many as there is room for with what their pointers lead to; `others` want to be followed too.
    fn take_elements(
        &mut self,
        candidate: &Candidate,
        (of, element): (TypeId, u16),
        room: u32,
        others: &VecDeque<Candidate>,
    ) -> Option<u32> {
        let element = u32::from(element);
        // What texts need is known, and the same for all.
        let texts = others.iter().filter(|other| self.is_text(other.what)).count();
        let owed = texts as u32 * text_price(FIRST_TEXT_BYTES.min(self.limits.string_bytes));
        let part = room.saturating_sub(owed) / ((others.len() - texts) as u32 + 1);
        let is_plain = self.fragments.pointers_behind(candidate.what, element).is_empty();
        let most = if is_plain { MAX_PLAIN_ELEMENTS } else { MAX_ELEMENTS };
        let few = part.checked_div(self.fragments.element_price(of, element))?.clamp(1, most);
        let size = few.min(room.checked_div(element)?) * element;
        let op = match candidate.what {
            Followed::Ring { .. } | Followed::Block(Block { part: Part::FromFirst { .. }, .. }) => RING,
            Followed::Places { .. } => PLACES,
            _ => ELEMENTS,
        };
        let step = (size > 0).then(|| self.steps.elements(op, candidate.aim, candidate.count?, size))??;
        self.taken.push((*candidate, Some(step)));
        Some(OUTCOME_BYTES + align8(size))
    }

    /// Texts that have no step yet.
    fn pending(&self) -> usize {
        self.taken.iter().filter(|(_, step)| step.is_none()).count()
    }

    /// The pointers in what was just taken.
    fn behind_last(&self) -> Vec<Candidate> {
        let Some((index, (parent, Some(step)))) = self.taken.iter().enumerate().next_back() else { return Vec::new() };
        let child = |at: u32, what: Followed| {
            let place = |at| self.steps.data_offset(*step, at);
            let aim = match what {
                Followed::Tail(tail) => Aim { base: parent.aim.base, offset: i32::try_from(tail.at).ok()? },
                Followed::Front { bytes, .. } => Aim { base: parent.aim.base, offset: -i32::from(bytes) },
                _ => aim_at(what, place(at).filter(|base| base.is_multiple_of(POINTER_BYTES))?),
            };
            let (argument, level) = (parent.argument, parent.level + level_of(what));
            let count = count_behind(parent.count, what, place)?;
            Some(Candidate { argument, at, aim, what, count, level, is_argument: false, parent: Some(index) })
        };
        let captured = self.steps.size(*step).unwrap_or(0);
        let pointers = self.fragments.pointers_behind(parent.what, captured);
        pointers.iter().filter_map(|pointer| child(pointer.at, pointer.lead)).collect()
    }

    /// Adds the steps of the texts, which have no fixed size and stand behind all others.
    fn read_texts(&mut self) {
        let sharing = self.taken.iter().filter(|(text, step)| step.is_none() && !text.is_argument).count() as u32;
        let more = self.left.checked_div(sharing).unwrap_or(0) & !7;
        let whole = self.limits.string_bytes.min(MAX_COPY_BYTES);
        let shared = whole.min(FIRST_TEXT_BYTES + more);
        for (text, step) in self.taken.iter_mut().filter(|(_, step)| step.is_none()) {
            let limit = if text.is_argument { whole } else { shared };
            *step = match (text.what, text.count) {
                (Followed::CString | Followed::Tail(Tail { count: None, .. }), _) => self.steps.string(text.aim, limit),
                (_, Some(count)) => self.steps.counted(text.aim, count, limit),
                _ => None,
            };
        }
    }

    /// Of a size that is known only when it is read: it stands behind all that has a place, and nothing in it is followed.
    fn is_text(&self, what: Followed) -> bool {
        match what {
            Followed::CString | Followed::Str { .. } | Followed::Tail(Tail { count: None, .. }) => true,
            Followed::Tail(Tail { element, .. })
            | Followed::Counted { element, .. }
            | Followed::Until { element, .. }
            | Followed::Block(Block { element, part: Part::ToEnd, .. })
            | Followed::Paired { element, .. } => self.fragments.pointers_behind(what, element.into()).is_empty(),
            _ => false,
        }
    }

    fn tree(&self, argument: usize, parent: Option<usize>) -> Vec<Follow> {
        let own = self.taken.iter().enumerate().filter(|(_, (it, _))| it.argument == argument && it.parent == parent);
        let follow = |(index, (it, step)): (usize, &(Candidate, Option<usize>))| {
            Some(Follow { at: it.at, step: (*step)?, what: it.what, behind: self.tree(argument, Some(index)) })
        };
        own.filter_map(follow).collect()
    }
}

/// Pointers to values count, and what belongs to a text or a container does not.
fn level_of(what: Followed) -> u32 {
    u32::from(matches!(what, Followed::Value(_)))
}

/// What a text of at most `limit` bytes costs.
pub(super) fn text_price(limit: u32) -> u32 {
    OUTCOME_BYTES + align8(limit + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwarf::types::{Aggregate, Member, Type, TypeId, TypeKind, TypeTable};
    use crate::plan::counted::count_at;
    use crate::plan::pointers::pointers_in;

    /// A structure of `size` bytes, which begins with a pointer to another one like it.
    fn link(size: u64, types: &mut TypeTable) -> TypeId {
        let kind = TypeKind::Void;
        let own = types.push(Type { name: "link".into(), size: None, kind });
        let kind = TypeKind::Pointer { to: own, reference: false };
        let pointer = types.push(Type { name: "link *".into(), size: Some(8), kind });
        let next = Member { name: "next".into(), offset: 0, ty: pointer };
        let kind = TypeKind::Aggregate(Aggregate { members: vec![next], ..Aggregate::default() });
        types.set(own, Type { name: "link".into(), size: Some(size), kind });
        own
    }

    /// The bytes of each value that is followed, of two arguments that point to structures of these sizes.
    fn followed(sizes: [u64; 2], reach_bytes: u32) -> [Vec<u16>; 2] {
        let (mut types, mut steps) = (TypeTable::default(), StepList::default());
        let links = sizes.map(|size| link(size, &mut types));
        let limits = Limits { reach_bytes, ..Limits::default() };
        let candidates = links.iter().enumerate().filter_map(|(argument, ty)| {
            let step = steps.register(u8::try_from(argument).ok()?)?;
            Some(Candidate::of_argument(argument, 0, steps.data_offset(step, 0)?, Followed::Value(*ty), None))
        });
        let candidates = candidates.collect();
        let trees = Reach::new(&Fragments::new(&types), limits, &mut steps).follow(candidates, 2);
        let steps = steps.into_steps();
        let chain = |tree: &Vec<Follow>| {
            let follows = std::iter::successors(tree.first(), |follow| follow.behind.first());
            follows.map(|follow| steps[follow.step].size).collect()
        };
        [chain(&trees[0]), chain(&trees[1])]
    }

    /// Guards against an argument that takes what another one needs, against bytes that nobody gets, and against chains without an end.
    #[test]
    fn each_argument_has_its_part_and_what_is_left_over_goes_to_the_nearest() {
        assert_eq!(followed([24, 24], 1024), [vec![24; 3], vec![24; 3]], "three deep");
        // Of 96 bytes, each argument has 48: one value and its outcome. The rest is enough for one more.
        assert_eq!(followed([24, 24], 96), [vec![24, 24], vec![24]]);
        assert_eq!(followed([24, 24], 128), [vec![24, 24], vec![24, 24]]);
        // The large one is cut, and the small one is whole.
        assert_eq!(followed([1000, 24], 256), [vec![152], vec![24, 24, 24]]);
        assert_eq!(followed([24, 24], 0), [Vec::<u16>::new(), Vec::new()]);
    }

    /// The sizes of all places and texts that are captured of an argument of this type, in the order of the steps.
    fn captured(ty: TypeId, types: &TypeTable, reach_bytes: u32) -> Vec<(u8, u16)> {
        let mut steps = StepList::default();
        let limits = Limits { reach_bytes, ..Limits::default() };
        for word in 0..2 {
            steps.register(word).unwrap();
        }
        let candidates = pointers_in(None, ty, 16, types).into_iter().map(|pointer| {
            let count = count_at(pointer.lead, Some).unwrap();
            Candidate::of_argument(0, pointer.at, pointer.at, pointer.lead, count)
        });
        let candidates = candidates.collect();
        Reach::new(&Fragments::new(types), limits, &mut steps).follow(candidates, 1);
        steps.into_steps().iter().skip(2).map(|step| (step.op, step.size)).collect()
    }

    /// A slice of Rust, whose name is `name`, of these elements.
    fn slice(name: &str, of: TypeId, types: &mut TypeTable) -> TypeId {
        let kind = TypeKind::Pointer { to: of, reference: false };
        let pointer = types.push(Type { name: "*const T".into(), size: Some(8), kind });
        let length =
            types.push(Type { name: "usize".into(), size: Some(8), kind: TypeKind::Integer { signed: false } });
        let member = |name: &str, offset, ty| Member { name: name.into(), offset, ty };
        let members = vec![member("data_ptr", 0, pointer), member("length", 8, length)];
        let kind = TypeKind::Aggregate(Aggregate { members, ..Aggregate::default() });
        types.push(Type { name: name.into(), size: Some(16), kind })
    }

    /// Guards against elements whose texts are not captured, and against places for elements that leave no room for them.
    #[test]
    fn elements_have_as_many_places_as_their_texts_have_room() {
        use lastwords_abi::step::COUNTED;
        let mut types = TypeTable::default();
        let byte = types.push(Type { name: "u8".into(), size: Some(1), kind: TypeKind::Integer { signed: false } });
        let text = slice("&str", byte, &mut types);
        let texts = slice("&[&str]", text, &mut types);
        let lists = slice("&[&[&str]]", texts, &mut types);

        assert_eq!(captured(text, &types, 1024), [(COUNTED, 256)]);
        // 1,024 bytes: places of 16 bytes each behind an outcome, and the rest for the texts.
        assert_eq!(captured(texts, &types, 1024), [vec![(ELEMENTS, 128)], vec![(COUNTED, 88); 8]].concat());
        // A text costs 48 bytes and its place 16: two of them, which share what is left.
        assert_eq!(captured(texts, &types, 160), [vec![(ELEMENTS, 32)], vec![(COUNTED, 40); 2]].concat());
        let of_lists = captured(lists, &types, 1024);
        let count = |op| of_lists.iter().filter(|(of, _)| *of == op).count();
        let inner: Vec<u16> =
            of_lists[1..].iter().filter(|(op, _)| *op == ELEMENTS).map(|(_, size)| size / 16).collect();
        assert_eq!((of_lists[0], inner.len()), ((ELEMENTS, 96), 6), "{of_lists:?}");
        assert_eq!(count(COUNTED), usize::from(inner.iter().sum::<u16>()), "every place has its text: {of_lists:?}");
    }
}
