package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Info describes what is kept of one stream.
type Info struct {
	Bytes int64 `json:"bytes"` // written by the job
	// Head bytes at the beginning and those from Tail on are kept; all of them if Tail <= Head.
	Head int64 `json:"head,omitempty"`
	Tail int64 `json:"tail,omitempty"`
	// Lost is what could not be kept although it is part of them, such as for want of space.
	Lost int64 `json:"lost,omitempty"`
}

// Truncated reports whether some of the output is not kept.
func (o Info) Truncated() bool { return o.Tail > o.Head || o.Lost > 0 }

// next is the part of the stream, at an offset or behind it, that is kept according to o.
func (o Info) next(offset int64) (from, to int64) {
	switch {
	case o.Tail <= o.Head || offset >= o.Tail:
		return offset, o.Bytes
	case offset < o.Head:
		return offset, o.Head
	}
	return o.Tail, o.Bytes
}

// Inspect finds in the file of a stream what is kept, after the death of whatever captured it: of the holes the largest is the
// middle that was freed, and the others are what was lost. Without a file nothing was written.
func Inspect(path string) (info Info, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return info, nil
	}
	if err != nil {
		return info, fmt.Errorf("cannot read the output: %w", err)
	}
	defer f.Close()
	if info.Bytes, err = f.Seek(0, io.SeekEnd); err != nil {
		return info, fmt.Errorf("cannot read the output: %w", err)
	}
	for at := int64(0); at < info.Bytes; {
		hole := seekTo(f, at, unix.SEEK_HOLE, info.Bytes)
		at = seekTo(f, hole, unix.SEEK_DATA, info.Bytes)
		if largest := info.Tail - info.Head; at-hole > largest {
			info.Lost += largest
			info.Head, info.Tail = hole, at
		} else {
			info.Lost += at - hole
		}
	}
	return info, nil
}

// Read reads from the file of a stream what is kept at an offset or behind it; at is where
// the n bytes begin, behind a gap if that is not the offset. The error is io.EOF at the end
// of info, which may be older than the file: what was freed meanwhile is a gap.
// p must not be empty.
func Read(path string, info Info, offset int64, p []byte) (n int, at int64, err error) {
	if offset >= info.Bytes {
		return 0, offset, io.EOF
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) && info.Lost == info.Bytes {
		return 0, info.Bytes, io.EOF
	}
	if err != nil {
		return 0, offset, fmt.Errorf("cannot read the output: %w", err)
	}
	defer f.Close()
	zeros := int64(0) // the end of the block in which bytes were lost; there they show as zeros
	for at = offset; at < info.Bytes; {
		from, to := info.next(at)
		data := seekTo(f, from, unix.SEEK_DATA, to)
		if data > from {
			zeros = data + blockSize
		}
		if at = data; data == to {
			continue
		}
		to = seekTo(f, data, unix.SEEK_HOLE, to)
		n, err = f.ReadAt(p[:min(int64(len(p)), to-data)], data)
		if err != nil && err != io.EOF {
			return 0, at, fmt.Errorf("cannot read the output: %w", err)
		}
		if now := seekTo(f, data, unix.SEEK_HOLE, to); now == data || now < data+int64(n) { // it was freed meanwhile
			continue
		}
		begin := p[:max(min(int64(n), zeros-data), 0)]
		lost := len(begin) - len(bytes.TrimLeft(begin, "\x00"))
		if at += int64(lost); lost < n {
			return copy(p, p[lost:n]), at, nil
		}
		if n == 0 { // the file ends before the stream: the rest was lost
			at = info.Bytes
		}
	}
	return 0, at, io.EOF
}
