package wholefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func write(text string, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return err
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	want := func(when, text string, files int) {
		t.Helper()
		got, _ := os.ReadFile(path)
		list, err := os.ReadDir(dir)
		if string(got) != text || len(list) != files || err != nil {
			t.Errorf("%s: %q, %v %v", when, got, list, err)
		}
	}
	broken := errors.New("broken")
	if err := Write(path, 0o640, write("part", broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	want("a part of the first", "", 0)
	if err := Write(path, 0o640, write("first", nil)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	if err := Write(path, 0o640, write("part", broken)); !errors.Is(err, broken) {
		t.Error(err)
	}
	want("a part of the second", "first", 1)
	if err := Write(path, 0o600, write("second", nil)); err != nil {
		t.Error(err)
	}
	want("the second", "second", 1)
	if err := Write(filepath.Join(dir, "no", "x"), 0o600, write("", nil)); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no/x") {
		t.Errorf("without a folder: %v", err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(pipe, 0o600, write("", nil)); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a pipe: %v", err)
	}
}

func TestMakeFolder(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := t.TempDir()
	made := filepath.Join(dir, "a/b")
	for range 2 {
		if err := MakeFolder(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{made, filepath.Dir(made)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	if err := os.Chmod(made, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := MakeFolder(made, 0o755); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the mode of one that was there: %v %v", info, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, file + "/x", "/proc/none/x"} {
		if MakeFolder(path, 0o755) == nil {
			t.Errorf("%s is no folder", path)
		}
	}
}
