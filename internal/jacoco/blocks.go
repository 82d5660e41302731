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

// Bounds on what is read, against a peer that is no agent.
const (
	maxData     = 256 << 20 // bytes
	maxProbes   = 1 << 24   // of one class; methods of 64 KiB, 64 Ki of them, do not have that many
	maxSessions = 1000      // in the summary
)

// header is the block that begins both directions and the file.
func header() []byte {
	return []byte{blockHeader, magic >> 8, magic & 0xFF, version >> 8, version & 0xFF}
}

// readHeader reads and checks one.
func readHeader(r io.Reader) error {
	b := make([]byte, len(header()))
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return checkHeader(b)
}

func checkHeader(b []byte) error {
	switch got := binary.BigEndian.Uint16(b[3:]); {
	case b[0] != blockHeader || binary.BigEndian.Uint16(b[1:]) != magic:
		return fmt.Errorf("what listens there is no JaCoCo agent: it says %q", b)
	case got != version:
		return fmt.Errorf("it speaks version %#x of the format, and only %#x is known", got, version)
	}
	return nil
}

// reader reads blocks, checks them and passes them on as they came.
type reader struct {
	in  *bufio.Reader
	out io.Writer
	s   Summary
}

func newReader(in io.Reader, out io.Writer) *reader {
	return &reader{in: bufio.NewReaderSize(in, 32<<10), out: out}
}

// blocks reads up to the end of the command.
func (r *reader) blocks() (Summary, error) {
	for {
		kind, err := r.in.ReadByte()
		if err != nil {
			return r.s, err
		}
		switch kind {
		case blockEnd:
			return r.s, nil
		case blockSession:
			err = r.session()
		case blockClass:
			err = r.class()
		case blockHeader: // it may be repeated, and the file has one already
			rest := make([]byte, len(header())-1)
			if _, err = io.ReadFull(r.in, rest); err == nil {
				err = checkHeader(append([]byte{kind}, rest...))
			}
		default:
			err = fmt.Errorf("it sent a block of the unknown type %#x", kind)
		}
		if err != nil {
			return r.s, err
		}
	}
}

// session passes a session block on: an id and two times.
func (r *reader) session() error {
	id, err := r.begin(blockSession, 0)
	if err != nil {
		return err
	}
	times, err := r.take(16)
	if err != nil {
		return err
	}
	if len(r.s.Sessions) < maxSessions {
		r.s.Sessions = append(r.s.Sessions, Session{string(id), int64(binary.BigEndian.Uint64(times)), int64(binary.BigEndian.Uint64(times[8:]))})
	}
	return nil
}

// class passes a class block on: its number, its name and its probes.
func (r *reader) class() error {
	name, err := r.begin(blockClass, 8)
	if err != nil {
		return err
	}
	n, err := r.varint()
	if err != nil {
		return err
	}
	if n > maxProbes {
		return fmt.Errorf("the class %q has %d probes, more than %d", name, n, maxProbes)
	}
	hit := 0
	for left := (n + 7) / 8; left > 0; {
		b, err := r.take(min(left, 4<<10))
		if err != nil {
			return err
		}
		for _, x := range b {
			hit += bits.OnesCount8(x)
		}
		if left -= len(b); left == 0 && n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
			return fmt.Errorf("the class %q has hits beyond its %d probes", name, n)
		}
	}
	r.s.Classes++
	r.s.Probes += int64(n)
	r.s.Hit += int64(hit)
	return nil
}

// begin passes the type of a block on, that many bytes of it, and a string.
func (r *reader) begin(kind byte, before int) ([]byte, error) {
	if err := r.pass([]byte{kind}); err != nil {
		return nil, err
	}
	if _, err := r.take(before); err != nil {
		return nil, err
	}
	size, err := r.take(2)
	if err != nil {
		return nil, err
	}
	return r.take(int(binary.BigEndian.Uint16(size)))
}

// varint passes a number on: seven bits a byte, the lowest first.
func (r *reader) varint() (int, error) {
	n := 0
	for shift := 0; shift < 35; shift += 7 {
		b, err := r.take(1)
		if err != nil {
			return 0, err
		}
		if n |= int(b[0]&0x7F) << shift; b[0] < 0x80 {
			return n, nil
		}
	}
	return 0, errors.New("it sent a number of more than 35 bits")
}

// take reads n bytes and passes them on.
func (r *reader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(r.in, b); err != nil {
		return nil, err
	}
	return b, r.pass(b)
}

// pass writes bytes, up to maxData.
func (r *reader) pass(b []byte) error {
	if r.s.Bytes += int64(len(b)); r.s.Bytes > maxData {
		return fmt.Errorf("it sent more than %d MiB", maxData>>20)
	}
	_, err := r.out.Write(b)
	return err
}
