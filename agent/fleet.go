// Package agent is the companion of many containers on their host: it finds their sockets in a folder, shows what they have, places
// jobs and finds them again, merges their metrics and restarts a service in one after the other. It keeps nothing: what is true of a
// job is what the container says that has it. It believes what a container says of itself, and starts none.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stoker-init/stoker/internal/trust"
	"github.com/stoker-init/stoker/internal/untrusted"
	"golang.org/x/sys/unix"
)

// SocketName is the file in a container's folder; the folder has the name of the container.
const SocketName = "stoker.sock"

// maxContainers bounds the entries of the folder.
const maxContainers = 1000

// maxRounds is how many rounds of questions there are at once: those of many clients would keep all containers so busy that they
// seemed to be silent.
const maxRounds = 4

// Fleet is the containers whose sockets are in a folder, DIR/NAME/stoker.sock. They may come and go. It is safe for concurrent use.
type Fleet struct {
	dir    string        // without links
	asking chan struct{} // has an element for each round of questions to all containers

	mu    sync.Mutex // guards what follows, and container.placed
	known map[string]*container
	keys  map[string]chan struct{} // of the jobs that are being placed; closed at the end
}

// Open returns the containers of a folder that is there, and to which no other user can add any.
func Open(dir string) (*Fleet, error) {
	path, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		err = trust.Path(path, os.Getuid())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use the folder of the containers: %w", err)
	}
	return &Fleet{dir: path, asking: make(chan struct{}, maxRounds), known: map[string]*container{}, keys: map[string]chan struct{}{}}, nil
}

// containers returns those that have or had a socket, by name.
func (f *Fleet) containers() ([]*container, error) {
	entries, err := untrusted.ReadDir(f.dir, maxContainers)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", f.dir, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.known
	f.known = map[string]*container{}
	var out []*container
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(f.dir, e.Name(), SocketName)
		var is unix.Stat_t
		there := unix.Lstat(path, &is) == nil && is.Mode&unix.S_IFMT == unix.S_IFSOCK
		id := fileID{is.Dev, is.Ino}
		c := before[e.Name()]
		switch {
		case !there && c == nil:
			continue // it has not begun
		case !there || c != nil && c.id == id: // without its socket it begins again, and may have jobs
			delete(before, e.Name())
		default:
			c = newContainer(e.Name(), path, id)
		}
		f.known[e.Name()] = c
		out = append(out, c)
	}
	for _, c := range before {
		c.http.CloseIdleConnections()
	}
	return out, nil
}

// fileID identifies a file: a socket that was made again has another.
type fileID struct{ dev, ino uint64 }

// visitSocket calls f with an open descriptor (O_PATH) of the socket at path. No link is followed: it would lead from the folder of a
// container to what is not its own.
func visitSocket(path string, f func(fd int) error) error {
	found := false
	folder, _, err := untrusted.Walk(path, func(_ string, fd int, is *unix.Stat_t) error {
		switch is.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			return errors.New("it is a symbolic link")
		case unix.S_IFSOCK:
			found = true
			return f(fd)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer folder.Close()
	if !found {
		return errors.New("it is no socket")
	}
	return nil
}

// each calls ask for all containers at once, and returns when all calls have: they get a context that ends after answerTime. An
// error is that of ctx: some answers may be missing because of it.
func (f *Fleet) each(ctx context.Context, all []*container, ask func(ctx context.Context, k int, c *container)) error {
	select {
	case f.asking <- struct{}{}:
		defer func() { <-f.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	limited, cancel := context.WithTimeoutCause(ctx, answerTime, errNoAnswer)
	defer cancel()
	var calls sync.WaitGroup
	for k, c := range all {
		calls.Go(func() { ask(limited, k, c) }) // ends with the context
	}
	calls.Wait()
	return ctx.Err()
}
