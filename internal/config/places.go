package config

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	conf    string              // conf.d, of which every *.yaml matters; empty: there is none
}

// placesOf follows the paths to file, to conf.d beside it and to what is in it.
// For each it takes the folder of the thing itself and of every symbolic link on
// the way; where something is missing, the folder in which it would appear.
// Folders further up are left alone: they tell of themselves when they go.
func placesOf(file string) places {
	p := places{folders: map[string]folderID{}, names: map[string]bool{}}
	p.follow(absolute(file))
	conf, ok := p.follow(absolute(filepath.Join(filepath.Dir(file), "conf.d")))
	if !ok {
		return p
	}
	entries, err := os.ReadDir(conf)
	if err != nil {
		return p // not a folder, not readable: its name is watched
	}
	p.conf = conf
	p.folder(conf)
	for _, e := range entries {
		if confName(e.Name()) {
			p.follow(filepath.Join(conf, e.Name()))
		}
	}
	return p
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
	return folder || p.names[path] || p.conf != "" && filepath.Dir(path) == p.conf && confName(filepath.Base(path))
}

func (p places) equal(q places) bool {
	return p.conf == q.conf && maps.Equal(p.folders, q.folders) && maps.Equal(p.names, q.names)
}

// confName says whether a file of that name in conf.d is read. Names that begin
// with a dot are left out: editors and mounted ConfigMaps make such files.
func confName(name string) bool {
	return !strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".yaml")
}
