package pid1

import (
	"fmt"
	"io"
	"time"

	"github.com/stoker-init/stoker/internal/logqueue"
)

// logger is the log of the init.
type logger struct{ *logqueue.Queue }

func newLogger(w io.Writer) logger { return logger{logqueue.New(w, 64)} }

func (l logger) printf(format string, args ...any) {
	fmt.Fprintf(l.Queue, "stoker: init: "+format+"\n", args...)
}

// close waits a moment for the last lines to be written.
func (l logger) close() { l.Flush(100 * time.Millisecond) }
