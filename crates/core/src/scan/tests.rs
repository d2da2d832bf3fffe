//! Every class: made, found once with its path, writer and consequence, and gone when repaired.

mod drift;
mod fields;
mod objects;
mod records;
mod repair;
mod revisions;
mod scene;
mod tolerated;
mod written;
