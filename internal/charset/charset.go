// Package charset decodes text to UTF-8. It knows the encodings of web browsers and IANA by their names, if ASCII is a part of them and
// there are no escape sequences, with the results of golang.org/x/text, from whose tables its test makes its own: one compressed file.
package charset

import (
	"bytes"
	"compress/flate"
	_ "embed"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// packed has the names and the tables: see pack in charset_test.go.
//
//go:embed tables.bin
var packed []byte

// Parts that a table has beside single bytes.
const (
	hasPairs   = 1 << iota // of a lead byte and another one
	hasTriples             // of tripleLead and two of a square
	hasQuads               // of GB18030
)

// Forms of an encoding.
const (
	plain   = iota
	noQuads // GBK is GB18030 without them
	utf8Form
)

// Sizes of the tables, and where they begin.
const (
	singles    = 128
	firstLead  = 0x81
	firstTrail = 0x40
	trails     = 0xff - firstTrail
	pairs      = (0xff - firstLead) * trails
	tripleLead = 0x8f
	firstCell  = 0xa1
	square     = 94
	triples    = square * square
	quads      = 39420
	moreQuads  = 189000 // the number of U+10000
)

// table is what the bytes of an encoding mean; 0: nothing.
type table struct {
	single []rune // of 0x80 and more
	pair   []rune // nil: it has none, as those that follow
	triple []rune
	quad   []rune
}

// Decode returns text in the encoding with a name as UTF-8, with U+FFFD for what has no meaning.
func Decode(name string, text []byte) ([]byte, error) {
	t, form, ok := find(strings.ToLower(strings.TrimSpace(name)))
	if !ok {
		return nil, fmt.Errorf("the encoding %q is not known", name)
	}
	switch form {
	case utf8Form:
		return bytes.ToValidUTF8(text, []byte("\ufffd")), nil
	case noQuads:
		t.quad = nil
	}
	out := make([]byte, 0, len(text)+len(text)/2)
	for len(text) > 0 {
		r, size := t.next(text)
		out, text = utf8.AppendRune(out, r), text[size:]
	}
	return out, nil
}

// next decodes the first character.
func (t *table) next(text []byte) (r rune, size int) {
	lead := text[0]
	if lead < utf8.RuneSelf {
		return rune(lead), 1
	}
	if r := t.single[lead-0x80]; r != 0 {
		return r, 1
	}
	if len(text) < 2 || t.pair == nil || lead < firstLead || lead == 0xff {
		return utf8.RuneError, 1
	}
	trail := text[1]
	switch {
	case t.triple != nil && lead == tripleLead && len(text) > 2:
		row, column := int(trail)-firstCell, int(text[2])-firstCell
		if row >= 0 && row < square && column >= 0 && column < square && t.triple[row*square+column] != 0 {
			return t.triple[row*square+column], 3
		}
	case t.quad != nil && '0' <= trail && trail <= '9':
		if r := t.fourBytes(text); r != 0 {
			return r, 4
		}
	case trail >= firstTrail && trail != 0xff:
		if r := t.pair[int(lead-firstLead)*trails+int(trail-firstTrail)]; r != 0 {
			return r, 2
		}
	}
	if trail < utf8.RuneSelf { // it may be markup
		return utf8.RuneError, 1
	}
	return utf8.RuneError, 2
}

// fourBytes decodes four bytes of GB18030; 0: they mean nothing.
func (t *table) fourBytes(text []byte) rune {
	if len(text) < 4 || text[2] < 0x81 || text[2] == 0xff || text[3] < '0' || text[3] > '9' {
		return 0
	}
	n := ((rune(text[0]-0x81)*10+rune(text[1]-'0'))*126+rune(text[2]-0x81))*10 + rune(text[3]-'0')
	switch {
	case n < quads:
		return t.quad[n]
	case n >= moreQuads && n-moreQuads < 0x100000:
		return n - moreQuads + 0x10000
	}
	return 0
}

// find unpacks the table and the form of the encoding with a name in lower case.
func find(name string) (t table, form uint64, ok bool) {
	u := unpacker{Reader: bytes.NewReader(unpack())}
	wanted := uint64(0)
	for range u.number() {
		if known, n, f := u.name(); known == name {
			wanted, form, ok = n, f, true
		}
	}
	if !ok {
		return t, 0, false
	}
	for range wanted + 1 { // the tables before it are skipped
		parts := u.number()
		t = table{single: u.runes(singles)}
		for _, part := range []struct {
			flag  uint64
			size  int
			runes *[]rune
		}{{hasPairs, pairs, &t.pair}, {hasTriples, triples, &t.triple}, {hasQuads, quads, &t.quad}} {
			if parts&part.flag != 0 {
				*part.runes = u.runes(part.size)
			}
		}
	}
	return t, form, true
}

// unpack returns the uncompressed tables. They are a part of the program: that they can be read is tested.
func unpack() []byte {
	data, _ := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	return data
}

// unpacker reads the tables.
type unpacker struct{ *bytes.Reader }

func (u unpacker) number() uint64 {
	n, _ := binary.ReadUvarint(u)
	return n
}

// name reads a name, the number of its table and its form.
func (u unpacker) name() (name string, table, form uint64) {
	data := make([]byte, u.number())
	_, _ = io.ReadFull(u, data)
	return string(data), u.number(), u.number()
}

// runes reads characters: 0 for none, else one more than the distance from the one before.
func (u unpacker) runes(count int) []rune {
	out, last := make([]rune, count), rune(0)
	for k := range out {
		if n := u.number(); n != 0 {
			distance := rune((n - 1) >> 1)
			if (n-1)&1 != 0 {
				distance = ^distance
			}
			last += distance
			out[k] = last
		}
	}
	return out
}

// UTF16 decodes UTF-16. Without a byte order mark it is little-endian where little is set.
func UTF16(text []byte, little bool) []byte {
	var order binary.ByteOrder = binary.BigEndian
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || little && !bytes.HasPrefix(text, []byte("\xfe\xff")) {
		order = binary.LittleEndian
	}
	var units []uint16
	for ; len(text) > 1; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	if len(text) > 0 {
		units = append(units, utf8.RuneError)
	}
	if len(units) > 0 && units[0] == 0xfeff {
		units = units[1:]
	}
	return []byte(string(utf16.Decode(units)))
}

// Latin1 decodes ISO 8859-1, in which every byte is a character.
func Latin1(text []byte) []byte {
	out := make([]byte, 0, len(text)+len(text)/2)
	for _, b := range text {
		out = utf8.AppendRune(out, rune(b))
	}
	return out
}
