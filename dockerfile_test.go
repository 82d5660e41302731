package stoker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instructions are the lines of a Dockerfile, continued ones put together.
func instructions(text string) (out []string) {
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// checkDockerfile finds what would not build, or not start: the files that it names
// are here, the stages that it copies from are its own, its commands are lists.
func checkDockerfile(t *testing.T, name, text string) {
	t.Helper()
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "ARG", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
	stage := regexp.MustCompile(`^\S+(?: AS (\w+))?$`)
	var stages []string
	last := map[string]string{} // of the last stage, by instruction
	for _, line := range instructions(text) {
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.Join(strings.Fields(rest), " ")
		last[word] = rest
		list := ""
		switch word {
		case "FROM":
			m := stage.FindStringSubmatch(rest)
			if m == nil {
				t.Fatalf("%s: %s", name, line)
			}
			stages, last = append(stages, m[1]), map[string]string{}
		case "COPY":
			args := strings.Fields(rest)
			if from, ok := strings.CutPrefix(args[0], "--from="); ok {
				if !slices.Contains(stages, from) {
					t.Errorf("%s: %s: there is no stage %s", name, line, from)
				}
				continue
			}
			for _, path := range args[:len(args)-1] {
				if found, err := filepath.Glob(path); path != "bin/stoker" && (err != nil || len(found) == 0) { // that one make build makes
					t.Errorf("%s: %s: there is no %s", name, line, path)
				}
			}
		case "ENTRYPOINT", "CMD":
			list = rest
		case "HEALTHCHECK":
			_, list, _ = strings.Cut(rest, "CMD ")
		}
		if !slices.Contains(known, word) {
			t.Errorf("%s: %s: what is %s?", name, line, word)
		}
		var argv []string
		if list != "" && json.Unmarshal([]byte(list), &argv) != nil {
			t.Errorf("%s: %s is no list: a shell would be the first process", name, line)
		}
	}
	if last["ENTRYPOINT"] != `["stoker", "run"]` || !strings.HasSuffix(last["HEALTHCHECK"], `CMD ["stoker", "health"]`) {
		t.Errorf("%s: it starts %s and its health is %s", name, last["ENTRYPOINT"], last["HEALTHCHECK"])
	}
}

// The Dockerfile in the README is the one that is here, and can be copied whole.
func TestDockerfiles(t *testing.T) {
	read := func(path string) string {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	_, block, _ := strings.Cut(read("README.md"), "```dockerfile\n")
	block, _, _ = strings.Cut(block, "```")
	if got, want := instructions(block), instructions(read("Dockerfile")); !slices.Equal(got, want) {
		t.Errorf("the README has\n%s\nand the Dockerfile\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	checkDockerfile(t, "README.md", block)
	for _, path := range []string{"Dockerfile", "testdata/images/demo/Dockerfile"} {
		checkDockerfile(t, path, read(path))
	}
}
