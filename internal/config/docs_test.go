package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// documented are the keys in the first column of a page's tables, in full. A key
// that stands alone behind another one is its sibling: `restart.backoff.first`, `max`.
func documented(text string, known []string) (paths, unknown []string) {
	word := regexp.MustCompile("`([^`]+)`")
	prefix := ""
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Below `jvm`") {
			prefix = "jvm."
		} else if strings.HasPrefix(line, "Below `services.NAME`") {
			prefix = "services.NAME."
		}
		cell, _, row := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !row || !strings.HasPrefix(line, "| ") {
			continue
		}
		around := ""
		for _, m := range word.FindAllStringSubmatch(cell, -1) {
			path := prefix + m[1]
			if !slices.Contains(known, path) {
				path = around + m[1]
			}
			if !slices.Contains(known, path) {
				unknown = append(unknown, path)
				continue
			}
			around = path[:strings.LastIndexByte(path, '.')+1]
			paths = append(paths, path)
		}
	}
	return paths, unknown
}

func TestDocumentationNamesEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var known []string
	for _, l := range leavesOf[Config]() {
		known = append(known, l.Path)
	}
	for _, l := range leavesOf[Service]() {
		known = append(known, "services.NAME."+l.Path)
	}
	// Only the user layer reads variables; in the others the key is refused.
	known = slices.DeleteFunc(known, func(path string) bool { return path == "jvm.default.env" || path == "jvm.enforced.env" })
	paths, unknown := documented(string(text), known)
	for _, path := range unknown {
		t.Errorf("docs/reference/configuration.md names %s, which is no key", path)
	}
	for _, path := range known {
		switch n := len(slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p != path })); n {
		case 0:
			t.Errorf("docs/reference/configuration.md lacks %s", path)
		case 1:
		default:
			t.Errorf("docs/reference/configuration.md has %s %d times", path, n)
		}
	}
}

// TestDocumentationOfReload compares the table of what a change touches.
func TestDocumentationOfReload(t *testing.T) {
	text, err := os.ReadFile("../../docs/howto/reload.md")
	if err != nil {
		t.Fatal(err)
	}
	says := map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		var change string
		switch what := cells[2]; {
		case strings.Contains(what, "restarted"):
			change = changeRestart
		case strings.Contains(what, "taken over"):
			change = changeLive
		case strings.Contains(what, "needs a new container"):
			change = changeContainer
		default:
			continue
		}
		list := strings.ReplaceAll(cells[1], "(but `contexts`)", "")
		list = strings.ReplaceAll(list, "(but `apply`)", "")
		list = strings.ReplaceAll(list, "(but its folders and `mesos`)", "")
		list = strings.ReplaceAll(list, "(but `socket`)", "")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(list, -1) {
			says[m[1]] = change
		}
	}
	documentedChange := func(path string) string {
		for _, p := range append([]string{path}, layeredyaml.Ancestors(path)...) {
			if e, ok := says[p]; ok {
				return e
			}
		}
		return ""
	}
	for _, l := range append(leavesOf[Config](), leavesOf[Service]()...) {
		change := l.Change
		if change == changeJVM {
			change = changeRestart
		}
		if documentedChange(l.Path) != change {
			t.Errorf("docs says %q of %s, and it is %s", documentedChange(l.Path), l.Path, change)
		}
	}
}
