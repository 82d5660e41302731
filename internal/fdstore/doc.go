// Package fdstore is the supervisor's side of the init's fd store: named items, each
// a blob of at most 64 KiB, open files, or both, that the next supervisor receives.
//
//   - Put keeps a blob and descriptors, PutFile an open file, PutJSON a value of any
//     size, PutProcess the record of a process. An item is replaced as a whole, except
//     that an item put again without descriptors keeps those it has.
//   - Delete removes an item.
//   - Items are those of the previous supervisor. Take, TakeFile and TakeJSON return an item once.
//
// The init's side is internal/initstore.
package fdstore
