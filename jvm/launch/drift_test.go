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

// readConfigured lists the files that options name, whether they exist or not.
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
	r := NewDrift(nil, nil, nil, hclog.NewNullLogger())
	r.named, r.renamed = map[string][]string{}, make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	changed, over, watching := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() { defer close(over); r.watchFiles(ctx, watchSet{}, r.renamed, watching, changed) }() // ends with ctx
	<-watching
	signaled := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(10 * time.Second):
			t.Fatalf("no signal of %s", what)
		}
	}
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{a, b} {
		r.setNamed("app", []string{file})
		signaled("the new watch")
		put(file, "2")
		signaled("the change of " + file)
	}
	r.setNamed("app", []string{b})
	if len(r.renamed) != 0 {
		t.Error("the same files are a change")
	}
	r.setNamed("other", []string{a, b})
	signaled("the watch of both")
	if got := r.fileSet(watchSet{}).Files; !slices.Equal(got, []string{a, b}) {
		t.Errorf("all of them: %v", got)
	}
	cancel()
	<-over
}
