package program

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLookPath(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	write(t, filepath.Join(dir, "plain"), "#!/bin/sh\n", 0o644)
	good := write(t, filepath.Join(other, "good"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(other, "plain"), "#!/bin/sh\n", 0o755)
	for _, c := range []struct {
		name, path, want, err string
		code                  int
	}{
		{"good", dir + ":" + other, good, "", 0},
		{"plain", dir + ":" + other, filepath.Join(other, "plain"), "", 0}, // the first one is not executable
		{"plain", dir, "", "its mode is 0644", 126},
		{"none", dir, "", `cannot find "none" in PATH (` + dir + ")", 127},
		{"./good", "", "./good", "", 0}, // below the working directory
		{"", dir, "", "an empty command", 126},
	} {
		cmd := Command{Argv: []string{c.name}, Env: []string{"PATH=/no/such", "PATH=" + c.path}, Dir: other}
		got, err := cmd.LookPath()
		var start *StartError
		if c.err == "" && (err != nil || got != c.want) {
			t.Errorf("%q: %q, %v", c.name, got, err)
		}
		if c.err != "" && (!errors.As(err, &start) || !strings.Contains(err.Error(), c.err) || start.Code() != c.code) {
			t.Errorf("%q: %v, want %q and code %d", c.name, err, c.err, c.code)
		}
	}
}

func TestFaults(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, why, interpreter string }{
		"script":      {"#! /bin/sh -e\n", "", "/bin/sh"},
		"windows":     {"#!/bin/sh\r\n", "its first line ends with a carriage return", "/bin/sh"},
		"missing":     {"#!/no/such\n", "its interpreter /no/such is not here", "/no/such"},
		"folder":      {"#!/etc\n", "its interpreter /etc is not a program", "/etc"},
		"nameless":    {"#!\n", "its #! line names no interpreter", ""},
		"mark":        {"\xef\xbb\xbf#!/bin/sh\n", "it begins with a byte order mark", ""},
		"empty":       {"", "it is empty", ""},
		"text":        {"echo\n", "", ""},
		"long":        {"#!/bin/" + strings.Repeat("x", maxFirstLine), "its interpreter /bin/x", "/bin/" + strings.Repeat("x", maxFirstLine-len("#!/bin/"))},
		"without end": {"#!/bin/sh", "", "/bin/sh"},
	} {
		path := write(t, filepath.Join(dir, name), c.text, 0o755)
		if fault := ScriptFault(path); !strings.HasPrefix(fault.Why, c.why) || c.why == "" && fault.Why != "" {
			t.Errorf("%s: %q, want %q", name, fault.Why, c.why)
		}
		if got := Interpreter(path); got != c.interpreter {
			t.Errorf("%s: interpreter %q, want %q", name, got, c.interpreter)
		}
	}
	if fault := programFault(filepath.Join(dir, "text"), syscall.ENOEXEC); fault.Why != "it has no #! line" {
		t.Errorf("a text: %q", fault.Why)
	}
	damaged := write(t, filepath.Join(dir, "elf"), "\x7fELF\x02", 0o755)
	if fault := programFault(damaged, syscall.ENOEXEC); !strings.HasPrefix(fault.Why, "its file is damaged") {
		t.Errorf("half a program: %q", fault.Why)
	}
}
