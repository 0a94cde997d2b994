//! Placeholder: written on another branch.
