package jvm

import (
	"slices"
	"strings"
	"testing"
)

// The same text of Windows, with a byte order mark, gives the same options in every
// syntax.
func TestWindowsTextInEverySyntax(t *testing.T) {
	const text = "\ufeff-XX:+UseG1GC\r\n-Dtwo=2\r\n\r\n-Dthree=3\r"
	want := []string{"-XX:+UseG1GC", "-Dtwo=2", "-Dthree=3"}
	words := func(words []string, err error) func() ([]Option, error) {
		return func() ([]Option, error) { return ParseArgs("x", words), err }
	}
	for name, read := range map[string]func() ([]Option, error){
		"JAVA_OPTS of kind java":         words(SplitOptions(text)),
		"JAVA_OPTS of catalina.sh":       words(SplitScript(text, nil)),
		"JAVA_OPTS that names another":   words(SplitScript("$OTHER", func(string) string { return strings.TrimPrefix(text, "\ufeff") })),
		"JAVA_OPTS, continued":           words(SplitOptions("-XX:+UseG1GC \\\r\n-Dtwo=2 \\\r\n -Dthree=\"3\\\r\n\"")),
		"JAVA_TOOL_OPTIONS":              words(SplitVMOptions(text)),
		"an option file":                 func() ([]Option, error) { return ParseFile("x", text), nil },
		"an argument file":               func() ([]Option, error) { return ParseArgfile("x", text), nil },
		"a -XX:VMOptionsFile":            func() ([]Option, error) { return parseWords("x", text, syntaxOf(vmOptionsFile)) },
		"items of a list":                words([]string{"-XX:+UseG1GC\r", "-Dtwo=2\r", "-Dthree=3"}, nil),
		"two-argument form of an item":   words([]string{"-XX:+UseG1GC", "-Dtwo=2\r", "-Dthree=3\r"}, nil),
		"an argument file with CR alone": func() ([]Option, error) { return ParseArgfile("x", strings.ReplaceAll(text, "\r\n", "\r")), nil },
	} {
		options, err := read()
		var got []string
		for _, o := range options {
			got = append(got, o.Args...)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	flags := flagsOf("x", "\ufeff# c\r\n+UseG1GC\r\nMaxHeapSize=1g\r")
	if len(flags) != 2 || flags[0].String() != "-XX:+UseG1GC" || flags[1].String() != "-XX:MaxHeapSize=1g" {
		t.Errorf("a -XX:Flags file: %q", flags)
	}
}

// A variable gives the same options for every kind of service, unless it has characters
// that are special to a shell.
func TestEveryKindSplitsAlike(t *testing.T) {
	for _, text := range []string{"", " ", "-Da=1\r\n-Db=2\r", `-Da="b c" '-Dd=e f' -Dg=h\ i`, `'' ""`, `"a\"b\\c\d" 'e\f'`, "a\\\nb",
		"\ufeff-Xmx1g", "a\vb\fc", `"a`, `'a`, `a\`, `"a\`,
		"-Da=1\\\r\n-Db=2", `-Dä='ö ü'`, "-Xmx1g\u00a0-Xms1g"} {
		java, err := SplitOptions(text)
		tomcat, errTomcat := SplitScript(text, func(string) string { return "" })
		if !slices.Equal(java, tomcat) || (err == nil) != (errTomcat == nil) || err != nil && err.Error() != errTomcat.Error() {
			t.Errorf("%q: kind java %q, %v; kind tomcat %q, %v", text, java, err, tomcat, errTomcat)
		}
	}
}

// Quotes, blanks and dashes that a user did not mean literally.
func TestLiteralText(t *testing.T) {
	for _, c := range []struct {
		item, code string // Literal: a warning; else an error; "": neither
		says       string
	}{
		{"-Xmx400m -Xms400m", BadValue, `two options in one item, the second is "-Xms400m"; write two items`},
		{"-XX:+UseG1GC -Xmx1g", BadValue, "write two items"},
		{"-XX:MaxMetaspaceSize=1g\t-Dx=1", BadValue, "write two items"},
		{"-ea -javaagent:/a.jar", BadValue, `the second is "-javaagent:/a.jar"`},
		{"-XX:HeapDumpPath=/dumps -XX:+UseG1GC", BadValue, "write two items"},
		{"--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=x/y=z", BadValue, "write two items"},
		{"-Xmx400m\u00a0-Xms400m", BadValue, "U+00A0"},
		{"-Xmx400m \u200b-Xms400m", BadValue, "write two items"},
		{"--add-opens java.base/java.lang=ALL-UNNAMED", BadValue, "an option and its value in one item"},
		{"-cp /a b", BadValue, "an option and its value in one item"},
		{"-Da=1 -Db=2", Literal, `"-Db=2", which looks like another option`},
		{"-javaagent:/a.jar=x -Xmx1g", Literal, "looks like another option"},
		{"-Da=b c -d", "", ""},
		{"-Da=-x", "", ""},
		{"-Da=1 - 2", "", ""},
		{"-XX:OnOutOfMemoryError=kill -9 %p", "", ""},
		{"-XX:OnError=gdb -p %p", "", ""},
		{"-XX:OnOutOfMemoryError=java -Xmx32m -cp /x Tool", "", ""},
		{`-XX:OnOutOfMemoryError="echo x %p"`, Literal, "the quotes are part of the value"},
		{`-XX:HeapDumpPath='/dumps'`, Literal, "the quotes are part of the value"},
		{`-Dname="a b"`, Literal, "leave them out"},
		{`-Dname=say "a b"`, "", ""},
		{`-Dname="`, "", ""},
		{`-Dname=it's`, "", ""},
		{`-Xlog:gc*:file="/logs/gc.log"`, "", ""},
		{`"-Dname=a b"`, BadValue, "the quotes are part of it"},
		{`'-Xmx1g'`, BadValue, "the quotes are part of it"},
		{`-XX:"OnError=x"`, BadValue, "the quotes are part of its name"},
		{`-XX:+"UseG1GC"`, BadValue, "the quotes are part of its name"},
		{`-Xmx"1g"`, BadValue, "the quotes are part of"},
		{`-XX:MaxHeapSize="1g"`, BadValue, "the quotes are part of the value"},
		{`-XX:ParallelGCThreads="4"`, BadValue, "the quotes are part of the value"},
		{"-javaagent:/it's/a.jar", "", ""},
		{"\u2013Xmx1g", BadValue, "begins with the dash"},
		{"\u00a0-Xmx1g", BadValue, "begins with the character U+00A0"},
		{"\ufeff-Xmx1g", BadValue, "begins with the character U+FEFF"},
		{"-Da=1\u00a0", Literal, "the character U+00A0 at its end"},
		{"-Da=10\u00a0000", "", ""},
		{"-Da=x\r\n", "", ""},
	} {
		r, _ := Render(Input{NoSizing: true, Target: Target{JavaMajor: 17}, User: []Option{{Args: []string{c.item}, Source: "u"}}})
		problems := r.Errors
		if c.code == Literal {
			problems = r.Warnings
		}
		switch {
		case c.code == "" && len(r.Errors)+len(r.Warnings) > 0:
			t.Errorf("%q: %q, %q", c.item, r.Warnings, r.Errors)
		case c.code != "" && (len(r.Errors)+len(r.Warnings) != 1 || len(problems) != 1 || problems[0].Code != c.code ||
			!strings.Contains(problems[0].Message, c.says)):
			t.Errorf("%q: %q, %q, want %s %q", c.item, r.Warnings, r.Errors, c.code, c.says)
		}
	}
}
