//! Well-known types of the standard libraries: told as what they hold, and not as what they are made of.
//!
//! A type is recognised by its name, and then by the members that debug info says it has; where those are others than expected, it stays the
//! struct that it is. No offset is known here: all of them are those of the program's own debug info.

mod bits;
mod cpp_choice;
mod cpp_function;
mod cpp_list;
mod cpp_nodes;
mod cpp_queue;
mod cpp_text;
mod elements;
mod libcxx;
mod place;
mod rust_hash;
mod rust_list;
mod rust_object;
mod rust_pointer;
mod rust_text;
mod rust_tree;
pub mod tails;
mod wrapper;

pub use place::Place;

use crate::plan::containers::without_version;
use crate::report::Value;

/// Decodes one family of types; `None` where the members are not as expected.
type Recognise = fn(Place<'_>, &Value) -> Option<Value>;

/// Names without what they were given in angle brackets, and who knows such a type.
const KNOWN: &[(&str, Recognise)] = &[
    ("alloc::string::String", rust_text::owned),
    ("std::ffi::os_str::OsString", rust_text::owned),
    ("std::path::PathBuf", rust_text::owned),
    ("alloc::vec::Vec", rust_list::vec),
    ("alloc::rc::Rc", rust_pointer::counted),
    ("alloc::sync::Arc", rust_pointer::counted),
    ("alloc::rc::Weak", rust_pointer::weak),
    ("alloc::sync::Weak", rust_pointer::weak),
    ("alloc::ffi::c_str::CString", rust_text::c_string),
    ("alloc::collections::vec_deque::VecDeque", rust_list::queue),
    ("alloc::collections::btree::map::BTreeMap", rust_tree::map),
    ("alloc::collections::btree::set::BTreeSet", rust_tree::set),
    ("std::collections::hash::map::HashMap", rust_hash::map),
    ("std::collections::hash::set::HashSet", rust_hash::set),
    ("core::cell::Cell", wrapper::value),
    ("core::cell::UnsafeCell", wrapper::value),
    ("core::cell::RefCell", wrapper::value),
    ("core::mem::manually_drop::ManuallyDrop", wrapper::value),
    ("core::mem::maybe_dangling::MaybeDangling", wrapper::only_member),
    ("core::pin::Pin", wrapper::only_member),
    ("core::num::nonzero::NonZero", wrapper::only_member),
    ("core::ptr::non_null::NonNull", wrapper::only_member),
    ("std::sync::poison::mutex::Mutex", wrapper::data),
    ("std::sync::poison::rwlock::RwLock", wrapper::data),
    ("core::sync::atomic::AtomicBool", wrapper::flag),
    ("core::sync::atomic::Atomic", wrapper::value),
    ("core::sync::atomic::AtomicUsize", wrapper::value),
    ("core::sync::atomic::AtomicU64", wrapper::value),
    ("core::sync::atomic::AtomicU32", wrapper::value),
    ("core::sync::atomic::AtomicI32", wrapper::value),
    ("core::sync::atomic::AtomicI64", wrapper::value),
    ("std::basic_string", cpp_text::string),
    ("std::basic_string_view", cpp_text::view),
    ("std::vector", cpp_list::vector),
    ("std::array", cpp_list::array),
    ("std::span", cpp_list::span),
    ("std::weak_ptr", wrapper::pointer),
    ("std::unique_ptr", wrapper::pointer),
    ("std::shared_ptr", wrapper::pointer),
    ("std::reference_wrapper", wrapper::pointer),
    ("std::atomic", wrapper::atomic),
    ("std::optional", cpp_choice::optional),
    ("std::variant", cpp_choice::variant),
    ("std::pair", cpp_choice::pair),
    ("std::tuple", cpp_choice::tuple),
    ("std::map", cpp_nodes::map),
    ("std::multimap", cpp_nodes::map),
    ("std::set", cpp_nodes::set),
    ("std::multiset", cpp_nodes::set),
    ("std::unordered_map", cpp_nodes::hash_map),
    ("std::unordered_set", cpp_nodes::hash_set),
    ("std::list", cpp_nodes::list),
    ("std::forward_list", cpp_nodes::forward_list),
    ("std::unordered_multimap", cpp_nodes::hash_map),
    ("std::unordered_multiset", cpp_nodes::hash_set),
    ("std::deque", cpp_queue::deque),
    ("std::queue", wrapper::adapted),
    ("std::stack", wrapper::adapted),
    ("std::priority_queue", wrapper::adapted),
    ("std::function", cpp_function::function),
    ("std::basic_string", libcxx::string),
    ("std::basic_string_view", libcxx::view),
    ("std::span", libcxx::view),
    ("std::vector", libcxx::vector),
    ("std::array", libcxx::array),
    ("std::list", libcxx::list),
    ("std::forward_list", libcxx::forward_list),
    ("std::map", libcxx::map),
    ("std::multimap", libcxx::map),
    ("std::set", libcxx::set),
    ("std::multiset", libcxx::set),
    ("std::unordered_map", libcxx::hash_map),
    ("std::unordered_multimap", libcxx::hash_map),
    ("std::unordered_set", libcxx::hash_set),
    ("std::unordered_multiset", libcxx::hash_set),
    ("std::unique_ptr", libcxx::pointer),
    ("std::shared_ptr", libcxx::pointer),
    ("std::weak_ptr", libcxx::pointer),
    ("std::optional", libcxx::optional),
    ("std::tuple", libcxx::tuple),
    ("std::deque", cpp_queue::deque_of_libcxx),
    ("std::function", cpp_function::function_of_libcxx),
];

/// What `place` holds, if its type is a well-known one. `value` has its name and type already.
pub fn decode(place: Place<'_>, value: &Value) -> Option<Value> {
    if let Some(slice) = rust_list::slice(place, value) {
        return Some(slice);
    }
    if let Some(object) = rust_object::object(place, value) {
        return Some(object);
    }
    let name = without_version(place.base_name());
    let recognisers = KNOWN.iter().filter(|(known, _)| *known == name);
    recognisers.map(|(_, recognise)| recognise).find_map(|recognise| recognise(place, value))
}
