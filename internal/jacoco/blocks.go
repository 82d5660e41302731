package jacoco

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
)

// Blocks of an .exec file and of the connection.
const (
	blockHeader  = 0x01
	blockSession = 0x10
	blockClass   = 0x11
	blockEnd     = 0x20 // the command is done
	blockDump    = 0x40 // the command
)

// Versions of the format.
const (
	magic   = 0xC0C0
	version = 0x1007
)

// Limits of a response, for a peer that is no agent.
const (
	maxData     = 256 << 20 // bytes
	maxProbes   = 1 << 24   // of one class; 64 Ki methods of 64 KiB do not have that many
	maxSessions = 1000      // in the summary
)

// header is the first block of both directions and of the file.
func header() []byte {
	return []byte{blockHeader, magic >> 8, magic & 0xFF, version >> 8, version & 0xFF}
}

// readHeader reads a header and checks it.
func readHeader(r io.Reader) error {
	b := make([]byte, len(header()))
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	switch got := binary.BigEndian.Uint16(b[3:]); {
	case b[0] != blockHeader || binary.BigEndian.Uint16(b[1:]) != magic:
		return fmt.Errorf("what listens there is no JaCoCo agent: it says %q", b)
	case got != version:
		return fmt.Errorf("it speaks version %#x of the format, and only %#x is known", got, version)
	}
	return nil
}

// reader copies blocks and checks them. After an error it reads nothing more.
type reader struct {
	in  *bufio.Reader
	out io.Writer
	s   Summary
	err error
}

func newReader(in io.Reader, out io.Writer) *reader {
	return &reader{in: bufio.NewReaderSize(in, 32<<10), out: out}
}

// blocks copies the blocks before the end of the command.
func (r *reader) blocks() (Summary, error) {
	for r.err == nil {
		kind, err := r.in.Peek(1)
		if err != nil {
			return r.s, err
		}
		switch kind[0] {
		case blockEnd:
			return r.s, nil
		case blockSession:
			r.session()
		case blockClass:
			r.class()
		case blockHeader: // it may be repeated, and the file has one
			r.err = readHeader(r.in)
		default:
			r.err = fmt.Errorf("it sent a block of the unknown type %#x", kind[0])
		}
	}
	return r.s, r.err
}

// session copies a session: its type, an ID and two times.
func (r *reader) session() {
	r.copy(1)
	id, times := r.text(), r.copy(16)
	if r.err == nil && len(r.s.Sessions) < maxSessions {
		start, dump := binary.BigEndian.Uint64(times), binary.BigEndian.Uint64(times[8:])
		r.s.Sessions = append(r.s.Sessions, Session{id, int64(start), int64(dump)})
	}
}

// class copies a class: its type, a number, its name and its probes.
func (r *reader) class() {
	r.copy(1 + 8)
	name, n := r.text(), r.varint()
	if r.err == nil && n > maxProbes {
		r.err = fmt.Errorf("the class %q has %d probes, more than %d", name, n, maxProbes)
	}
	hit := 0
	for left := (n + 7) / 8; left > 0 && r.err == nil; {
		b := r.copy(min(left, 4<<10))
		for _, x := range b {
			hit += bits.OnesCount8(x)
		}
		if left -= len(b); r.err == nil && left == 0 && n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
			r.err = fmt.Errorf("the class %q has hits beyond its %d probes", name, n)
		}
	}
	if r.err == nil {
		r.s.Classes++
		r.s.Probes += int64(n)
		r.s.Hit += int64(hit)
	}
}

// text copies a string behind its length.
func (r *reader) text() string {
	if size := r.copy(2); r.err == nil {
		return string(r.copy(int(binary.BigEndian.Uint16(size))))
	}
	return ""
}

// varint copies a number: seven bits a byte, the lowest first.
func (r *reader) varint() (n int) {
	for shift := 0; shift < 35; shift += 7 {
		b := r.copy(1)
		if r.err != nil {
			return 0
		}
		if n |= int(b[0]&0x7F) << shift; b[0] < 0x80 {
			return n
		}
	}
	r.err = errors.New("it sent a number of more than 35 bits")
	return 0
}

// copy copies n bytes, at most maxData in total, and returns them.
func (r *reader) copy(n int) []byte {
	if r.err != nil {
		return nil
	}
	b := make([]byte, n)
	if _, r.err = io.ReadFull(r.in, b); r.err != nil {
		return nil
	}
	if r.s.Bytes += int64(n); r.s.Bytes > maxData {
		r.err = fmt.Errorf("it sent more than %d MiB", maxData>>20)
		return nil
	}
	_, r.err = r.out.Write(b)
	return b
}
