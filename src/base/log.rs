//! The macros of the `log` crate, with less code: those keep the place in the source of each line, which is
//! never shown, 3 KB in all.

pub use log::Level;
use std::fmt::Arguments;

/// What the macros call.
#[inline(never)]
pub fn line(level: Level, text: Arguments<'_>) {
    ::log::log!(level, "{text}");
}

/// The target of lines that another program has written: they leave room for vipd's own.
pub const OTHERS: &str = "others";

/// A line of another program's.
pub fn pass_on(level: Level, text: Arguments<'_>) {
    ::log::log!(target: OTHERS, level, "{text}");
}

macro_rules! at {
    ($level:expr, $($text:tt)+) => { $crate::base::log::line($level, format_args!($($text)+)) };
}

macro_rules! error {
    ($($text:tt)+) => { $crate::base::log::log!($crate::base::log::Level::Error, $($text)+) };
}

macro_rules! warning {
    ($($text:tt)+) => { $crate::base::log::log!($crate::base::log::Level::Warn, $($text)+) };
}

macro_rules! info {
    ($($text:tt)+) => { $crate::base::log::log!($crate::base::log::Level::Info, $($text)+) };
}

macro_rules! debug {
    ($($text:tt)+) => { $crate::base::log::log!($crate::base::log::Level::Debug, $($text)+) };
}

pub(crate) use {at as log, debug, error, info, warning as warn};
