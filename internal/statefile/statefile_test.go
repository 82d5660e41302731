package statefile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

type state struct {
	On   map[string]bool `json:"on"`
	Text string          `json:"text,omitempty"`
}

func sample() state { return state{On: map[string]bool{"a": true, "b": false}, Text: "<&é\x00\"}\n"} }

func file(t *testing.T) File {
	t.Helper()
	return File{Path: filepath.Join(t.TempDir(), "state.json"), Kind: "test", Max: 4096}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	f := file(t)
	var got state
	if err := f.Read(&got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range []state{sample(), {}, {Text: strings.Repeat("x", 1000)}} {
		must(t, f.Write(want))
		got = state{}
		if err := f.Read(&got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	content, err := os.ReadFile(f.Path)
	must(t, err)
	if !json.Valid(content) {
		t.Errorf("not JSON: %s", content)
	}
	if info, err := os.Stat(f.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := f.Write(state{Text: strings.Repeat("x", 5000)}); err == nil {
		t.Error("what could not be read again is written")
	}
	if names, _ := filepath.Glob(filepath.Dir(f.Path) + "/.*"); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// A file cut at any length, and any changed bit or zeroed byte, is an error.
func TestDamageIsDetected(t *testing.T) {
	content, err := Encode("test", sample())
	must(t, err)
	check := func(what string, bad []byte) {
		t.Helper()
		var got state
		if err := Decode("test", bad, &got); err == nil || !reflect.DeepEqual(got, state{}) {
			t.Errorf("%s: %v, %+v", what, err, got)
		}
	}
	for n := range content {
		check(fmt.Sprintf("the first %d bytes", n), content[:n])
		check(fmt.Sprintf("without byte %d", n), append(bytes.Clone(content[:n]), content[n+1:]...))
		for bit := range 8 {
			bad := bytes.Clone(content)
			bad[n] ^= 1 << bit
			check(fmt.Sprintf("bit %d of byte %d", bit, n), bad)
		}
		zeroed := append(bytes.Clone(content[:n]), make([]byte, len(content)-n)...)
		check(fmt.Sprintf("zeros from byte %d", n), zeroed)
	}
	check("another byte", append(bytes.Clone(content), '\n'))
	check("twice", append(bytes.Clone(content), content...))
	check("{}", []byte("{}"))
	check("null", []byte("null"))
	other, err := Encode("other", sample())
	must(t, err)
	check("another kind", other)
}

// A damaged file is kept beside the next one, and a file exists at any time.
func TestDamagedFileIsKept(t *testing.T) {
	f := file(t)
	for k := range 4 {
		must(t, f.Write(sample()))
		must(t, os.WriteFile(f.Path, fmt.Appendf(nil, "damage %d", k), 0o600))
		var damaged *DamagedError
		if err := f.Read(new(state)); !errors.As(err, &damaged) || !strings.Contains(err.Error(), f.Path) {
			t.Errorf("%v", err)
		}
	}
	must(t, f.Write(sample()))
	must(t, f.Write(sample()))
	for name, want := range map[string]string{".bad": "damage 3", ".bad.1": "damage 2"} {
		if text, err := os.ReadFile(f.Path + name); string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if names, _ := os.ReadDir(filepath.Dir(f.Path)); len(names) != 3 {
		t.Errorf("%v", names)
	}
	must(t, f.Read(new(state)))
}

func TestRejectedFiles(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"zero":      func(path string) error { return os.Symlink("/dev/zero", path) },
		"folder":    func(path string) error { return os.Mkdir(path, 0o700) },
		"large":     func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 20<<30)) },
		"writable":  func(path string) error { return writable(path, 0o666, os.Geteuid()) },
		"the app's": func(path string) error { return writable(path, 0o600, 4711) },
	} {
		f := file(t)
		if os.Geteuid() != 0 && name == "the app's" {
			continue // only root can chown
		}
		must(t, put(f.Path))
		var damaged *DamagedError
		if err := f.Read(new(state)); !errors.As(err, &damaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.Write(sample()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.Read(new(state)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(f.Path + ".bad"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// writable puts a valid file that others can write.
func writable(path string, mode fs.FileMode, uid int) error {
	content, err := Encode("test", sample())
	return errors.Join(err, os.WriteFile(path, content, 0o600), os.Chmod(path, mode), os.Chown(path, uid, -1))
}

func FuzzDecode(f *testing.F) {
	whole, err := Encode("test", sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"stoker":"test","sha256":"","data":{}}` + "\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var data json.RawMessage
		if err := Decode("test", content, &data); err != nil {
			return
		}
		again, err := Encode("test", data)
		if err != nil || !bytes.Equal(again, content) {
			t.Errorf("%q is accepted, and is written as %q (%v)", content, again, err)
		}
	})
}
