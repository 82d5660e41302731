package jvm

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	files := map[string]string{
		"a": "-Da=1 # one\n'-Db=2 3'", "vm": "-Dc=1\n\"-Dd=2 3\"", "rc": "+UseG1GC MaxHeapSize=1g", "open": "'x",
		"nest": "-De=1\n@a\n-XX:Flags=rc\n-XX:VMOptionsFile=vm",
	}
	read := func(path string) ([]byte, error) {
		content, ok := files[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return []byte(content), nil
	}
	for _, c := range []struct {
		args, want, codes string
	}{
		{"-Dx=1", "s -Dx=1", ""},
		{"-Dx=1 @a -Dy=2", "s -Dx=1; a:1, named in s -Da=1; a:2, named in s -Db=2 3; s -Dy=2", ""},
		{"-Dx=1 -XX:VMOptionsFile=vm", "s -Dx=1; vm:1, named in s -Dc=1; vm:2, named in s -Dd=2 3", ""},
		{"-Dx=1 -XX:Flags=rc", "rc:1, named in s -XX:+UseG1GC; rc:1, named in s -XX:MaxHeapSize=1g; s -Dx=1", ""},
		{"@none -Dx=1", "s -Dx=1", "bad-value"},
		{"-XX:VMOptionsFile=open", "", "bad-value"},
		{"@nest", "nest:1, named in s -De=1", "bypass bypass bypass"},
		{"@@a @ -Dx=@a", "s @@a; s @; s -Dx=@a", ""},
	} {
		got, problems := expand(ParseArgs("s", strings.Fields(c.args)), read)
		var codes []string
		for _, p := range problems {
			codes = append(codes, p.Code)
		}
		if text := strings.Join(lines(got), "; "); text != c.want {
			t.Errorf("%s: got %q, want %q", c.args, text, c.want)
		}
		if text := strings.Join(codes, " "); text != c.codes {
			t.Errorf("%s: codes %q, want %q: %v", c.args, text, c.codes, problems)
		}
	}
}

// The expansion orders options as the JVM does with its three kinds of files:
// every option overrides the flags file.
func TestInputExpand(t *testing.T) {
	in := Input{NoSizing: true, Target: Target{JavaMajor: 17},
		User: ParseFile("app.options", "-Xmx100m\n-XX:Flags=rc\n"), Enforced: ParseFile("must.options", "@gone\n")}
	var asked []string
	in.Expand(func(layer Layer, path string) ([]byte, error) {
		asked = append(asked, string(layer)+" "+path)
		if path == "gone" {
			return nil, errors.New("it went")
		}
		return []byte("MaxHeapSize=300m"), nil
	})
	if want := []string{"user rc", "enforced gone"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	r, _ := Render(in)
	if len(r.Errors) != 1 || r.Errors[0].Message != `cannot use "@gone" (enforced layer, must.options:1): it went` {
		t.Errorf("errors %v", r.Errors)
	}
	if len(r.Options) != 1 || r.Options[0].String() != "-Xmx100m" || r.Options[0].Replaced[0].Source != "rc:1, named in app.options:2" {
		t.Errorf("options %+v", r.Options)
	}
}
