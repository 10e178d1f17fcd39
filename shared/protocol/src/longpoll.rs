//! What long poll adds to the protocol: the bodies of posts, and the tokens of sessions.

pub mod body;
pub mod token;

pub use body::{Line, PostBody};
pub use token::{Secret, SessionToken};
