//! Rules of a feed of many collections, where randomness rarely goes.
