package supervisor

import (
	"bytes"
	"context"
	"time"

	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Died is a process that has ended by itself soon after it was started.
type Died struct {
	Exit   *incident.Exit
	Ran    time.Duration
	Ready  bool   // its readiness had been proven
	Output []byte // the last lines that this start has written, of both streams
}

// amendTime is how long after its start the end of a process may have to do with
// what it was started with.
const amendTime = 10 * time.Second

// amendOutput bounds Died.Output, in bytes.
const amendOutput = 8 << 10

// maxAmends bounds how often in a row, without a stable time between, another start
// follows at once: from there on an end counts like any other.
const maxAmends = 16

// amend asks whether another start is to follow the one that has just failed.
func (s *Service) amend(info *incident.Exit, ran time.Duration) {
	ready := s.kept.State != Starting
	if s.launch == nil || s.launch.Amend == nil || ready && ran >= amendTime || s.kept.Amends >= maxAmends {
		return
	}
	d := Died{Exit: info, Ran: ran, Ready: ready}
	if out := s.output(); out != nil {
		s.proc.FlushOutput()
		d.Output = s.lastLines(out, max(s.kept.LogStart, out.End()-amendOutput))
	}
	why := s.launch.Amend(d)
	if why == "" {
		return
	}
	s.kept.Amend = clip(why)
	s.kept.Amends++
	s.log.Warn("the next start is another one", "why", s.kept.Amend)
}

// lastLines are the lines of both streams from an offset on, each as a whole: a line
// of one may stand in the middle of the other's in the log.
func (s *Service) lastLines(out output, from int64) []byte {
	var b bytes.Buffer
	_ = out.Lines(s.life, from, false, func(line logs.Line) error { // ends with what there is
		b.Write(line.Text)
		return b.WriteByte('\n')
	})
	return b.Bytes()
}

// confirmLater waits until the end of a process would not be its start's fault any
// more.
func (s *Service) confirmLater(ctx context.Context) {
	if s.launch.Confirm == nil || s.kept.Confirmed {
		return
	}
	gen, wait := s.kept.Gen, amendTime-time.Duration(s.world.Now()-s.kept.UpSince)
	go func() { // ends with ctx
		select {
		case <-time.After(max(wait, 0)):
			s.report(ctx, happening{event: EvOutlived, gen: gen})
		case <-ctx.Done():
		}
	}()
}

// outlived says once for each start that what it was started with is not deadly.
func (s *Service) outlived(happening) {
	if s.kept.Confirmed || s.launch == nil || s.launch.Confirm == nil {
		return
	}
	s.launch.Confirm()
	s.kept.Confirmed = true
	s.keep()
}
