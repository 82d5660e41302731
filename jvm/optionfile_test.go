package jvm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lines writes options as "source arg|arg".
func lines(options []Option) []string {
	var out []string
	for _, o := range options {
		out = append(out, o.Source+" "+strings.Join(o.Args, "|"))
	}
	return out
}

func TestParseArgfile(t *testing.T) {
	for content, want := range map[string][]string{
		"":                             nil,
		"-Xmx1g -Da=b\n\t-Dc=d":        {"f:1 -Xmx1g", "f:1 -Da=b", "f:2 -Dc=d"},
		"# all\n-Da=1 # rest\r\n-Db=2": {"f:2 -Da=1", "f:3 -Db=2"},
		"-Da=1#2":                      {"f:1 -Da=1"},
		`"-Da=b c" -Dd='e "f"'`:        {"f:1 -Da=b c", `f:1 -Dd=e "f"`},
		`-Da=c:\x "-Db=c:\\x\ty"`:      {`f:1 -Da=c:\x`, "f:1 -Db=c:\\x\ty"},
		"\"-Da=b \\\n   c\"\n-Dd=e":    {"f:1 -Da=b c", "f:3 -Dd=e"},
		"\"-Da=open\n-Db=2":            {"f:1 -Da=open", "f:2 -Db=2"},
		"-cp\na:b --add-opens x=y":     {"f:1 -cp|a:b", "f:2 --add-opens|x=y"},
		`-Da="" ''`:                    {"f:1 -Da=", "f:1 "},
		`"-Da=\`:                       {"f:1 -Da="},
	} {
		if got := lines(ParseArgfile("f", content)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", content, got, want)
		}
	}
}

// Argument files are read as java does, except a # directly after a word: Java 17 loses
// the word, contrary to its guide.
func TestArgfileAsJavaReadsIt(t *testing.T) {
	java := javaOrSkip(t)
	dir := t.TempDir()
	eachOfTwo([]string{
		"-Da=1 -Db=2 # c\n-Dc=3\n",
		"\"-Da=x y\" -Db='x \"y\"' -Dc=\"p\"'q'r",
		`-Da=c:\x "-Db=c:\\x" -Dc='it''s'`,
		"\"-Da=b \\\n   c\"\n-Db=2 \"-Dc=tab\\tend\"",
		"\"-Da=open\n-Db=2\n'-Dc=3",
		"-Da=\"\" -Db=\f-Dc=4",
		"-Da=1 \"-Db=\\q\\\"\" -Dc=\\\"x",
	}, func(content string) {
		path := filepath.Join(dir, strings.Map(func(r rune) rune {
			if r < '0' || r > 'z' {
				return '_'
			}
			return r
		}, content))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Error(err)
			return
		}
		want := map[string]string{}
		for _, o := range ParseArgfile("f", content) {
			key, value, _ := strings.Cut(o.Args[0], "=")
			want[key] = value
		}
		got := runJVM(t, java, []string{"@" + path})
		for _, key := range []string{"-Da", "-Db", "-Dc"} {
			// The JVM shows a tab as it is, and cuts nothing.
			if got[key] != want[key] {
				t.Errorf("%q: java has %s=%q, we %q", content, key, got[key], want[key])
			}
		}
	})
}

func TestSplitVMOptions(t *testing.T) {
	for text, want := range map[string][]string{
		" -Da=1\t-Db=2\n":       {"-Da=1", "-Db=2"},
		`"-Da=b c" -D'd=e f'`:   {"-Da=b c", "-Dd=e f"},
		`-Da=c:\x -Db="x\" -Dc`: {`-Da=c:\x`, `-Db=x\`, "-Dc"},
		`""`:                    {""},
	} {
		got, err := SplitVMOptions(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
	if got, err := SplitVMOptions(`-Da="b`); err == nil {
		t.Errorf("an open quote gave %q", got)
	}
}

// The variable is split as the JVM does.
func TestSplitVMOptionsAsTheJVMDoes(t *testing.T) {
	java := javaOrSkip(t)
	text := `-Da=c:\x "-Db=x y" -Dc="p\"'q r'`
	t.Setenv("JAVA_TOOL_OPTIONS", text)
	words, err := SplitVMOptions(text)
	if err != nil {
		t.Fatal(err)
	}
	got := runJVM(t, java, nil)
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		if got[key] != value {
			t.Errorf("the JVM has %s=%q, we %q", key, got[key], value)
		}
	}
}

func TestParseFlagsFile(t *testing.T) {
	got := lines(flagsOf(".hotspotrc", "# all\n+UseG1GC -UseTLAB\nMaxHeapSize=1g\n ErrorFile='a b' # rest\n"))
	want := []string{".hotspotrc:2 -XX:+UseG1GC", ".hotspotrc:2 -XX:-UseTLAB", ".hotspotrc:3 -XX:MaxHeapSize=1g",
		".hotspotrc:4 -XX:ErrorFile=a b"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestFormatArgfile(t *testing.T) {
	options := ParseArgs("s", []string{"-Da=b", "-Db=c d", `-Dc="x\y"`, "-Dd=#", "", "--add-opens", "x=y z", "-De=1\n2\t3", `-Df=c:\x`})
	again := ParseArgfile("f", FormatArgfile(options))
	if len(again) != len(options) {
		t.Fatalf("%q", FormatArgfile(options))
	}
	for i := range options {
		if !slices.Equal(options[i].Args, again[i].Args) {
			t.Errorf("%q became %q", options[i].Args, again[i].Args)
		}
	}
}

func FuzzParseArgfile(f *testing.F) {
	f.Add("-Da=\"b c\" # d\n'-De=\\n'\n-cp x")
	f.Fuzz(func(t *testing.T, content string) {
		options := ParseArgfile("f", content)
		again := ParseArgfile("f", FormatArgfile(options))
		var a, b []string
		for _, o := range options {
			a = append(a, o.Args...)
		}
		for _, o := range again {
			b = append(b, o.Args...)
		}
		if !slices.Equal(a, b) {
			t.Errorf("%q became %q", a, b)
		}
	})
}

func FuzzParseFlagsFile(f *testing.F) {
	f.Add("+UseG1GC -UseTLAB # x\nMaxHeapSize='1 g'")
	f.Fuzz(func(t *testing.T, content string) {
		for _, o := range flagsOf("f", content) {
			if len(o.Args) != 1 || len(o.Args[0]) <= len("-XX:") || o.Source == "" {
				t.Errorf("option %+v", o)
			}
		}
	})
}

func FuzzSplitVMOptions(f *testing.F) {
	f.Add("-Da='b c' \"d\"e")
	f.Fuzz(func(t *testing.T, content string) {
		words, lines, err := split(content, syntax{})
		if err == nil && len(words) != len(lines) {
			t.Errorf("%d words on %d lines", len(words), len(lines))
		}
		if options, err := parseWords("f", content, syntaxOf(vmOptionsFile)); err == nil && len(options) > len(words) {
			t.Errorf("%d options of %d words", len(options), len(words))
		}
	})
}

func flagsOf(name, content string) []Option {
	options, _ := parseWords(name, content, syntaxOf(flagsFile))
	return options
}
