package mesos

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRecord is the largest size of an event, in bytes.
const maxRecord = 16 << 20

// maxDigits is the largest number of digits of a size.
const maxDigits = 8

// readRecord reads a record of RecordIO: its size in decimal digits, a line feed, and so many bytes. begun is called with its first
// byte.
func readRecord(r *bufio.Reader, begun func()) ([]byte, error) {
	size, digits := int64(0), 0
	for ; ; digits++ {
		c, err := r.ReadByte()
		switch {
		case err != nil && digits > 0:
			return nil, cutOff(err)
		case err != nil:
			return nil, err
		case digits == 0:
			begun()
		}
		if c == '\n' && digits > 0 {
			break
		}
		if c < '0' || c > '9' || digits == maxDigits {
			return nil, fmt.Errorf("cannot read an event: %q is not the size of a record", c)
		}
		size = size*10 + int64(c-'0')
	}
	if size > maxRecord {
		return nil, fmt.Errorf("cannot read an event: it has %d bytes, at most %d are possible", size, maxRecord)
	}
	var record bytes.Buffer // it grows with what comes
	if n, err := io.CopyN(&record, r, size); n < size {
		return nil, cutOff(err)
	}
	return record.Bytes(), nil
}

// cutOff is the error of a stream that ends in the middle of a record.
func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
