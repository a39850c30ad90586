//! What keeps processes of apps apart from the machine and from each other. A leaf: it knows no stage.

pub mod bubblewrap;
