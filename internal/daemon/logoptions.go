package daemon

import (
	"fmt"

	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/supervisor"
)

// logOptions returns the log options of a validated service configuration.
func logOptions(o supervisor.Output) (logs.Options, error) {
	out := logs.Options{Format: logs.Format(o.Format), Block: o.Overflow == supervisor.OverflowBlock}
	file := logfile.Options{Path: o.File.Path, Every: o.File.Every, Files: o.File.Files}
	for _, size := range []struct {
		key, text string
		bytes     *int64
	}{{"output.keep", o.Keep, &out.Keep}, {"output.file.size", o.File.Size, &file.Size}, {"output.file.total", o.File.Total, &file.Total}} {
		if size.text == "" {
			continue
		}
		var err error
		if *size.bytes, err = jvm.ParseMemory(size.text); err != nil {
			return out, fmt.Errorf("%s: %w", size.key, err)
		}
	}
	if o.File != (supervisor.OutputFile{}) {
		out.File = &file
	}
	return out, nil
}
