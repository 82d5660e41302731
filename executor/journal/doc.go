// Package journal keeps the states of entries on disk: append-only, checksummed, in segment files. It knows nothing of what an entry
// is but its ID, the hash of its key and the kind of each record.
//
// A segment, such as 00000001.journal, begins with a line that names its version. Each record is a line: a header of fixed width with
// a checksum of its own, then the data. So the records can be found without decoding them, damaged data still have a known owner, and
// a person can read the file. A header never crosses a boundary of 512 bytes: a power failure or a kill leaves all of it or nothing.
//
// The space behind the last record is allocated ahead and holds zeros. Accepted records leave the last part of it to the others, so
// that what runs can still be recorded when the disk is full.
//
// The rule for damage: if a record that followed the newest valid one of an unfinished entry may be missing, the entry is uncertain.
// A record of its own keeps that over the next opening, until the caller appends another record of the entry.
package journal
