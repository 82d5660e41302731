package access

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/exit"
)

func TestRemoteRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty := file("good", "abc\n", 0o400), file("empty", "\n", 0o600)
	open, shared := file("open", "abc", 0o644), file("shared", "abc", 0o640)
	for _, tc := range []struct {
		r    Remote
		want string // part of the error; empty: none
		hint string
	}{
		{Remote{URL: "https://h:1", TokenFile: good}, "", ""},
		{Remote{URL: "https://h/", TokenFile: good}, "", ""},
		{Remote{URL: "http://[::1]:1"}, "", ""},
		{Remote{URL: "http://localhost:1"}, "", ""},
		{Remote{URL: "http://10.0.0.1:1", TokenFile: good}, "not sent without TLS", "https"},
		{Remote{URL: "http://localhost.example:1"}, "not sent without TLS", "https"},
		{Remote{URL: "h:1"}, `cannot use the URL "h:1"`, "want https://HOST:PORT"},
		{Remote{URL: "https://h:1/path"}, "cannot use the URL", ""},
		{Remote{URL: "https://user:pw@h:1"}, "cannot use the URL", ""},
		{Remote{URL: "https://h:1?token=x"}, "cannot use the URL", ""},
		{Remote{URL: "https://h:1", TokenFile: open}, "its mode is 0644, and others may read it", "chmod 600 " + open},
		{Remote{URL: "https://h:1", TokenFile: shared}, "its mode is 0640", "chmod 600"},
		{Remote{URL: "https://h:1", TokenFile: empty}, "want one token and nothing else", ""},
		{Remote{URL: "https://h:1", TokenFile: file("two", "a b", 0o600)}, "want one token", ""},
		{Remote{URL: "https://h:1", TokenFile: file("long", strings.Repeat("a", 5000), 0o600)}, "cannot read the token", ""},
		{Remote{URL: "https://h:1", TokenFile: dir}, "cannot read the token", ""},
		{Remote{URL: "https://h:1", TokenFile: dir + "/none"}, "no such file", ""},
		{Remote{URL: "https://h:1", CA: good}, "it has no certificate", ""},
		{Remote{URL: "https://h:1", CA: dir + "/none"}, "no such file", ""},
		{Remote{URL: "https://h:1", Certificate: good}, "cannot read the key of the client certificate", ""},
		{Remote{URL: "https://h:1", Key: good}, "cannot read the client certificate", ""},
		{Remote{URL: "https://h:1", Certificate: good, Key: good}, "cannot use the client certificate", ""},
	} {
		_, err := tc.r.Endpoint()
		var hinted *exit.Error
		switch {
		case tc.want == "" && err == nil:
		case err == nil || tc.want == "" || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%+v: %v, want %q", tc.r, err, tc.want)
		case tc.hint != "" && (!errors.As(err, &hinted) || !strings.Contains(hinted.Hint, tc.hint)):
			t.Errorf("%+v: the hint of %v is not %q", tc.r, err, tc.hint)
		}
	}
}
