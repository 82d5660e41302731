package config

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

// folderID tells a folder from another one by the same name.
type folderID struct{ device, inode uint64 }

// places are where a change of the configuration's files can be seen. All paths
// are without symbolic links.
type places struct {
	folders map[string]folderID // to watch
	names   map[string]bool     // files, links and missing things in them that matter
	listed  map[string]bool     // folders of which every file matters whose name counts
	counts  func(name string) bool
}

// placesOf follows the paths to file, to conf.d beside it and to what is in it.
// For each it takes the folder of the thing itself and of every symbolic link on
// the way; where something is missing, the folder in which it would appear.
// Folders further up are left alone: they tell of themselves when they go.
func placesOf(file string) places {
	p := newPlaces(confName)
	p.follow(absolute(file))
	p.list(filepath.Join(filepath.Dir(file), "conf.d"))
	return p
}

func newPlaces(counts func(name string) bool) places {
	return places{folders: map[string]folderID{}, names: map[string]bool{}, listed: map[string]bool{}, counts: counts}
}

// list enters a folder with the files in it that count.
func (p *places) list(path string) {
	dir, ok := p.follow(absolute(path))
	if !ok {
		return
	}
	entries, err := untrusted.ReadDir(dir, maxNames)
	if err != nil {
		return // not a folder, not readable: its name is watched
	}
	p.listed[dir] = true
	p.folder(dir)
	for _, e := range entries {
		if p.counts(e.Name()) {
			p.follow(filepath.Join(dir, e.Name()))
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

// follow enters what a path leads through, as the kernel would follow it. ok is
// false when it leads nowhere; else place is the path without links.
func (p *places) follow(path string) (place string, ok bool) {
	place = "/"
	rest := strings.Split(path, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			place = filepath.Dir(place)
			continue
		}
		next := filepath.Join(place, name)
		info, err := os.Lstat(next)
		if err != nil {
			p.enter(place, next)
			return "", false
		}
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			p.enter(place, next)
			target, err := os.Readlink(next)
			if links++; err != nil || links > maxLinks {
				return "", false
			}
			rest = append(strings.Split(target, "/"), rest...)
			if strings.HasPrefix(target, "/") {
				place = "/"
			}
		case len(rest) == 0:
			p.enter(place, next)
			return next, true
		case !info.IsDir():
			p.enter(place, next)
			return "", false
		default:
			place = next
		}
	}
	return place, true
}

func (p *places) enter(folder, name string) {
	p.names[name] = true
	p.folder(folder)
}

func (p *places) folder(path string) {
	if info, err := os.Lstat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			p.folders[path] = folderID{st.Dev, st.Ino}
		}
	}
}

// concern says whether an event about a path may be about the configuration: a
// file or link that leads to it, or a folder that we watch.
func (p places) concern(path string) bool {
	path = filepath.Clean(path)
	_, folder := p.folders[path]
	return folder || p.names[path] || p.listed[filepath.Dir(path)] && p.counts(filepath.Base(path))
}

func (p places) equal(q places) bool {
	return maps.Equal(p.listed, q.listed) && maps.Equal(p.folders, q.folders) && maps.Equal(p.names, q.names)
}

// confName says whether a file of that name in conf.d is read. Names that begin
// with a dot are left out: editors and mounted ConfigMaps make such files.
func confName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".yaml")
}
