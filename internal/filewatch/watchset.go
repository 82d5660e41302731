package filewatch

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// maxLinks is how many symbolic links the kernel follows in one path.
const maxLinks = 40

// folderID identifies a folder independently of its name.
type folderID struct{ device, inode uint64 }

// watchSet lists where changes of the files are visible. All paths are resolved.
type watchSet struct {
	folders map[string]folderID // to watch
	names   map[string]bool     // relevant files, links and missing entries in them
	listed  map[string]bool     // folders in which every file that match accepts is relevant
	match   func(name string) bool
}

// watchSet resolves the paths of the files and lists the folders. For each path it adds the folder of the file and of every symbolic
// link on the way; for a missing component, the folder in which it would appear. Parents need no watch: a watched folder reports its
// own removal.
func (f FileSet) watchSet() watchSet {
	s := newWatchSet(f.Match)
	for _, file := range f.Files {
		s.follow(absolute(file))
	}
	for _, dir := range f.Folders {
		s.list(dir)
	}
	return s
}

func newWatchSet(match func(name string) bool) watchSet {
	return watchSet{folders: map[string]folderID{}, names: map[string]bool{}, listed: map[string]bool{}, match: match}
}

// list adds a folder with its matching files.
func (s *watchSet) list(path string) {
	dir, ok := s.follow(absolute(path))
	if !ok {
		return
	}
	entries, err := untrusted.ReadDir(dir, maxNames)
	if err != nil {
		return // not a readable folder: its name is watched
	}
	s.listed[dir] = true
	s.folder(dir)
	for _, e := range entries {
		if s.match(e.Name()) {
			s.follow(filepath.Join(dir, e.Name()))
		}
	}
}

// absolute keeps "..", whose meaning depends on links.
func absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		dir = "/"
	}
	return dir + "/" + path
}

// follow adds the folders of a path as the kernel resolves it. ok is false if something is missing; else resolved is the path without
// links.
func (s *watchSet) follow(path string) (resolved string, ok bool) {
	resolved = "/"
	rest := strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			resolved = filepath.Dir(resolved)
			continue
		}
		next := filepath.Join(resolved, name)
		info, err := os.Lstat(next)
		if err != nil {
			s.add(resolved, next)
			return "", false
		}
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			s.add(resolved, next)
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return "", false
			}
			rest = append(strings.Split(target, "/"), rest...)
			if strings.HasPrefix(target, "/") {
				resolved = "/"
			}
		case len(rest) == 0:
			s.add(resolved, next)
			return next, true
		case !info.IsDir():
			s.add(resolved, next)
			return "", false
		default:
			resolved = next
		}
	}
	return resolved, true
}

func (s *watchSet) add(folder, name string) {
	s.names[name] = true
	s.folder(folder)
}

func (s *watchSet) folder(path string) {
	if info, err := os.Lstat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			s.folders[path] = folderID{st.Dev, st.Ino}
		}
	}
}

// concerns reports whether an event on a path may affect a file, a link to it, or a watched folder.
func (s watchSet) concerns(path string) bool {
	path = filepath.Clean(path)
	_, folder := s.folders[path]
	return folder || s.names[path] || s.listed[filepath.Dir(path)] && s.match(filepath.Base(path))
}

func (s watchSet) equal(other watchSet) bool {
	return maps.Equal(s.listed, other.listed) && maps.Equal(s.folders, other.folders) && maps.Equal(s.names, other.names)
}
