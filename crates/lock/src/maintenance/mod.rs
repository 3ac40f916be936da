//! Listing, ending and removing what is on disk, for people.

mod clean;
mod entry_watch;
pub mod inspect;
mod survey;
mod tree;

pub use clean::Action;
pub use clean::Cleaning;
pub use clean::OnAction;
pub use survey::EntryStage;
pub use survey::OpenEntry;
pub use survey::Survey;
pub use tree::Tree;
