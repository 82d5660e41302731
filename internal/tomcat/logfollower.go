package tomcat

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// followEvery is the time between two looks at the log files.
const followEvery = 10 * time.Second

// Bounds of one look at a file, in bytes: what was written before is passed over,
// and a longer line counts as several.
const (
	maxFollowed = 1 << 20
	maxLogLine  = 64 << 10
)

// FollowLogs calls f for each line that comes into logs/localhost.DATE.log of the
// base from now on, until ctx is done. Tomcat's own logging puts there, and not on
// the console, what servlets throw. Whatever cannot be read is passed over.
func FollowLogs(ctx context.Context, base string, f func(line []byte)) {
	l := newLogFollower(base)
	for {
		select {
		case <-time.After(followEvery):
			l.look(f)
		case <-ctx.Done():
			return
		}
	}
}

// logFollower knows how far each file has been read.
type logFollower struct {
	base string
	read map[string]int64  // offset
	rest map[string][]byte // of a line that is not finished
}

// newLogFollower passes over what is there already.
func newLogFollower(base string) *logFollower {
	l := &logFollower{base: base, read: map[string]int64{}, rest: map[string][]byte{}}
	for _, file := range l.files() {
		if info, err := os.Stat(file); err == nil {
			l.read[file] = info.Size()
		}
	}
	return l
}

// files are the log files that there are now.
func (l *logFollower) files() []string {
	files, _ := filepath.Glob(filepath.Join(l.base, "logs/localhost.*.log")) // only a bad pattern fails
	return files
}

// look reads what has come since the last look.
func (l *logFollower) look(f func(line []byte)) {
	files := l.files()
	read, rest := make(map[string]int64, len(files)), map[string][]byte{} // those that are gone are forgotten
	for _, file := range files {
		from := l.read[file]
		data, size, err := readFrom(file, from)
		if err != nil {
			read[file] = from
			continue
		}
		read[file] = size
		if r := lines(append(l.rest[file], data...), f); len(r) > 0 {
			rest[file] = r
		}
	}
	l.read, l.rest = read, rest
}

// readFrom gives what a file has from an offset on, at most its last maxFollowed
// bytes, and how far that is. One that is shorter now has begun anew.
func readFrom(file string, from int64) (data []byte, size int64, err error) {
	fd, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hold us up
	if err != nil {
		return nil, 0, err
	}
	defer fd.Close()
	info, err := fd.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, from, err
	}
	if size = info.Size(); size < from {
		from = 0
	}
	from = max(from, size-maxFollowed)
	data = make([]byte, size-from)
	n, err := fd.ReadAt(data, from)
	if err == io.EOF { // it was cut meanwhile
		err = nil
	}
	return data[:n], from + int64(n), err
}

// lines calls f for each line and gives what is left at the end.
func lines(data []byte, f func(line []byte)) (rest []byte) {
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 && len(data) <= maxLogLine {
			return bytes.Clone(data)
		}
		if end < 0 || end > maxLogLine {
			end = maxLogLine - 1
		}
		f(data[:end+1])
		data = data[end+1:]
	}
	return nil
}
