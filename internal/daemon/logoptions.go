package daemon

import (
	"fmt"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// logOptions returns the log options of a validated service configuration.
func logOptions(o supervisor.Output) (out logs.Options, err error) {
	out = logs.Options{Format: logs.Format(o.Format), Block: o.Overflow == supervisor.OverflowBlock}
	if out.Keep, err = size("output.keep", o.Keep); err != nil {
		return out, err
	}
	if o.File == (supervisor.OutputFile{}) {
		return out, nil
	}
	f := &logs.FileOptions{Path: o.File.Path, Every: o.File.Every, Files: o.File.Files}
	if f.Size, err = size("output.file.size", o.File.Size); err != nil {
		return out, err
	}
	f.Total, err = size("output.file.total", o.File.Total)
	out.File = f
	return out, err
}

// size parses a size; 0: not set.
func size(key, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := jvm.ParseMemory(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return n, nil
}
