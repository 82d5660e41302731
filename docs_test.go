package stoker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the repository's Markdown files by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, path := range files(t) {
		if strings.HasSuffix(path, ".md") {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			out[path] = string(text)
		}
	}
	return out
}

// prose is a page without its fenced blocks.
func prose(text string) []string {
	fenced := false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			lines[i] = ""
		} else if fenced {
			lines[i] = ""
		}
	}
	return lines
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	text := strings.ToLower(strings.TrimSpace(strings.TrimLeft(heading, "#")))
	text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(text, "")
	return strings.ReplaceAll(text, " ", "-")
}

func TestLinksOfPages(t *testing.T) {
	all := pages(t)
	anchors := map[string]bool{}
	for path, text := range all {
		for _, line := range prose(text) {
			if strings.HasPrefix(line, "#") {
				anchors[path+"#"+anchor(line)] = true
			}
		}
	}
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)
	for path, text := range all {
		for n, line := range prose(text) {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				target := path
				if m[1] != "" {
					target = filepath.Join(filepath.Dir(path), m[1])
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s:%d: the link %s leads nowhere", path, n+1, m[1])
				} else if m[2] != "" && !anchors[target+m[2]] {
					t.Errorf("%s:%d: %s has no heading %s", path, n+1, target, m[2])
				}
			}
		}
	}
}

func TestPagesFitATerminal(t *testing.T) {
	all := pages(t)
	for path, text := range all {
		for n, line := range prose(text) {
			if len([]rune(line)) > 140 && !strings.HasPrefix(strings.TrimSpace(line), "|") {
				t.Errorf("%s:%d has more than 140 columns", path, n+1)
			}
		}
	}
	if n := strings.Count(all["README.md"], "\n"); n > 120 {
		t.Errorf("README.md has %d lines, more than 120: it is what a newcomer reads first", n)
	}
}
