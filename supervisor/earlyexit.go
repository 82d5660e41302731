package supervisor

import (
	"bytes"
	"time"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// EarlyExit is a process that has ended by itself soon after it was started.
type EarlyExit struct {
	Exit   *incident.Exit
	Ran    time.Duration
	Ready  bool   // its readiness had been proven
	Output []byte // the last lines that this start has written, of both streams
}

const (
	earlyExitOutput = 8 << 10 // bound of EarlyExit.Output, in bytes
	maxEarlyExits   = 16      // in a row without a stable time: from there on an end counts like any other
)

// askVariant asks the launcher for another variant of the start that has just failed.
func (s *Service) askVariant(info *incident.Exit, ran time.Duration) {
	ready := s.saved.State != Starting
	if s.launch == nil || s.launch.OnEarlyExit == nil || ready && ran >= earlyExitTime || s.saved.EarlyExits >= maxEarlyExits {
		return
	}
	d := EarlyExit{Exit: info, Ran: ran, Ready: ready}
	if out := s.output(); out != nil {
		s.proc.FlushOutput()
		d.Output = s.lastLines(out, max(s.saved.LogStart, out.End()-earlyExitOutput))
	}
	why := s.launch.OnEarlyExit(d)
	if why == "" {
		return
	}
	s.saved.NextVariant = clip(why)
	s.saved.EarlyExits++
	s.log.Warn("the next start is another one", "why", s.saved.NextVariant)
}

// lastLines returns the lines of both streams from an offset on, each as a whole: in the
// log a line of one stream may stand in the middle of a line of the other.
func (s *Service) lastLines(out output, from int64) []byte {
	var b bytes.Buffer
	_ = out.Lines(s.life, from, false, func(line logs.Line) error { // ends with what there is
		b.Write(line.Text)
		return b.WriteByte('\n')
	})
	return b.Bytes()
}

// confirm reports to the launcher that a start has become stable.
func (s *Service) confirm(ran time.Duration) {
	if ran >= earlyExitTime && s.occurred(lifecycle.Ready) && s.launch != nil && s.launch.OnStable != nil {
		s.launch.OnStable()
	}
}
