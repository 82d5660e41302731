package daemon

import (
	"reflect"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/supervisor"
)

func TestLogOptions(t *testing.T) {
	for _, c := range []struct {
		in   supervisor.Output
		want logs.Options
		err  string
	}{
		{supervisor.Output{}, logs.Options{}, ""},
		{supervisor.Output{Keep: "1MiB", Format: "json", Overflow: "block"}, logs.Options{Keep: 1 << 20, Format: logs.FormatJSON, Block: true},
			""},
		{supervisor.Output{Format: "raw", Overflow: "drop", File: supervisor.OutputFile{Path: "/f"}},
			logs.Options{Format: logs.FormatRaw, File: &logfile.Options{Path: "/f"}}, ""},
		{supervisor.Output{File: supervisor.OutputFile{Path: "/f", Size: "1MiB", Every: time.Hour, Files: 3, Total: "2G"}},
			logs.Options{File: &logfile.Options{Path: "/f", Size: 1 << 20, Every: time.Hour, Files: 3, Total: 2 << 30}}, ""},
		{supervisor.Output{Keep: "lots"}, logs.Options{}, `output.keep: cannot read size "lots": use a whole number with KiB, MiB or GiB, such as 512MiB`},
		{supervisor.Output{File: supervisor.OutputFile{Path: "/f", Size: "x"}}, logs.Options{},
			`output.file.size: cannot read size "x": use a whole number with KiB, MiB or GiB, such as 512MiB`},
		{supervisor.Output{File: supervisor.OutputFile{Path: "/f", Total: "x"}}, logs.Options{},
			`output.file.total: cannot read size "x": use a whole number with KiB, MiB or GiB, such as 512MiB`},
	} {
		got, err := logOptions(c.in)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%+v: %v, want %s", c.in, err, c.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %+v, %v, want %+v", c.in, got, err, c.want)
		}
	}
}
