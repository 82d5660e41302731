package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// yamlBlocks are the YAML documents of a page.
func yamlBlocks(t *testing.T, path string) (out []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for k, part := range strings.Split(string(text), "```yaml\n") {
		block, _, ends := strings.Cut(part, "\n```")
		if k == 0 {
			continue
		}
		dec := yaml.NewDecoder(strings.NewReader(block))
		for {
			var doc map[string]any
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || !ends {
				t.Fatalf("%s, block %d: %v", path, k, err)
			}
			out = append(out, doc)
		}
	}
	return out
}

// at walks down a document.
func at(t *testing.T, doc any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[step.(string)]
		case []any:
			doc = v[step.(int)]
		default:
			t.Fatalf("there is nothing at %v", path)
		}
	}
	return doc
}

// What the page for containers shows can be used as it is: the configuration in it is
// accepted, the probes are commands of ours, and the times fit each other.
func TestContainerExamples(t *testing.T) {
	kinds := map[string]map[string]any{}
	for _, doc := range yamlBlocks(t, "../../docs/howto/containers.md") {
		kind, _ := doc["kind"].(string)
		kinds[kind] = doc
	}
	file := filepath.Join(t.TempDir(), "stoker.yaml")
	if err := os.WriteFile(file, []byte(at(t, kinds["ConfigMap"], "data", "stoker.yaml").(string)), 0o644); err != nil {
		t.Fatal(err)
	}
	pod := at(t, kinds["Deployment"], "spec", "template", "spec")
	app := at(t, pod, "containers", 0)
	var environ []string
	for _, v := range at(t, app, "env").([]any) {
		environ = append(environ, at(t, v, "name").(string)+"="+at(t, v, "value").(string))
	}
	loaded, err := Load(Options{File: file, Environ: environ})
	if err != nil || len(loaded.Warnings) > 0 {
		t.Fatalf("%v %v", err, loaded)
	}
	grace := time.Duration(at(t, pod, "terminationGracePeriodSeconds").(int)) * time.Second
	if loaded.Config.OnFatal != "exit" || loaded.Config.Stop.Timeout != grace-2*time.Second {
		t.Errorf("on_fatal %q, a budget of %v in a grace of %v", loaded.Config.OnFatal, loaded.Config.Stop.Timeout, grace)
	}
	for _, probe := range []string{"startupProbe", "readinessProbe"} {
		if got := at(t, app, probe, "exec", "command").([]any); !slices.Equal(got, []any{"stoker", "health"}) {
			t.Errorf("%s runs %v", probe, got)
		}
	}
	start := time.Duration(at(t, app, "startupProbe", "periodSeconds").(int)*at(t, app, "startupProbe",
		"failureThreshold").(int)) * time.Second
	if within := loaded.Config.Services["tomcat"].Ready.Within; start <= within {
		t.Errorf("the startup probe ends after %v, and a start may take %v", start, within)
	}
	if at(t, app, "volumeMounts", 0, "name") != at(t, pod, "volumes", 0, "name") ||
		at(t, pod, "volumes", 0, "configMap", "name") != at(t, kinds["ConfigMap"], "metadata", "name") {
		t.Error("the ConfigMap is not what is mounted")
	}
	if got := at(t, kinds[""], "services", "app", "healthcheck", "test").([]any); !slices.Equal(got, []any{"CMD", "stoker", "health"}) {
		t.Errorf("Compose runs %v", got)
	}
}
