package launch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/jvm"
)

// What options name is known after a reading, whether it is there or not.
func TestNamedFilesOfSources(t *testing.T) {
	dir := write(t, map[string]string{"a.args": "-Da=1"})
	t.Chdir(dir)
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	l := &sources{shared: &Shared{Labels: noLabels}, cfg: jvm.Config{
		Default: jvm.LayerConfig{Options: []jvm.Inline{{Option: "@a.args"}, {Option: "-Dx=@c"}}},
		User:    jvm.LayerConfig{Options: []jvm.Inline{{Option: "-XX:VMOptionsFile=/no/such"}, {Option: "@" + wd + "/a.args"}}}}}
	if _, err := l.readConfigured(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/no/such", wd + "/a.args"}; !slices.Equal(l.files, slices.Sorted(slices.Values(want))) {
		t.Errorf("named: %v, want %v", l.files, want)
	}
}

// The watch follows the set of files.
func TestWatchNamed(t *testing.T) {
	dir := write(t, map[string]string{"a": "1", "b": "1"})
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	r := NewDrift(nil, nil, hclog.NewNullLogger())
	r.named.reset(nil)
	ctx, cancel := context.WithCancel(t.Context())
	changed, over := make(chan struct{}, 1), make(chan struct{})
	go func() { defer close(over); r.watchNamed(ctx, changed) }() // ends with ctx
	told := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s is not told", what)
		}
	}
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{a, b} {
		r.named.set("app", []string{file})
		told("the new watch")
		put(file, "2")
		told("the change of " + file)
	}
	r.named.set("app", []string{b})
	if len(r.named.renewed) != 0 {
		t.Error("the same files are told as others")
	}
	r.named.set("other", []string{a, b})
	told("the watch of both")
	if got := r.named.all(); !slices.Equal(got, []string{a, b}) {
		t.Errorf("all of them: %v", got)
	}
	cancel()
	<-over
}
