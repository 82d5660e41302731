package launch

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/jvm"
)

// maxOptionFiles bounds the entries of an option folder.
const maxOptionFiles = 10_000

// optionFiles returns a reader of the files that options name (@file and the like). Files named in the user layer are read with the rights
// of the service's user: their content shows up as options, and stoker may read more than that user. A nil user is stoker's own.
func optionFiles(user *asuser.User) func(jvm.Layer, string) ([]byte, error) {
	return func(layer jvm.Layer, path string) (data []byte, err error) {
		if data, err = readOptionFile(user, layer, path); err != nil {
			return nil, fmt.Errorf("cannot read %q: %w", path, err)
		}
		return data, nil
	}
}

// readOptionFile reads one file of a layer, with the rights described at optionFiles.
func readOptionFile(user *asuser.User, layer jvm.Layer, path string) (data []byte, err error) {
	if layer == jvm.User && user != nil && os.Geteuid() == 0 && user.UID != 0 {
		err = user.Identity().Do(func() error {
			data, err = untrusted.ReadFile(path, jvm.MaxOptionFile)
			return err
		})
		return data, err
	}
	return untrusted.ReadFile(path, jvm.MaxOptionFile)
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
