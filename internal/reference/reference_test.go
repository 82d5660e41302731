package reference

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	ref, words := func(s string) Piece { return Piece{s, true} }, func(s string) Piece { return Piece{s, false} }
	for text, want := range map[string][]Piece{
		"":                     nil,
		"plain $NAME $ $$ {x}": {words("plain $NAME $ $$ {x}")},
		"/opt/bin:${PATH}":     {words("/opt/bin:"), ref("PATH")},
		"${A}${B:-x y}z":       {ref("A"), ref("B:-x y"), words("z")},
		"$${A} ${B}":           {words("${A} "), ref("B")},
		"$$${A}":               {words("$${A}")},
		"${}":                  {ref("")},
		"${a.b}":               {ref("a.b")},
		"${A:-${B}}":           {ref("A:-${B"), words("}")},
	} {
		got, err := Split(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"${", "a ${B", "${" + strings.Repeat("é", 100)} {
		if _, err := Split(text); err == nil || len(err.Error()) > 100 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVariable(t *testing.T) {
	for body, want := range map[string]string{"PATH": "PATH", "_a1": "_a1", "A:-": "A|", "A:-x:-y": "A|x:-y", "A:- ": "A| "} {
		name, fallback, ok := Variable(body)
		if fallback != nil {
			name += "|" + *fallback
		}
		if !ok || name != want {
			t.Errorf("%q: %q, %t", body, name, ok)
		}
	}
	for _, body := range []string{"", "1a", "a.b", "a-b", "A:", "A:x", "A-x", " A", "é", "A:-x\ny"} {
		if _, _, ok := Variable(body); ok {
			t.Errorf("%q is a variable", body)
		}
	}
}

// What is split can be put together again, and no words are taken for a reference.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"a${B}c", "$${A}", "$$${A}${B:-c}", "${"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pieces, err := Split(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, p := range pieces {
			if p.Ref && strings.Contains(p.Text, "$") {
				return // it is none of which anything can be made
			}
			if p.Ref {
				b.WriteString("${" + p.Text + "}")
			} else {
				b.WriteString(p.Text)
			}
		}
		if got := strings.ReplaceAll(text, "$${", "${"); got != b.String() {
			t.Errorf("%q became %q", text, b.String())
		}
	})
}
