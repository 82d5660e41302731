package hooks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/asuser"
)

func script(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckExecutable(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"good", "#!/bin/sh\n", 0o755, ""},
		{"with-an-argument", "#! /bin/sh -e\n", 0o755, ""},
		{"no-x", "#!/bin/sh\n", 0o644, "is not executable (mode 0644): chmod +x "},
		{"windows", "#!/bin/sh\r\necho\r\n", 0o755, "ends with a carriage return"},
		{"no-interpreter", "#!/no/such/shell\n", 0o755, "its interpreter /no/such/shell is not here"},
		{"folder-as-one", "#!/etc\n", 0o755, "its interpreter /etc is not a program"},
		{"nameless", "#!\n", 0o755, "names no interpreter"},
		{"bom", "\xef\xbb\xbf#!/bin/sh\n", 0o755, "byte order mark"},
		{"empty", "", 0o755, "is empty"},
		{"elf", "\x7fELF...", 0o755, ""},
	} {
		path := script(t, filepath.Join(dir, "ready.d", tc.name), tc.text, tc.mode)
		err := checkExecutable(path)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if err := checkExecutable(filepath.Join(dir, "ready.d")); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("%v", err)
	}
	if err := checkExecutable(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "cannot find") {
		t.Errorf("%v", err)
	}
}

func TestOnlyWhatOthersCannotChangeIsExecutedAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	base := t.TempDir()
	root := filepath.Join(base, "hooks")
	path := script(t, filepath.Join(root, "ready.d", "10-a"), "#!/bin/sh\n", 0o755)
	outside := script(t, filepath.Join(base, "outside", "b"), "#!/bin/sh\n", 0o755)
	link := filepath.Join(root, "ready.d", "20-link")
	data := script(t, filepath.Join(root, "..data", "c"), "#!/bin/sh\n", 0o755)
	inside := filepath.Join(root, "ready.d", "30-inside")
	for name, target := range map[string]string{link: outside, inside: data} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	check := func(path, want string) {
		t.Helper()
		folder, _, err := OpenTrusted(nil)(path)
		if err == nil {
			folder.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	check(path, "")
	check(inside, "")
	check(link, "") // what leads out of the tree is looked at from / on; /tmp is sticky
	if err := os.Chmod(filepath.Dir(outside), 0o777); err != nil {
		t.Fatal(err)
	}
	check(link, "refused as root: "+filepath.Dir(outside)+" (mode 0777, uid 0) can be changed by others: chmod go-w ")
	for _, at := range []string{path, filepath.Dir(path), root, base} {
		for _, mode := range []os.FileMode{0o775, 0o757} {
			if err := os.Chmod(at, mode); err != nil {
				t.Fatal(err)
			}
			check(path, "refused as root: "+at+" (mode ")
		}
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(at, 4711, 0); err != nil {
			t.Fatal(err)
		}
		check(path, "uid 4711) can be changed by its owner")
		if err := os.Chown(at, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	check(path, "")

	mine := script(t, filepath.Join(base, "mine"), "#!/bin/sh\n", 0o755)
	if err := os.Chown(mine, 4711, 0); err != nil {
		t.Fatal(err)
	}
	check(script(t, filepath.Join(root, "ready.d", "40-interpreted"), "#!"+mine+" -e\n", 0o755),
		"refused as root: the interpreter of "+root+"/ready.d/40-interpreted: "+mine+" (mode 0755, uid 4711) can be changed by its owner")

	// What a user could change is executed as that user, and as no other.
	if err := os.Chown(path, 4711, 0); err != nil {
		t.Fatal(err)
	}
	for uid, want := range map[uint32]bool{0: false, 4711: true, 4712: false} {
		folder, name, err := OpenTrusted(&asuser.User{UID: uid})(path)
		if (err == nil) != want || err == nil && (name != "10-a" || folder.Name() != filepath.Dir(path)) {
			t.Errorf("as %d: %v %v", uid, name, err)
		}
	}
}
