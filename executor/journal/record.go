package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// Kind is what a record says of its entry.
type Kind byte

// Kinds.
const (
	Accepted Kind = 'A' // the entry waits
	Begun    Kind = 'B' // it may have been executed
	Ended    Kind = 'E' // final

	doubtful Kind = '?' // a record may be missing; the data say why
)

func (k Kind) String() string {
	switch k {
	case Accepted:
		return "accepted"
	case Begun:
		return "begun"
	case Ended:
		return "ended"
	case doubtful:
		return "uncertain"
	}
	return fmt.Sprintf("kind %q", byte(k))
}

// Record is one state of an entry.
type Record struct {
	// ID is of the entry. A later entry has a higher one.
	ID uint64
	// Key is what the entry can be found by; empty: it cannot. Only its hash is stored, with the first record, so it is empty in
	// what is read.
	Key  string
	Kind Kind
	// Data is one line without its end.
	Data []byte
	// Time is when the record was appended, in milliseconds. Append sets it.
	Time time.Time
}

// The format of a record: @CHECKSUM ID KIND NUMBER KEYHASH UNIXMILLI LENGTH DATACHECKSUM DATA. The first checksum is of the rest of
// the header, the second one of the data and the newline.
const (
	headerFormat = "%016x %c %08x %016x %013d %08x %08x "
	headerSize   = 1 + 8 + 1 + 16 + 1 + 1 + 1 + 8 + 1 + 16 + 1 + 13 + 1 + 8 + 1 + 8 + 1
	recordMin    = headerSize + 1
	sector       = 512 // what a disk writes as a whole
	// MaxData is the largest size of the data of a record, in bytes.
	MaxData = 64 << 20
)

// header is that of a record.
type header struct {
	id     uint64
	kind   Kind
	number uint32 // of the record in its entry, from 0; a copy keeps it
	hash   uint64 // of the key; 0: there is none
	milli  int64
	size   int64 // of the data
	sum    uint32
}

func checksum(parts ...[]byte) (sum uint32) {
	for _, p := range parts {
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), p)
	}
	return sum
}

// encode returns the record as it is written at an offset, and the number of newlines in front of it.
func (h header) encode(data []byte, offset int64) (record []byte, padding int) {
	if room := sector - int(offset%sector); room < headerSize {
		padding = room
	}
	b := make([]byte, 0, padding+headerSize+len(data)+1)
	b = append(b, bytes.Repeat([]byte("\n"), padding)...)
	b = append(b, "@00000000 "...)
	b = fmt.Appendf(b, headerFormat, h.id, byte(h.kind), h.number, h.hash, h.milli, len(data), checksum(data, []byte("\n")))
	copy(b[padding+1:], fmt.Sprintf("%08x", checksum(b[padding+9:])))
	b = append(b, data...)
	return append(b, '\n'), padding
}

// parseHeader reads a header at the beginning of b. It reports false if that is none, or damaged.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < headerSize || b[0] != '@' {
		return header{}, false
	}
	b = b[:headerSize]
	ok = true
	field := func(from, size, base int) uint64 {
		v, err := strconv.ParseUint(string(b[from:from+size]), base, 64)
		ok = ok && err == nil
		return v
	}
	var sum [8]byte
	hex.Encode(sum[:], binary.BigEndian.AppendUint32(nil, checksum(b[9:])))
	if !bytes.Equal(sum[:], b[1:9]) {
		return header{}, false
	}
	h = header{id: field(10, 16, 16), kind: Kind(b[27]), number: uint32(field(29, 8, 16)), hash: field(38, 16, 16),
		milli: int64(field(55, 13, 10)), size: int64(field(69, 8, 16)), sum: uint32(field(78, 8, 16))}
	return h, ok && h.id != 0 && h.size <= MaxData
}

// hashKey returns the hash of a key; 0: there is no key.
func hashKey(key string) uint64 {
	if key == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(key))
	return max(1, binary.BigEndian.Uint64(sum[:]))
}

// Lines that describe a segment, and which segments there are.
const (
	version       = 1
	segmentFormat = "stoker-journal %d segment %08d after %016x previous %08x"
	rangeFormat   = "stoker-journal %d segments %08d to %08d"
	segmentSize   = len("stoker-journal 1 segment 00000000 after 0000000000000000 previous 00000000 00000000\n")
	lineMax       = 256
)

// line appends a checksum to a text.
func line(format string, values ...any) []byte {
	text := fmt.Appendf(nil, format, values...)
	return fmt.Appendf(text, " %08x\n", checksum(text))
}

// parseLine is the inverse of line. It reports false if the line is damaged. An error means that the version is another.
func parseLine(b []byte, format string, values ...any) (ok bool, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 9 {
		return false, nil
	}
	text := b[:end-9]
	if string(b[end-9:end]) != fmt.Sprintf(" %08x", checksum(text)) {
		return false, nil
	}
	var v int
	if n, _ := fmt.Sscanf(string(text), "stoker-journal %d ", &v); n == 1 && v != version {
		return false, fmt.Errorf("it is of version %d; this stoker knows version %d only: use the newer one", v, version)
	}
	n, _ := fmt.Sscanf(string(text), format, append([]any{&v}, values...)...)
	return n == 1+len(values), nil
}
