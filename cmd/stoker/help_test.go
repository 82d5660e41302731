package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// everyCommand calls f for each command, with its name without stoker.
func everyCommand(app *cli.App, f func(name string, c *cli.Command)) {
	var each func([]*cli.Command, string)
	each = func(commands []*cli.Command, above string) {
		for _, c := range commands {
			name := strings.TrimSpace(above + " " + c.Name)
			f(name, c)
			each(c.Subcommands, name)
		}
	}
	each(app.Commands, "")
}

// TestEachCommandIsExplained: a category, an example that can be typed, lines of at most
// 80 columns, and one flag for JSON.
func TestEachCommandIsExplained(t *testing.T) {
	p := testProgram()
	printsTable := strings.Fields("status signal reload events incidents incidents-show hook-list hook-run limits jvm-render jvm-check jvm-explain " +
		"plugin-list plugin-show plugin-enable plugin-disable plugin-run upgrade version job-submit job-list job-show job-status job-artifacts " +
		"job-kill job-wait job-pause job-resume job-drain netinit-apply netinit-status")
	if !strings.Contains(cmdline.HelpText(cmdline.RootCommand(p.App), "stoker", 80), "\nJava:\n  jvm ") {
		t.Errorf("the help has no categories:\n%s", cmdline.HelpText(cmdline.RootCommand(p.App), "stoker", 80))
	}
	everyCommand(p.App, func(name string, c *cli.Command) {
		text := cmdline.HelpText(c, "stoker "+name, 80)
		for line := range strings.Lines(text) {
			if utf8.RuneCountInString(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("stoker %s --help has a long line: %s", name, line)
			}
		}
		for line := range strings.SplitSeq(c.Description, "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("stoker %s has a long line in its Description: %s", name, line)
			}
		}
		if strings.HasPrefix(name, "__") {
			return
		}
		if !strings.Contains(name, " ") && c.Category == "" && !c.Hidden {
			t.Errorf("stoker %s has no category", name)
		}
		if c.UsageText == "" || !strings.Contains(text, "\nExample:\n  ") {
			t.Errorf("stoker %s has no example", name)
		}
		for line := range strings.SplitSeq(c.UsageText, "\n") {
			if problem := unknownWords(p, line); problem != "" {
				t.Errorf("the example of stoker %s is %q: %s", name, line, problem)
			}
		}
		f := cmdline.FlagOf(c, "output")
		switch {
		case f == nil && slices.Contains(printsTable, strings.ReplaceAll(name, " ", "-")):
			t.Errorf("stoker %s prints a table and has no -o", name)
		case f != nil && !slices.Contains(f.Names(), "o"):
			t.Errorf("stoker %s has --output and no -o", name)
		}
	})
}

// unknownWords returns the error of a command line; empty: none.
func unknownWords(p *cmdline.Program, line string) string {
	line = strings.NewReplacer("source <(", "", ")", "", "`", "").Replace(line)
	line, _, _ = strings.Cut(line, " | ")
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "stoker" {
		return "it does not begin with stoker"
	}
	if _, err := p.Parse(words); err != nil {
		return err.Error()
	}
	return ""
}

// TestTextsNameCommandsThatExist reads errors, hints, comments and the documentation:
// "stoker xyz" is a command or a sentence, and a flag after a command is one of its flags.
func TestTextsNameCommandsThatExist(t *testing.T) {
	p := testProgram()
	names := map[string]*cli.Command{"help": nil, superviseCommand: nil}
	everyCommand(p.App, func(name string, c *cli.Command) { names[name] = c })
	inText := regexp.MustCompile(`\bstoker ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?(?: \[?(--?)([a-z][a-z-]*))?`)
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && slices.Contains([]string{".git", "bin", "testdata", "tests", "bench", "decisions"}, d.Name()) {
			return fs.SkipDir
		}
		if ext := filepath.Ext(path); d.IsDir() || ext != ".go" && ext != ".md" && ext != ".yaml" && ext != ".sh" ||
			strings.HasSuffix(path, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for n, line := range strings.Split(string(data), "\n") {
			for _, m := range inText.FindAllStringSubmatch(line, -1) {
				word, sub := m[1], m[2]
				c, known := names[word]
				if below, ok := names[word+" "+sub]; ok {
					c = below
				}
				switch {
				case !known && !slices.Contains(proseVerbs(), word):
					t.Errorf("%s:%d: there is no command: stoker %s", path, n+1, word)
				case c != nil && len(c.Subcommands) > 0 && c.Action == nil && sub != "" && !slices.Contains(proseVerbs(), sub):
					t.Errorf("%s:%d: there is no command: stoker %s %s", path, n+1, word, sub)
				case c != nil && !hasFlags(c, m[3], m[4]) && word != "run":
					t.Errorf("%s:%d: there is no flag: stoker %s %s%s", path, n+1, c.Name, m[3], m[4])
				}
			}
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files: %v", files, err)
	}
}

// hasFlags reports whether a command has the flag after two dashes, or each letter after one.
func hasFlags(c *cli.Command, dashes, name string) bool {
	if dashes != "-" {
		return name == "" || cmdline.FlagOf(c, name) != nil
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return cmdline.FlagOf(c, string(r)) == nil })
}

// proseVerbs are the words of sentences whose subject is stoker.
func proseVerbs() []string {
	return strings.Fields("alone and answers apart as asked beside between bin by chooses did does finds for has in is itself knows may or reads refuses " +
		"restarts runs sizes something stoker speaks starts stays string takes testdata that then was where which within writable " +
		"acts adds asks binds configures connects gets here if keeps leaves makes notices relies says sees sends started watches writes checks loads stops the whose without")
}

func TestManPage(t *testing.T) {
	page := testProgram().ManPage(manSections())
	everyCommand(testProgram().App, func(name string, c *cli.Command) {
		hidden := c.Hidden || strings.HasPrefix(name, "jacoco")
		if c.Action != nil && strings.Contains(page, `\fBstoker `+cmdline.Roff(name)+`\fR`) == hidden {
			t.Errorf("stoker %s: hidden is %v, and the page disagrees", name, hidden)
		}
	})
	docs, err := os.ReadFile("../../docs/reference/exit-codes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range exit.Meanings {
		if !strings.Contains(string(docs), fmt.Sprintf("\n| %d |", c.Code)) {
			t.Errorf("docs/reference/exit-codes.md has no exit code %d", c.Code)
		}
	}
	needs(t, "groff")
	cmd := command(t, "groff", "-man", "-ww", "-Tutf8", "-z")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
