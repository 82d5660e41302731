package daemon

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// logOptions are the options of a service's log by its configuration.
func logOptions(o supervisor.Output) (logs.Options, error) {
	out := logs.Options{Format: logs.Format(o.Format), Block: o.Overflow == supervisor.OverflowBlock}
	switch o.Format {
	case "", supervisor.OutputRaw, supervisor.OutputPrefix, supervisor.OutputJSON, supervisor.OutputNone:
	default:
		return out, fmt.Errorf("output.format is %q, want raw, prefix, json or none", o.Format)
	}
	switch o.Overflow {
	case "", supervisor.OverflowDrop, supervisor.OverflowBlock:
	default:
		return out, fmt.Errorf("output.overflow is %q, want drop or block", o.Overflow)
	}
	var err error
	if out.Keep, err = size("output.keep", o.Keep); err != nil {
		return out, err
	}
	if out.Keep > logs.MaxKeep {
		return out, fmt.Errorf("output.keep is %q, want at most %dMiB", o.Keep, logs.MaxKeep>>20)
	}
	if o.File == (supervisor.OutputFile{}) {
		return out, nil
	}
	out.File, err = fileOptions(o.File)
	return out, err
}

// fileOptions are those of its files.
func fileOptions(o supervisor.OutputFile) (*logs.FileOptions, error) {
	f := &logs.FileOptions{Path: o.Path, Every: o.Every, Files: o.Files}
	switch {
	case o.Path == "":
		return nil, errors.New("output.file has no path")
	case !filepath.IsAbs(o.Path):
		return nil, fmt.Errorf("output.file.path is %q, want an absolute path", o.Path)
	case o.Files < 0:
		return nil, fmt.Errorf("output.file.files is %d, want a number from 1", o.Files)
	case o.Every < 0 || o.Every > 0 && o.Every < time.Second:
		return nil, fmt.Errorf("output.file.every is %v, want 1s or more", o.Every)
	}
	var err error
	if f.Size, err = size("output.file.size", o.Size); err != nil {
		return nil, err
	}
	f.Total, err = size("output.file.total", o.Total)
	return f, err
}

// size reads a size; 0: it is absent.
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
