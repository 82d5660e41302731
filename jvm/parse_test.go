package jvm

import (
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSplitOptions(t *testing.T) {
	for text, want := range map[string][]string{
		"":                             nil,
		"  -Xmx1g\t-Da=b\n":            {"-Xmx1g", "-Da=b"},
		`-Da="b c" '-Dd=e f' -Dg=h\ i`: {"-Da=b c", "-Dd=e f", "-Dg=h i"},
		`'' ""`:                        {"", ""},
		`"a\"b\$c\d" 'e\f'`:            {`a"b$c\d`, `e\f`},
		"-Da=$(id) -Db=`x` $HOME *":    {"-Da=$(id)", "-Db=`x`", "$HOME", "*"},
		"a\\\nb # c":                   {"ab", "#", "c"},
		`-Dä='ö ü'`:                    {"-Dä=ö ü"},
	} {
		got, err := SplitOptions(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("SplitOptions(%q) = %q, %v", text, got, err)
		}
	}
	for _, text := range []string{`"a`, `'a`, `a\`, `"a\`} {
		if got, err := SplitOptions(text); err == nil {
			t.Errorf("SplitOptions(%q) = %q", text, got)
		}
	}
}

func TestParseFile(t *testing.T) {
	got := ParseFile("f", "\ufeff# c\r\n\r\n  -Da=b c \"d\" \r\n--add-opens x=y\n--add-opens\n# between\nz=w\n-cp\n-Xmx1g\n-Db='#'")
	var lines []string
	for _, o := range got {
		lines = append(lines, o.Source+" "+strings.Join(o.Args, "|"))
	}
	want := []string{`f:3 -Da=b c "d"`, "f:4 --add-opens|x=y", "f:5 --add-opens|z=w", "f:8 -cp", "f:9 -Xmx1g", "f:10 -Db='#'"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q\nwant %q", lines, want)
	}
}

func FuzzSplitOptions(f *testing.F) {
	f.Add(`-Da="b c" 'd e' f\ g`)
	f.Fuzz(func(t *testing.T, text string) {
		words, err := SplitOptions(text)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, w := range words {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		again, err := SplitOptions(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(words, again) {
			t.Errorf("%q became %q, %v", words, again, err)
		}
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add("-Xmx1g\n# c\n--add-opens\nx\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, o := range ParseFile("f", text) {
			if len(o.Args) == 0 || len(o.Args) > 2 || o.Args[0] == "" || o.Source == "" {
				t.Errorf("option %+v", o)
			}
		}
	})
}

// FuzzMerge looks for panics and checks that enforced options survive and that
// merging its own result changes nothing.
func FuzzMerge(f *testing.F) {
	for _, c := range mergeCases() {
		f.Add(c.defaults, c.user, c.enforce)
	}
	f.Fuzz(func(t *testing.T, defaults, user, enforced string) {
		in := Input{Limits: Limits{CPUs: 2, Memory: 2 << 30}, Target: Target{JavaMajor: 17},
			Default: ParseFile("d", defaults), User: ParseFile("u", user), Enforced: ParseFile("e", enforced)}
		r, err := Render(in)
		if err := Explain(io.Discard, r, in.Limits, aligned); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		if err != nil || len(r.Errors) > 0 {
			return
		}
		for _, o := range r.Options {
			if o.Layer == Enforced {
				continue
			}
			for _, e := range r.Options {
				if e.Layer == Enforced && overrides(keyOf(e), keyOf(o), true) {
					t.Errorf("%s of the %s layer stands beside enforced %s", o, o.Layer, e)
				}
			}
		}
		plain := Merge(in.Default, in.User, in.Enforced)
		for _, e := range in.Enforced {
			if len(plain.Errors) == 0 && !slices.ContainsFunc(plain.Options, func(o Option) bool {
				return o.Layer == Enforced && keyOf(o).family == keyOf(e).family
			}) {
				t.Errorf("nothing is left of enforced %s in %q", e, plain.Argv())
			}
		}
		again := Merge(nil, nil, plain.Options)
		if len(plain.Errors) == 0 && !slices.Equal(again.Argv(), plain.Argv()) {
			t.Errorf("%q merged again is %q", plain.Argv(), again.Argv())
		}
	})
}
