package tomcat

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// pollInterval is the time between two reads of the log files.
const pollInterval = 10 * time.Second

// Bounds of one poll of a file, in bytes: older output is skipped, a longer line is split.
const (
	maxFollowed = 1 << 20
	maxLogLine  = 64 << 10
)

// FollowLogs calls f for each new line of logs/localhost.DATE.log of the base, until ctx is done. Tomcat logs the exceptions of servlets
// there and not to the console. Files that cannot be read are skipped.
func FollowLogs(ctx context.Context, base string, f func(line []byte)) {
	l := newLogFollower(base)
	for {
		select {
		case <-time.After(pollInterval):
			l.poll(f)
		case <-ctx.Done():
			return
		}
	}
}

// logFollower holds what was read of each file.
type logFollower struct {
	base  string
	files map[string]followed
}

type followed struct {
	offset int64
	rest   []byte // an unfinished line
}

// newLogFollower skips what the files contain already.
func newLogFollower(base string) *logFollower {
	l := &logFollower{base: base, files: map[string]followed{}}
	for _, file := range logFiles(base) {
		if info, err := os.Stat(file); err == nil {
			l.files[file] = followed{offset: info.Size()}
		}
	}
	return l
}

// maxLogFiles bounds how many of the log files are read; Tomcat keeps 90 days.
const maxLogFiles = 32

// logFiles are the latest logs/localhost.DATE.log of a base, by name. A folder that cannot be read, or has too many files, has none.
func logFiles(base string) (files []string) {
	dir := filepath.Join(base, "logs")
	entries, _ := names(dir) // nil then
	for _, e := range entries {
		if ok, _ := filepath.Match("localhost.?*.log", e.Name()); ok { // the pattern is good
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files[max(len(files)-maxLogFiles, 0):]
}

// poll reads what was appended since the last poll.
func (l *logFollower) poll(f func(line []byte)) {
	next := map[string]followed{} // without the removed files
	for _, file := range logFiles(l.base) {
		old := l.files[file]
		next[file] = old
		if data, offset, err := readFrom(file, old.offset); err == nil {
			next[file] = followed{offset, lines(append(old.rest, data...), f)}
		}
	}
	l.files = next
}

// readFrom returns the content from an offset, at most the last maxFollowed bytes, and the new offset. A file that became shorter is read
// from its start.
func readFrom(file string, from int64) (data []byte, size int64, err error) {
	fd, err := untrusted.Open(file)
	if err != nil {
		return nil, 0, err
	}
	defer fd.Close()
	info, err := fd.Stat()
	if err != nil {
		return nil, from, err
	}
	if size = info.Size(); size < from {
		from = 0
	}
	from = max(from, size-maxFollowed)
	data = make([]byte, size-from)
	n, err := fd.ReadAt(data, from)
	if err == io.EOF { // it was truncated meanwhile
		err = nil
	}
	return data[:n], from + int64(n), err
}

// lines calls f for each line and returns an unfinished last one.
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
