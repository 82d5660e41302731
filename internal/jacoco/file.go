package jacoco

import (
	"context"
	"io"

	"github.com/stoker-init/stoker/internal/wholefile"
)

// fileMode lets the group read the file, as one that the agent itself writes.
const fileMode = 0o640

// DumpFile is Dump into a file, which appears only when it is complete; an existing one is replaced.
func DumpFile(ctx context.Context, address string, reset bool, path string) (s Summary, err error) {
	err = wholefile.Write(path, fileMode, func(w io.Writer) (err error) {
		s, err = Dump(ctx, address, reset, w)
		return err
	})
	return s, err
}
