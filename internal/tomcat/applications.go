package tomcat

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Applications are the context paths of what Tomcat deploys when it starts, as far
// as its configuration and its folders say.
func (in Install) Applications(x ServerXML) []string {
	found := map[string]bool{}
	for _, c := range x.Contexts {
		found[ContextOf(c.Path)] = true
	}
	for _, h := range x.Hosts {
		if !h.Deploys {
			continue
		}
		for _, file := range names(in.inBase(h.XMLBase)) {
			if name, ok := strings.CutSuffix(file.Name(), ".xml"); ok {
				found[contextOfFile(name)] = true
			}
		}
		ignored, err := regexp.Compile("^(?:" + h.DeployIgnore + ")$")
		if err != nil {
			continue // what it ignores is not known
		}
		for _, file := range names(in.inBase(h.AppBase)) {
			name, war := strings.CutSuffix(file.Name(), ".war")
			if !war && !file.IsDir() || h.DeployIgnore != "" && ignored.MatchString(file.Name()) || notDeployed(file.Name()) {
				continue
			}
			found[contextOfFile(name)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// names lists a folder; what cannot be read holds nothing that is known.
func names(dir string) []os.DirEntry {
	entries, _ := os.ReadDir(dir)
	return entries
}

func (in Install) inBase(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(in.Base, path)
}

// notDeployed are folders that are no application, or not meant as one.
func notDeployed(name string) bool {
	return strings.EqualFold(name, "META-INF") || strings.EqualFold(name, "WEB-INF") || name == "lost+found" || strings.HasPrefix(name, ".")
}

// contextOfFile is the context path that a file or folder is deployed at: "a#b" is
// /a/b, ROOT is /.
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
