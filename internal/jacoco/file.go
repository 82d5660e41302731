package jacoco

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// fileMode lets the group read the file, as one that the agent itself writes.
const fileMode = 0o640

// DumpFile is Dump into a file, which appears only when it is complete; an existing one is replaced.
// What is no regular file, such as a pipe, is refused: it would be replaced too.
func DumpFile(ctx context.Context, address string, reset bool, path string) (Summary, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return Summary{}, fmt.Errorf("cannot write %s: it is there and no regular file", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return Summary{}, fmt.Errorf("cannot write %s: %w", path, errors.Unwrap(err))
	}
	s, err := Dump(ctx, address, reset, file)
	if err == nil {
		err = errors.Join(file.Chmod(fileMode), file.Sync())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return s, errors.Join(err, os.Remove(file.Name()))
	}
	return s, nil
}
