package tomcat

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
)

// maxNames bounds the entries that are read of a folder.
const maxNames = 10_000

// Applications returns the context paths that Tomcat deploys at its start, by its configuration and its folders. all is false if there may
// be others.
func (in Install) Applications(x ServerXML) (paths []string, all bool) {
	found := map[string]bool{}
	all = len(x.Notes) == 0
	for _, c := range x.Contexts {
		found[ContextOf(c)] = true
	}
	for _, h := range x.Hosts {
		ignored, badPattern := regexp.Compile("^(?:" + h.DeployIgnore + ")$")
		if !h.Deploys {
			all = false // it may do so later
			continue
		}
		descriptors, err := names(in.inBase(h.XMLBase))
		apps, errApps := names(in.inBase(h.AppBase))
		if err = errors.Join(badPattern, err, errApps); err != nil {
			all = false
		}
		for _, file := range descriptors {
			if name, ok := strings.CutSuffix(file.Name(), ".xml"); ok {
				found[contextOfFile(name)] = true
			}
		}
		for _, file := range apps {
			name, war := strings.CutSuffix(file.Name(), ".war")
			switch {
			case !war && !file.IsDir() && file.Type()&fs.ModeSymlink == 0, notDeployed(file.Name()), badPattern != nil:
			case h.DeployIgnore != "" && ignored.MatchString(file.Name()):
			default:
				found[contextOfFile(name)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), all
}

// names lists a folder; a missing one is empty.
func names(dir string) ([]fs.DirEntry, error) {
	entries, err := untrusted.ReadDir(dir, maxNames)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

func (in Install) inBase(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(in.Base, path)
}

// notDeployed reports whether a name is never an application.
func notDeployed(name string) bool {
	return strings.EqualFold(name, "META-INF") || strings.EqualFold(name, "WEB-INF") || name == "lost+found" || strings.HasPrefix(name, ".")
}

// contextOfFile returns the context path of a file or folder: "a#b" is /a/b, ROOT is /.
func contextOfFile(name string) string {
	name = ContextOf(name)
	if name == "/ROOT" {
		return "/"
	}
	return strings.ReplaceAll(name, "#", "/")
}

// ContextOf is the path of a context without the version of a parallel deployment.
func ContextOf(name string) string {
	name, _, _ = strings.Cut(name, "##")
	return "/" + strings.Trim(name, "/")
}
