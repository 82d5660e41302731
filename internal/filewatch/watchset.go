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

// folderID identifies a folder: another one may get its name.
type folderID struct{ device, inode uint64 }

// watchSet is where a change of the files can be seen. All paths are without symbolic
// links.
type watchSet struct {
	folders map[string]folderID // to watch
	names   map[string]bool     // files, links and missing things in them that matter
	listed  map[string]bool     // folders in which every file that match accepts matters
	match   func(name string) bool
}

// watchSet follows the paths of the files, and lists the folders. For each path it takes
// the folder of the file and of every symbolic link on the way; where something is
// missing, the folder in which it would appear. Folders further up are left out: a
// watched folder reports its own removal.
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

// list adds a folder with the files in it that match.
func (s *watchSet) list(path string) {
	dir, ok := s.follow(absolute(path))
	if !ok {
		return
	}
	entries, err := untrusted.ReadDir(dir, maxNames)
	if err != nil {
		return // not a folder, not readable: its name is watched
	}
	s.listed[dir] = true
	s.folder(dir)
	for _, e := range entries {
		if s.match(e.Name()) {
			s.follow(filepath.Join(dir, e.Name()))
		}
	}
}

// absolute leaves ".." where it is, since what it means depends on links.
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

// follow adds what a path leads through, as the kernel would follow it. ok is
// false when it leads nowhere; else resolved is the path without links.
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

// concerns reports whether an event about a path may be about the files: about one of
// them, a link that leads to one, or a watched folder.
func (s watchSet) concerns(path string) bool {
	path = filepath.Clean(path)
	_, folder := s.folders[path]
	return folder || s.names[path] || s.listed[filepath.Dir(path)] && s.match(filepath.Base(path))
}

func (s watchSet) equal(other watchSet) bool {
	return maps.Equal(s.listed, other.listed) && maps.Equal(s.folders, other.folders) && maps.Equal(s.names, other.names)
}
