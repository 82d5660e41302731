package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm/tomcat"
)

// standardLoader is common.loader as Tomcat has it, without quotes.
const standardLoader = "${catalina.base}/lib,${catalina.base}/lib/*.jar,${catalina.home}/lib,${catalina.home}/lib/*.jar"

// maxLibraries bounds the entries of a folder of libraries, maxProperties the bytes of catalina.properties.
const (
	maxLibraries  = 1024
	maxProperties = 1 << 20
)

// Libraries returns the jars from which the common class loader of a Tomcat has its classes, in its order, as it names them: without links.
// Within a folder the loader takes the order of the file system, and this is by name. An error says why the class loader cannot be replaced
// by a class path of these: it is configured in another way, or has more than jars.
func Libraries(home, base string) ([]string, error) {
	data, err := untrusted.ReadFile(filepath.Join(base, "conf/catalina.properties"), maxProperties)
	if err != nil {
		return nil, fmt.Errorf("cannot read catalina.properties: %w", err)
	}
	properties := tomcat.Properties(data)
	common := strings.NewReplacer(`"`, "", " ", "").Replace(properties["common.loader"])
	if common != standardLoader || properties["server.loader"] != "" || properties["shared.loader"] != "" {
		return nil, errors.New("catalina.properties configures other class loaders")
	}
	dirs := []string{filepath.Join(base, "lib")}
	if home != base {
		dirs = append(dirs, filepath.Join(home, "lib"))
	}
	var out []string
	for _, dir := range dirs {
		jars, err := libraries(dir)
		if err != nil {
			return nil, err
		}
		out = append(out, jars...)
	}
	return out, nil
}

// libraries lists the jars of a folder, which has nothing else.
func libraries(dir string) (out []string, err error) {
	entries, err := untrusted.ReadDir(dir, maxLibraries)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(strings.ToLower(e.Name()), ".jar") {
			return nil, fmt.Errorf("%s has %s, which is no jar", dir, e.Name())
		}
		path, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if strings.Contains(path, ":") {
			return nil, fmt.Errorf("the name %q has a colon", path)
		}
		out = append(out, path)
	}
	return out, nil
}
