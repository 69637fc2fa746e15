//! The reference of the configuration, as a document.
