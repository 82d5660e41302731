package launch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/stoker-init/stoker/internal/filewatch"
	"github.com/stoker-init/stoker/jvm"
)

// optionFileSet holds the files that service options name (@file and the like): those named in the configuration, and those found when the
// sources are read. renewed signals the watcher.
type optionFileSet struct {
	renewed chan struct{} // holds one token when the set has changed

	mu sync.Mutex // guards of
	of map[string][]string
}

func newOptionFileSet() *optionFileSet {
	return &optionFileSet{renewed: make(chan struct{}, 1), of: map[string][]string{}}
}

// set replaces the files that the options of one service name.
func (n *optionFileSet) set(service string, files []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Equal(n.of[service], files) {
		return
	}
	n.of[service] = files
	signal(n.renewed)
}

// reset keeps only the files named in the configuration.
func (n *optionFileSet) reset(of map[string][]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.of)
	maps.Copy(n.of, of)
	signal(n.renewed)
}

// all returns the files of all services.
func (n *optionFileSet) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	files := slices.Concat(slices.Collect(maps.Values(n.of))...)
	slices.Sort(files)
	return slices.Compact(files)
}

// filesInConfig returns the files that the configuration itself names.
func filesInConfig(l *sources) []string {
	var out []string
	for _, n := range l.layers() {
		for _, o := range n.cfg.Options {
			if path, ok := jvm.OptionFile(o.Option); ok {
				out = append(out, absolutePath(path))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// absolutePath resolves a relative path in the current directory.
func absolutePath(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		return path
	}
	return dir + "/" + path // not cleaned: the component before .. may be a link
}

// watchNamed watches the current set of named files until ctx ends.
func (r *Drift) watchNamed(ctx context.Context, changed chan<- struct{}) {
	var files []string
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.named.renewed:
		}
		if ctx.Err() != nil { // left for the next watcher
			signal(r.named.renewed)
			return
		}
		now := r.named.all()
		if slices.Equal(now, files) {
			continue
		}
		stop()
		files, stop = now, func() {}
		if len(files) == 0 {
			continue
		}
		w, err := filewatch.New(filewatch.FileSet{Files: files})
		if err != nil {
			r.log.Warn(unwatchedNote, "error", err)
			continue
		}
		one, cancel := context.WithCancel(ctx)
		over := make(chan struct{})
		stop = func() { cancel(); <-over }
		go func() { // ends with stop
			defer close(over)
			if err := w.Run(one, func() { signal(changed) }); err != nil {
				r.log.Warn(unwatchedNote, "error", err)
			}
		}()
		signal(changed) // the files may have changed before the watch began
	}
}
