package cgroup

import (
	"bytes"
	"strings"
)

// archive is a layout in txtar form: a comment, then files that each begin
// with a line "-- NAME --".
type archive struct {
	comment string
	files   []archiveFile
}

type archiveFile struct {
	name string
	data []byte
}

func parseArchive(text []byte) *archive {
	a := &archive{}
	for line := range bytes.Lines(text) {
		name, isName := strings.CutPrefix(strings.TrimRight(string(line), "\n"), "-- ")
		name, closed := strings.CutSuffix(name, " --")
		switch n := len(a.files); {
		case isName && closed:
			a.files = append(a.files, archiveFile{name: name})
		case n == 0:
			a.comment += string(line)
		default:
			a.files[n-1].data = append(a.files[n-1].data, line...)
		}
	}
	return a
}

func (a *archive) format() []byte {
	var b bytes.Buffer
	b.WriteString(a.comment)
	for _, f := range a.files {
		b.WriteString("-- " + f.name + " --\n")
		b.Write(f.data)
	}
	return b.Bytes()
}
