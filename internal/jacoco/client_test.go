package jacoco

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// agent is a fake agent: it sends a header, reads the request and answers.
func agent(t *testing.T, hello, answer []byte) (address string, asked func() []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	go func() { // ends with the test
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if len(hello) == 0 {
			return
		}
		conn.Write(hello)
		request := make([]byte, 8)
		io.ReadFull(conn, request)
		got <- request
		conn.Write(answer)
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() []byte { return <-got }
}

// blocks puts blocks together.
func blocks(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = append(b, byte(v))
		case string:
			b = append(append(b, byte(len(v)>>8), byte(len(v))), v...)
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}

func eight(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }

func TestDump(t *testing.T) {
	session := blocks(blockSession, "app.1", eight(3), eight(4))
	nine := blocks(blockClass, eight(1), "a/B", 9, 0b10000001, 1)
	many := blocks(blockClass, eight(2), "a/C", 0xC8, 0x01, bytes.Repeat([]byte{0xFF}, 25))
	none := blocks(blockClass, eight(3), "a/D", 0)
	for _, test := range []struct {
		name   string
		answer []byte
		file   []byte // without its header
		want   Summary
	}{
		{"nothing", blocks(blockEnd), nil, Summary{Bytes: 5}},
		{"all kinds", blocks(session, nine, many, none, blockEnd), blocks(session, nine, many, none), Summary{Classes: 3, Probes: 209, Hit: 203}},
		{"headers between", blocks(header(), session, header(), none, blockEnd), blocks(session, none), Summary{Classes: 1}},
		{"bytes behind the end", blocks(none, blockEnd, 0xFF), none, Summary{Classes: 1}},
	} {
		address, asked := agent(t, header(), test.answer)
		var file bytes.Buffer
		s, err := Dump(context.Background(), address, true, &file)
		if err != nil || !bytes.Equal(file.Bytes(), append(header(), test.file...)) {
			t.Errorf("%s: %v\n% x", test.name, err, file.Bytes())
		}
		if got := asked(); !bytes.Equal(got, append(header(), blockDump, 1, 1)) {
			t.Errorf("%s: asked % x", test.name, got)
		}
		if s.Classes != test.want.Classes || s.Probes != test.want.Probes || s.Hit != test.want.Hit || s.Bytes != int64(file.Len()) {
			t.Errorf("%s: %+v", test.name, s)
		}
		if bytes.Contains(test.file, session) && (len(s.Sessions) != 1 || s.Sessions[0] != Session{"app.1", 3, 4}) {
			t.Errorf("%s: %+v", test.name, s.Sessions)
		}
	}
}

// TestNoAgent: a peer that is no agent, or ends in the middle, is an error and leaves no file.
func TestNoAgent(t *testing.T) {
	class := blocks(blockClass, eight(1), "a/B", 9, 1, 1)
	for _, test := range []struct {
		name          string
		hello, answer []byte
		want          string
	}{
		{"says something else", []byte("HTTP/1.1 400"), nil, `no JaCoCo agent: it says "HTTP/"`},
		{"another version", blocks(1, 0xC0, 0xC0, 0x10, 0x08), nil, "version 0x1008"},
		{"says nothing", nil, nil, "in the middle"},
		{"no end", header(), class, "in the middle"},
		{"half a class", header(), class[:len(class)-1], "in the middle"},
		{"another block", header(), blocks(class, 0x12), "unknown type 0x12"},
		{"a hit beyond the probes", header(), blocks(blockClass, eight(1), "a/B", 9, 1, 2), `"a/B" has hits beyond its 9 probes`},
		{"too many probes", header(), blocks(blockClass, eight(1), "a/B", 0xFF, 0xFF, 0xFF, 0xFF, 0x07), "more than 16777216"},
		{"a number without an end", header(), blocks(blockClass, eight(1), "a/B", bytes.Repeat([]byte{0xFF}, 9)), "35 bits"},
		{"a broken header", header(), blocks(blockHeader, 1, 2, 3, 4), "no JaCoCo agent"},
	} {
		dir := t.TempDir()
		address, _ := agent(t, test.hello, test.answer)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err := DumpFile(ctx, address, false, filepath.Join(dir, "x.exec"))
		cancel()
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left behind is %v", test.name, left)
		}
	}
	address, _ := agent(t, header(), blocks(class, blockEnd))
	if err := Reset(context.Background(), address); err == nil || !strings.Contains(err.Error(), "was not requested") {
		t.Errorf("data for a reset: %v", err)
	}
}

// endless sends classes for ever.
type endless struct{ one, rest []byte }

func (e *endless) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		e.rest = e.one
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

func TestDataIsBounded(t *testing.T) {
	one := blocks(blockClass, eight(1), strings.Repeat("a", 0xFFFF), 0)
	s, err := newReader(&endless{one: one}, io.Discard).blocks()
	if err == nil || !strings.Contains(err.Error(), "more than 256 MiB") || s.Bytes < maxData {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestConnectionRefused(t *testing.T) {
	if err := Reset(context.Background(), fmt.Sprintf("127.0.0.1:%d", freeport.For(t))); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}

// TestSilentAgent: the end of ctx ends the wait, with an error that names a probable cause.
func TestSilentAgent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := Reset(ctx, l.Addr().String()); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	if err := Reset(ctx, l.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestFileIsReplacedAsAWhole: an old file stays until the new one is whole.
func TestFileIsReplacedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.exec")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := agent(t, header(), blocks(blockClass))
	if _, err := DumpFile(context.Background(), address, false, path); err == nil {
		t.Error("half a dump is taken")
	}
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("the old file has become %q", got)
	}
	address, _ = agent(t, header(), blocks(blockEnd))
	if _, err := DumpFile(context.Background(), address, false, path); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, header()) {
		t.Errorf("the new file is % x", got)
	}
	if _, err := DumpFile(context.Background(), address, false, filepath.Join(dir, "no", "x.exec")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
}

// TestPipeIsNotReplaced: a device or a pipe is not replaced by a file.
func TestPipeIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := agent(t, header(), blocks(blockEnd))
	if _, err := DumpFile(context.Background(), address, false, path); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("%v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Errorf("the pipe has become %v, %v", info, err)
	}
}

// FuzzBlocks: the output of a valid response is valid, with the same summary.
func FuzzBlocks(f *testing.F) {
	f.Add(blocks(blockSession, "id", eight(1), eight(2), blockClass, eight(1), "a/B", 9, 1, 1, blockEnd))
	f.Add(blocks(header(), blockClass, eight(1), "", 0, blockEnd))
	f.Add(blocks(blockClass, eight(1), "x", 0xFF, 0xFF, 0xFF, 0xFF, 0x0F))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		s, err := newReader(bytes.NewReader(data), &out).blocks()
		if err != nil {
			return
		}
		if s.Hit > s.Probes || s.Bytes != int64(out.Len()) || out.Len() > len(data) {
			t.Errorf("%+v of %d bytes", s, len(data))
		}
		var again bytes.Buffer
		s2, err := newReader(bytes.NewReader(append(out.Bytes(), blockEnd)), &again).blocks()
		if err != nil || s2.Classes != s.Classes || s2.Hit != s.Hit || !bytes.Equal(again.Bytes(), out.Bytes()) {
			t.Errorf("%+v, %+v, %v", s, s2, err)
		}
	})
}
