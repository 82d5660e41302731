package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/jvm"
)

// The user layer must not show files that the service's user may not read; the other layers belong to the operator.
func TestOptionFilesAreReadAsTheUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret, open, group := filepath.Join(dir, "secret"), filepath.Join(dir, "open"), filepath.Join(dir, "group")
	for path, mode := range map[string]os.FileMode{secret: 0o600, open: 0o644, group: 0o640} {
		if err := os.WriteFile(path, []byte("-Da=1"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(group, 0, 4321); err != nil {
		t.Fatal(err)
	}
	read := optionFiles(&asuser.User{Name: "app", UID: 65534, GID: 65534, Groups: []uint32{4321}})
	for _, c := range []struct {
		layer jvm.Layer
		path  string
		err   error
	}{
		{jvm.User, open, nil}, {jvm.User, group, nil}, {jvm.User, secret, syscall.EACCES},
		{jvm.Enforced, secret, nil}, {jvm.Default, secret, nil}, {jvm.User, dir + "/none", syscall.ENOENT},
	} {
		if data, err := read(c.layer, c.path); !errors.Is(err, c.err) || (err == nil) != (string(data) == "-Da=1") {
			t.Errorf("%s layer, %s: %q, %v; want %v", c.layer, c.path, data, err, c.err)
		}
	}
	// The same holds for the files and folders of the layer itself.
	link := filepath.Join(dir, "opts", "x.opts")
	if err := errors.Join(os.Mkdir(filepath.Dir(link), 0o755), os.Symlink(secret, link)); err != nil {
		t.Fatal(err)
	}
	user := &asuser.User{Name: "app", UID: 65534, GID: 65534}
	for name, layer := range map[string]jvm.LayerConfig{"files": {Files: []jvm.File{{File: secret}}},
		"argfiles": {Argfiles: []jvm.File{{File: secret}}}, "dirs": {Dirs: []jvm.Dir{{Dir: filepath.Dir(link)}}}} {
		l := &sources{cfg: jvm.Config{User: layer}, shared: &Shared{Labels: noLabels}, user: user}
		if in, err := l.input(t.Context()); !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s: %v, %v", name, in.User, err)
		}
		l = &sources{cfg: jvm.Config{Enforced: layer}, shared: &Shared{Labels: noLabels}, user: user}
		if in, err := l.input(t.Context()); err != nil || len(in.Enforced) != 1 {
			t.Errorf("enforced %s: %v, %v", name, in.Enforced, err)
		}
	}
}

func TestOptionFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("-Da=1\n", jvm.MaxOptionFile/6+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{large, fifo, dir} {
		if data, err := optionFiles(nil)(jvm.User, path); err == nil {
			t.Errorf("%s gave %d bytes", path, len(data))
		}
	}
}
