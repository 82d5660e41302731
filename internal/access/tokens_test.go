package access

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	secretA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	secretB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	hashA   = "sha256:066a1bd2e2b45a86fd36dc6b71564b7b4a3bbd4ad0fd41a5ce79a7afa8ed4fd4"
)

func TestParseTokens(t *testing.T) {
	h := hashOf(secretA)
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comments", "# x\n\n  # y\n", ""},
		{"two", "ops view,exec " + secretA + "\nci\tjob  " + secretB + " \n", "ops:view, exec ci:job"},
		{"hash", "ops admin " + hashPrefix + hexOf(h), "ops:admin"},
		{"windows", "ops view " + secretA + "\r\n", "ops:view"},
		{"rotation", "ops view " + secretA + "\nops view " + secretB, "ops:view ops:view"},
		{"short", "ops view " + secretA[1:], "line 1: a token has at least 43 characters"},
		{"characters", "ops view " + secretA + "+/", "line 1: a token has at least 43 characters"},
		{"no grant", "ops " + secretA, "line 1: want NAME"},
		{"unknown grant", "\nops veiw " + secretA, `line 2: there is no grant "veiw" (did you mean "view"?)`},
		{"swapped", "ops " + secretA + " view", "line 1: want NAME"},
		{"token first", secretA + " view ops", "line 1: want NAME"},
		{"four", "ops view exec " + secretA, "line 1: want NAME"},
		{"name", "o/s view " + secretA, "line 1: want NAME"},
		{"bad hash", "ops view sha256:12", "line 1: after sha256: come 64"},
		{"twice", "a view " + secretA + "\nb view " + hashPrefix + hexOf(h), "line 2: another line has the same token"},
		{"too many", strings.Repeat("a view sha256:x\n", 300), "line 1:"},
	} {
		tokens, err := parseTokens(tc.text)
		var got []string
		for _, tok := range tokens {
			got = append(got, tok.name+":"+tok.grants.String())
		}
		if err != nil {
			got = []string{err.Error()}
			if strings.Contains(err.Error(), secretA[:20]) {
				t.Errorf("%s: the error has the token: %v", tc.name, err)
			}
		}
		if text := strings.Join(got, " "); !strings.HasPrefix(text, tc.want) || tc.want == "" && text != "" {
			t.Errorf("%s: %s, want %s", tc.name, text, tc.want)
		}
	}
}

func hexOf(h hash) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range h {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

func FuzzParseTokens(f *testing.F) {
	f.Add("ops view,exec " + secretA + "\n")
	f.Add("ops view " + hashA)
	f.Add("\x00 \xff view\r\n#")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parseTokens(text)
		if err != nil && len(tokens) > 0 {
			t.Error("a file with an error gives tokens")
		}
		for _, tok := range tokens {
			if !validName(tok.name) || tok.grants == 0 || tok.grants&^All != 0 || tok.hash == (hash{}) {
				t.Errorf("%q gives %+v", text, tok)
			}
		}
		if err != nil {
			for field := range strings.FieldsSeq(text) {
				if len(field) >= minToken && strings.Contains(err.Error(), field) {
					t.Errorf("the error repeats %q", field)
				}
			}
		}
	})
}

func TestTokenFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte("ops view "+secretA+"\n"), 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o400: "", 0o700: "", 0o640: "chmod 0600 " + path, 0o604: "chmod 0600 " + path,
		0o622: "chmod 0600 " + path, 0o444: "chmod 0400 " + path} {
		write(mode)
		_, err := readTokens(path)
		if (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("mode %o: %v, want %q", mode, err, want)
		}
	}
	write(0o600)
	if os.Getuid() == 0 {
		if err := os.Chown(path, 4711, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := readTokens(path); err == nil || !strings.Contains(err.Error(), "belongs to uid 4711") {
			t.Errorf("a file of another user: %v", err)
		}
	}
	if _, err := readTokens(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := readTokens(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestAppendLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	add := func() (string, error) {
		token, line, err := TokenLine("ops", []string{"view", "exec"})
		if err != nil {
			t.Fatal(err)
		}
		return token, AppendLine(path, line)
	}
	var made []string
	for range 3 {
		token, err := add()
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, token)
	}
	if err := os.Truncate(path, sizeOf(t, path)-1); err != nil { // as if an editor left out the last newline
		t.Fatal(err)
	}
	token, err := add()
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := readTokens(path)
	if err != nil || len(tokens) != 4 {
		t.Fatalf("%v, %v", tokens, err)
	}
	for _, secret := range append(made, token) {
		if tok, ok := findToken(tokens, hashOf(secret)); !ok || tok.grants != View|Exec || tok.name != "ops" {
			t.Errorf("the token is %+v, %v", tok, ok)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := add(); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("a file that others can read: %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the refused file was changed")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := AppendLine(link, "other view "+secretA); err == nil {
		t.Error("a link was followed")
	}
	for _, name := range []string{"", "a b", "a/b", strings.Repeat("a", 33), "ä"} {
		if _, _, err := TokenLine(name, []string{"view"}); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for _, grants := range [][]string{nil, {}, {""}, {"view", "root"}} {
		if _, _, err := TokenLine("a", grants); err == nil {
			t.Errorf("%q are grants", grants)
		}
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
